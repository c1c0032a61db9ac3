"""Telling the service how this reader does: at once after something changed, and every few seconds anyway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import structlog

from entitlements.wire.taps import FeedStatus, ReaderStatus
from readers.backoff import Backoff
from readers.client import ServiceClient
from readers.clock import TrustedClock
from readers.errors import ReaderRevokedError, ServiceError
from readers.feed import Feed
from readers.lane import Lane
from readers.outbox import Outbox

APART_SECONDS: Final = 0.02
"""Least time between two reports: a burst of changes becomes one report, a single change is not held up."""
AT_ONCE: Final = 8
"""Reports that may follow each other so closely,"""
LATER_SECONDS: Final = 0.5
"""and the time in which one more may: a request keeps decisions waiting, and a service has a thousand readers."""

_log = structlog.get_logger(__name__)


class Pace:
    """How long to wait after a report: a token bucket of :data:`AT_ONCE`, one more every :data:`LATER_SECONDS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free_at = clock() - AT_ONCE * LATER_SECONDS
        """When the bucket would have been empty, had it never been full."""

    def wait(self, began: float) -> float:
        """Seconds from now until the next report may begin; the one made just now ``began`` then."""
        now = self._clock()
        self._free_at = max(self._free_at, now - AT_ONCE * LATER_SECONDS) + LATER_SECONDS
        return max(0.0, APART_SECONDS - (now - began), self._free_at - now)


def reader_version() -> str:
    """Version of the installed package, or ``unknown`` in a tree that is not installed."""
    try:
        return version("rescard")
    except PackageNotFoundError:
        return "unknown"


class StatusReporter:
    """Builds and sends :class:`ReaderStatus`. Call :meth:`poke` when something changed."""

    def __init__(
        self,
        *,
        site: str,
        feeds: Mapping[str, Feed],
        lanes: Sequence[Lane],
        clock: TrustedClock,
        outbox: Outbox,
        client: ServiceClient,
        every_seconds: float,
    ) -> None:
        self._site = site
        self._feeds = feeds
        self._lanes = lanes
        self._clock = clock
        self._outbox = outbox
        self._client = client
        self._every = every_seconds
        self._poked = asyncio.Event()
        self._version = reader_version()
        self.started_at = clock.now_ms()

    def poke(self) -> None:
        """Something changed that the service should know soon."""
        self._poked.set()

    @property
    def streaming(self) -> bool:
        """Whether changes come as they are made; otherwise they are found by polling."""
        return self._client.streaming

    def build(self) -> ReaderStatus:
        """The status now."""
        return ReaderStatus(
            version=self._version,
            site=self._site,
            sent_at=self._clock.now_ms(),
            started_at=self.started_at,
            feeds={
                name: FeedStatus(
                    epoch=feed.cache.epoch,
                    number=feed.cache.number,
                    applied_at=feed.applied_at,
                    confirmed_at=feed.confirmed_at,
                    cards=feed.cache.cards,
                )
                for name, feed in self._feeds.items()
                if feed.cache is not None
            },
            lanes=[lane.status() for lane in self._lanes],
            clock_offset_ms=self._clock.offset_ms,
            clock_trusted=self._clock.trusted,
            outbox_waiting=self._outbox.waiting,
            outbox_parked=self._outbox.parked,
        )

    async def run(self) -> None:
        """Report for ever.

        Raises:
            ReaderRevokedError: this reader may not report any more.
        """
        backoff = Backoff(first_seconds=0.5, most_seconds=self._every)
        pace = Pace()
        failing = False
        while True:
            self._poked.clear()
            began = time.monotonic()
            try:
                await self._client.send_status(self.build())
            except ReaderRevokedError:
                raise
            except ServiceError as error:
                if not failing:
                    _log.warning("the status cannot be reported now", problem=str(error))
                failing = True
                await asyncio.sleep(backoff.next())
                continue
            failing = False
            backoff.reset()
            await asyncio.sleep(pace.wait(began))
            try:
                async with asyncio.timeout(self._every):
                    await self._poked.wait()
            except TimeoutError:
                pass
