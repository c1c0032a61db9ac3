"""Uploading the outbox: batches in order, a result for each item, back-off while the service is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog

from entitlements.wire.taps import TapBatch, TapBatchReply
from readers.backoff import Backoff
from readers.errors import DatabaseFaultError, ReaderRevokedError, ServiceError, ServiceRefusedError, ServiceReplyError
from readers.outbox import Outbox, Stored

RECHECK_SECONDS: Final = 30.0
"""The outbox is looked at this often even if nobody said that something is there."""
UNDIGESTED: Final = frozenset({400, 413, 422})
"""Status codes by which the service refuses a batch for its content: sending the same again would not help."""

_log = structlog.get_logger(__name__)


class TapService(Protocol):
    """The one call that the uploader makes."""

    async def send_taps(self, batch: TapBatch) -> TapBatchReply: ...


class Uploader:
    """Takes the oldest items, sends them, and settles each by its own result."""

    def __init__(self, outbox: Outbox, service: TapService, now_ms: Callable[[], int]) -> None:
        self._outbox = outbox
        self._service = service
        self._now_ms = now_ms
        self.last_error: str | None = None
        self._again = asyncio.Event()

    def try_now(self) -> None:
        """The service is back: do not wait for the back-off to end."""
        self._again.set()

    async def run(self) -> None:
        """Upload for ever.

        Raises:
            ReaderRevokedError: this reader may not upload any more.
        """
        backoff = Backoff(first_seconds=0.25, most_seconds=30)
        while True:
            self._outbox.changed.clear()
            try:
                more = await self.upload_once()
            except ReaderRevokedError:
                raise
            except (ServiceError, DatabaseFaultError) as error:
                if self.last_error is None:
                    _log.warning("taps wait: they cannot be uploaded now", problem=str(error))
                self.last_error = str(error)
                self._again.clear()
                await _wait(self._again, backoff.next())
                continue
            if self.last_error is not None:
                _log.info("taps are uploaded again", waiting=self._outbox.waiting)
            self.last_error = None
            backoff.reset()
            if not more:
                await _wait(self._outbox.changed, RECHECK_SECONDS)

    async def upload_once(self) -> bool:
        """Send one batch; tell whether there was anything to send.

        Raises:
            ServiceError, DatabaseFaultError: the items are still there; the next attempt sends them again.
        """
        items = await self._outbox.oldest()
        if not items:
            return False
        if items[0].seq is not None:
            await self._send(items)
            return True
        async with self._outbox.hold():
            # Between the look and the lock the writer may have had its way.
            items = await self._outbox.oldest()
            if items and items[0].seq is None:
                await self._send(items)
        return bool(items)

    async def _send(self, items: list[Stored]) -> None:
        try:
            reply = await self._service.send_taps(TapBatch(items=[msgspec.Raw(item.body) for item in items]))
        except ServiceRefusedError as error:
            if error.status not in UNDIGESTED:
                raise
            # One item spoils the batch: halve until it stands alone, then park that one and nothing else.
            if len(items) == 1:
                await self._outbox.settle([], [(items[0], str(error))], self._now_ms())
                return
            middle = len(items) // 2
            await self._send(items[:middle])
            await self._send(items[middle:])
            return
        if len(reply.results) != len(items):
            raise ServiceReplyError(
                "POST /v1/taps", f"{len(reply.results)} results came for {len(items)} items; nothing is taken as stored"
            )
        done: list[Stored] = []
        rejected: list[tuple[Stored, str]] = []
        for item, result in zip(items, reply.results, strict=True):
            if result.result == "rejected":
                rejected.append((item, result.problem or "no reason given"))
            else:
                done.append(item)
        await self._outbox.settle(done, rejected, self._now_ms())


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
