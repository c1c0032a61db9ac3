"""Keeping the feeds up to date: a stream that pushes, and a pull that does not rely on it.

A message is a hint, state is pulled: every feed is pulled each ten seconds even while the stream is well, a change that
is not the next one makes the reader pull, and a stream silent for three beats is dropped and opened again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from entitlements.wire.feed import Beat
from readers.backoff import Backoff
from readers.breath import Turns
from readers.changes import AnyChange, decode_change
from readers.client import ServiceClient
from readers.errors import FeedError, ReaderError, ReaderRevokedError, ServiceError
from readers.feed import Feed
from readers.sse import EventParser, ServerEvent

SILENT_BEATS: Final = 3
"""Beats that may be missing before the stream is taken for dead: one may be late, two may be lost to a hiccup."""
MOST_SECONDS: Final = 10.0
"""Longest wait between attempts; with a third of a thousand readers a second the service is not overrun."""

PIECE: Final = 4_096
"""Octets of the stream parsed in one go: some 10 changes, in some 15 us."""
AT_ONCE: Final = 200
"""Events taken together, and written to the journal in one transaction."""

_random = random.SystemRandom()
_log = structlog.get_logger(__name__)


class _ChangeEvent(msgspec.Struct, frozen=True):
    feed: str
    change: msgspec.Raw


class _PullEvent(msgspec.Struct, frozen=True):
    feed: str


class Synchroniser:
    """Runs the stream of all feeds and a worker for each.

    ``on_online`` is called when the stream is open: the service is back, whoever backs off may try again.
    ``on_secrets`` is told which page of secrets this reader should hold.
    """

    def __init__(
        self,
        feeds: Mapping[str, Feed],
        client: ServiceClient,
        *,
        poll_seconds: float,
        beat_seconds: float,
        on_online: Callable[[], None],
        on_secrets: Callable[[str | None], None],
    ) -> None:
        self._feeds = feeds
        self._client = client
        self._poll_seconds = poll_seconds
        self._silence = SILENT_BEATS * beat_seconds
        self._on_online = on_online
        self._on_secrets = on_secrets
        self._ready = asyncio.Event()
        self._back = asyncio.Event()
        self.streaming = False

    async def run(self) -> None:
        """Keep all feeds up to date until cancelled.

        Raises:
            ExceptionGroup: with ReaderRevokedError when this reader was revoked.
        """
        async with asyncio.TaskGroup() as group:
            for feed in self._feeds.values():
                group.create_task(self._keep(feed), name=f"feed {feed.name}")
            group.create_task(self._stream(), name="stream")

    async def _keep(self, feed: Feed) -> None:
        backoff = Backoff(first_seconds=0.5, most_seconds=MOST_SECONDS)
        failing = False
        while True:
            had_data = feed.cache is not None
            feed.hint.clear()
            try:
                await feed.refresh()
            except ReaderRevokedError:
                raise
            except (ReaderError, OSError) as error:
                if not failing:
                    _log.warning("a feed cannot be brought up to date now", feed=feed.name, problem=str(error))
                failing, wait = True, backoff.next()
                if not isinstance(error, ServiceError):
                    feed.problem = str(error)
            else:
                if failing:
                    _log.info("a feed is up to date again", feed=feed.name)
                    self._back.set()
                failing, wait = False, self._poll_seconds * _random.uniform(0.8, 1.2)
                backoff.reset()
            if not had_data and feed.cache is not None:
                self._ready.set()
            try:
                async with asyncio.timeout(wait):
                    await feed.hint.wait()
            except TimeoutError:
                pass

    async def _stream(self) -> None:
        backoff = Backoff(first_seconds=0.25, most_seconds=MOST_SECONDS)
        failing = False
        while True:
            self._ready.clear()
            feeds = [
                (feed.name, feed.cache.epoch, feed.cache.number, feed.cache.at)
                for feed in self._feeds.values()
                if feed.cache
            ]
            if not feeds:
                await self._ready.wait()
                continue
            try:
                await self._listen(feeds, backoff)
                problem = "it was closed"
            except ReaderRevokedError:
                raise
            except TimeoutError:
                problem = f"it was silent for {self._silence:g} s"
            except (ServiceError, FeedError, ValueError) as error:
                problem = str(error)
            finally:
                was, self.streaming = self.streaming, False
            if self._ready.is_set():
                continue
            if was or not failing:
                _log.warning("the stream is down; it is opened again, polling goes on", problem=problem)
            failing = not was
            for feed in self._feeds.values():
                feed.hint.set()
            await self._rest(backoff.next())

    async def _rest(self, seconds: float) -> None:
        """Wait, but not after a pull has shown that the service is back."""
        self._back.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._back.wait()
        except TimeoutError:
            pass

    async def _listen(self, feeds: Sequence[tuple[str, str, int, int]], backoff: Backoff) -> None:
        loop = asyncio.get_running_loop()
        parser = EventParser()
        async with asyncio.timeout(self._silence) as deadline, self._client.stream(list(feeds)) as chunks:
            async for chunk in chunks:
                async for events in _parsed(parser, chunk):
                    if not self.streaming:
                        self.streaming = True
                        backoff.reset()
                        self._on_online()
                        _log.info("the stream is open", feeds=[name for name, *_ in feeds])
                    deadline.reschedule(loop.time() + self._silence)
                    await self._handle(events)
                    if self._ready.is_set():
                        return

    async def _handle(self, events: Sequence[ServerEvent]) -> None:
        """Take what came at once: the changes of each feed together, then what the beats say."""
        changes: dict[str, list[AnyChange]] = {}
        beats: list[Beat] = []
        turns = Turns()
        for event in events:
            if turns.over():
                await turns.give()
            try:
                if event.name == "change":
                    message = msgspec.json.decode(event.data, type=_ChangeEvent)
                    changes.setdefault(message.feed, []).append(decode_change(message.change))
                elif event.name == "beat":
                    beats.append(msgspec.json.decode(event.data, type=Beat))
                elif event.name == "pull":
                    self._hint(msgspec.json.decode(event.data, type=_PullEvent).feed)
            except msgspec.DecodeError as error:
                # It may be a change of a kind that this version does not know. The pull finds out and says so.
                _log.warning("a message of the stream cannot be read; pulling", problem=str(error))
                for feed in self._feeds.values():
                    feed.hint.set()
        for name, items in changes.items():
            if (target := self._feeds.get(name)) is not None:
                await self._take(target, items)
        for beat in beats:
            self._on_secrets(beat.secrets)
            for name, head in beat.heads.items():
                if (target := self._feeds.get(name)) is not None:
                    target.beat(head)

    async def _take(self, feed: Feed, changes: Sequence[AnyChange]) -> None:
        try:
            if not await feed.take(changes):
                feed.hint.set()
        except FeedError as error:
            _log.warning("a change of the stream cannot be applied; pulling", feed=feed.name, problem=str(error))
            feed.hint.set()

    def _hint(self, name: str) -> None:
        feed = self._feeds.get(name)
        if feed is not None:
            feed.hint.set()


async def _parsed(parser: EventParser, chunk: bytes) -> AsyncIterator[list[ServerEvent]]:
    """The events that a chunk completes, some at a time: it may be all that came during a long wait."""
    events: list[ServerEvent] = []
    turns = Turns()
    for start in range(0, len(chunk), PIECE):
        events += parser.feed(chunk[start : start + PIECE])
        if len(events) >= AT_ONCE:
            yield events
            events = []
        if turns.over():
            await turns.give()
    if events:
        yield events
