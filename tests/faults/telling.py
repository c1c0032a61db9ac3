"""What a reader under test tells of itself: each line is with the kernel before the reader goes on.

The calls that are listened to do what they always do; only the gate is a double, and a slow one.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import readers.basefile
import readers.cache
import readers.feedstore
from entitlements.wire.feed import Manifest
from entitlements.wire.taps import Tap, TapBatch, TapBatchReply, TapItem
from hardware.interfaces import Direction
from readers.cache import FeedCache
from readers.changes import AnyChange
from readers.client import ServiceClient
from readers.errors import SnapshotNeededError
from readers.feed import Feed
from readers.feedstore import FeedStore
from readers.outbox import Outbox, Stored
from tests.unit.readers.kit.doubles import Devices, Turnstile

ANSWER_SECONDS: Final = 0.003
"""A relay board has closed its relay before its answer is here."""
COMPACT_ROWS: Final = 2
"""Changed rows after which a new base is written; the council has some thirty cards, not ten thousand."""


class Teller:
    """The sockets to the test: one on which the reader tells, one on which it is told."""

    def __init__(self, port: int, name: str) -> None:
        self._port, self._name = port, name
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lock = threading.Lock()  # bases are written in threads
        self.tell(e="tells", reader=name)

    def tell(self, **what: Any) -> None:
        """One line; returns when the kernel has it."""
        with self._lock:
            self._socket.sendall(json.dumps(what).encode() + b"\n")

    async def orders(self) -> AsyncIterator[dict[str, Any]]:
        """What it is told, until the test ends."""
        stream, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        writer.write(json.dumps({"e": "obeys", "reader": self._name}).encode() + b"\n")
        while line := await stream.readline():
            yield json.loads(line)


class TellingOutbox(Outbox):
    """The outbox, which tells of each item when it comes, when it is kept, and when it is on disk."""

    teller: Teller

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.added = 0
        self.fresh = asyncio.Event()

    def add(self, item: TapItem) -> None:
        kind = "tap" if isinstance(item, Tap) else "passage"
        self.teller.tell(e=kind, id=str(item.tap_id), at=item.at, **_said(item))
        super().add(item)
        self.added += 1
        self.fresh.set()
        self.teller.tell(e="kept", kind=kind, id=str(item.tap_id))

    async def settle(self, done: Sequence[Stored], rejected: Sequence[tuple[Stored, str]], at: int) -> None:
        await super().settle(done, rejected, at)
        self.teller.tell(e="settled", waiting=self.waiting, rejected=[problem for _, problem in rejected])

    async def tell_durable(self) -> None:
        """Tell, each time that it grew, how many of the items added in this life are on disk, and all from before."""
        while True:
            self.fresh.clear()
            added = self.added
            await self.durable()
            self.teller.tell(e="durable", added=added)
            await self.fresh.wait()


class TellingDevices(Devices):
    """Doubles whose gates tell each release at the moment at which a person can walk."""

    def __init__(self, teller: Teller) -> None:
        super().__init__()
        self._teller = teller

    def actuator(self, url: str) -> Any:
        return self.gates.setdefault(url, _TellingTurnstile(url, self._teller))


class _TellingTurnstile(Turnstile):
    def __init__(self, name: str, teller: Teller) -> None:
        super().__init__(name)
        self._teller = teller

    async def release(self, direction: Direction, pulse_seconds: float) -> None:
        self._teller.tell(e="released", lane=self.name.partition(":")[2])
        await asyncio.sleep(ANSWER_SECONDS)
        await super().release(direction, pulse_seconds)


def listen(teller: Teller) -> None:
    """Let this process tell of bases, snapshots, uploads and what the stream brings; bases come early."""
    readers.cache.COMPACT_ROWS = COMPACT_ROWS  # type: ignore[misc]
    TellingOutbox.teller = teller
    _listen_to_bases(teller)
    _listen_to_the_network(teller)


def _listen_to_bases(teller: Teller) -> None:
    write, compact, take = readers.basefile.write_base, FeedStore.compact, FeedStore.take_snapshot

    def telling_write(path: Path, **parts: Any) -> None:
        teller.tell(e="base")
        write(path, **parts)

    async def telling_compact(self: FeedStore, cache: FeedCache) -> None:
        await compact(self, cache)
        teller.tell(e="swapped")

    async def telling_take(self: FeedStore, manifest: Manifest, meta: bytes, rows: Path) -> FeedCache:
        made = await take(self, manifest, meta, rows)
        teller.tell(e="snapshot")
        return made

    vars(readers.feedstore)["write_base"] = telling_write
    FeedStore.compact = telling_compact  # type: ignore[method-assign]
    FeedStore.take_snapshot = telling_take  # type: ignore[method-assign]


def _listen_to_the_network(teller: Teller) -> None:
    send, take, over = ServiceClient.send_taps, Feed.take, Feed._start_over

    async def telling_send(self: ServiceClient, batch: TapBatch) -> TapBatchReply:
        teller.tell(e="sending")
        reply = await send(self, batch)
        teller.tell(e="sent", duplicates=sum(result.result == "duplicate" for result in reply.results))
        return reply

    async def telling_stream(self: Feed, changes: Sequence[AnyChange]) -> bool:
        before = 0 if self.cache is None else self.cache.number
        taken = await take(self, changes)
        if self.cache is not None and taken and self.cache.number > before:
            teller.tell(e="streamed")
        return taken

    async def telling_start(self: Feed, cache: FeedCache, error: SnapshotNeededError) -> None:
        teller.tell(e=error.code)
        await over(self, cache, error)

    Feed._start_over = telling_start  # type: ignore[method-assign]
    ServiceClient.send_taps = telling_send  # type: ignore[method-assign]
    Feed.take = telling_stream  # type: ignore[method-assign]


def _said(item: TapItem) -> dict[str, Any]:
    if not isinstance(item, Tap):
        return {"result": item.result}
    return {
        "lane": item.lane,
        "card": item.card,
        "outcome": item.outcome.value,
        "reason": item.reason,
        "feed": item.feed,
        "n": item.feed_number,
        "effects": item.effects,
    }
