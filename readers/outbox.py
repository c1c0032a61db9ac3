"""The durable outbox: what gates decided, kept until the service has it, never lost and never waited for.

An item goes memory and page cache -> disk (SQLite, synchronous=FULL, group commit) -> service -> gone. The gate hands
it over and goes on. A killed process loses nothing that was handed over: what the database does not have yet is in the
jotter (:mod:`readers.jotter`). A power cut may lose what was handed over since the last commit, some milliseconds of
one gate; what counts as durable is on disk (docs/decisions/0033-what-survives.md). If the disk cannot be written (full,
or failing):

* items stay in memory, up to 50,000 of them, and the outbox says so loudly (health, log);
* while the service answers they are uploaded straight from memory;
* writing is tried again with back-off, and everything still in memory is then written;
* beyond 50,000 the newest item is not kept: people are still let in, because a leisure centre that locks its doors
  when a disk fills harms more than a missing record, but each such item is counted and the alarm stays until the
  process ends.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import structlog

from entitlements.wire.taps import MAX_BATCH, TapItem
from readers.backoff import Backoff
from readers.database import Database
from readers.errors import DatabaseFaultError, DiskFullError
from readers.jotter import JOTTER_FILE, Jotter
from readers.statements import load_statements

MAX_IN_MEMORY: Final = 50_000
"""Items kept in memory while the disk fails: some 20 MB, or two weeks of a busy lane."""

OUTBOX_FILE: Final = "outbox.db"

SQL: Final[MappingProxyType[str, str]] = load_statements("outbox")
_log = structlog.get_logger(__name__)


class Stored(msgspec.Struct, frozen=True):
    """One item as it waits on disk; ``seq`` is None for one that is only in memory."""

    seq: int | None
    body: bytes


class _TapId(msgspec.Struct, frozen=True):
    """What is read of an item when its fate is known."""

    t: str
    tap_id: str


_item_decoder: msgspec.json.Decoder[_TapId] = msgspec.json.Decoder(_TapId)


class Outbox:
    """Items on their way to the service. Enter ``database``, call :meth:`load`, run :meth:`write_forever` as a task."""

    def __init__(self, folder: Path, *, max_in_memory: int = MAX_IN_MEMORY) -> None:
        self.database = Database(folder / OUTBOX_FILE, schema=SQL["schema"], synchronous="FULL")
        self.problem: str | None = None
        """Why items are not durable now, in plain words; None if they are."""
        self.lost = 0
        self.parked = 0
        self.changed = asyncio.Event()
        """Set when there may be something to upload."""
        self.on_settled: Callable[[list[str], list[str], int], None] | None = None
        """Told of the ids of taps that the service has, of those it rejected, and the instant (ms)."""
        self._on_disk = 0
        self._max = max_in_memory
        self._jotter = Jotter(folder / JOTTER_FILE)
        self._number = 0
        self._memory: deque[tuple[int, bytes]] = deque()
        self._to_park: deque[tuple[bytes, str, int]] = deque()
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()
        self._encoder = msgspec.json.Encoder()

    @property
    def in_memory(self) -> int:
        """Items that are not on disk yet."""
        return len(self._memory)

    @property
    def waiting(self) -> int:
        """Items that the service does not have yet."""
        return self._on_disk + len(self._memory)

    def add(self, item: TapItem) -> None:
        """Take an item. Never blocks and never raises."""
        if len(self._memory) >= self._max:
            self.lost += 1
            self.problem = f"{self.lost} taps were not kept: the disk fails and the memory queue is full"
            if self.lost == 1 or self.lost % 1000 == 0:
                _log.critical("taps are being lost", lost=self.lost, problem=self.problem)
            return
        body = self._encoder.encode(item)
        self._number += 1
        self._jotter.write(self._number, body)
        self._memory.append((self._number, body))
        self._idle.clear()
        self._wake.set()

    async def load(self) -> None:
        """Take up what is there from before. Call once, after the database was entered."""
        jotted = self._jotter.open()
        last, self._on_disk, self.parked = await self.database.run(
            lambda connection: connection.execute(SQL["counts"]).fetchone()
        )
        # What has a number above the last was never committed: it goes to disk like what is added now.
        missed = sorted((number, body) for number, body in jotted.items() if number > last)
        self._number = max(last, *jotted) if jotted else last
        if missed:
            self._memory.extend(missed)
            self._idle.clear()
            self._wake.set()
            _log.warning("taps that the killed process had not written to disk are taken up", taps=len(missed))
        if self._on_disk:
            self.changed.set()
            _log.info("taps from before wait to be uploaded", waiting=self._on_disk, parked=self.parked)

    async def write_forever(self) -> None:
        """Move items from memory to disk as they come; runs until cancelled."""
        backoff = Backoff(first_seconds=0.5, most_seconds=30)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._memory or self._to_park:
                try:
                    await self._write_some()
                except DatabaseFaultError as error:
                    self._say_failing(error)
                    await asyncio.sleep(backoff.next())
                else:
                    backoff.reset()
                    self._say_well()

    async def durable(self) -> None:
        """Wait until everything added so far is on disk or at the service."""
        await self._idle.wait()

    async def flush(self) -> None:
        """At a clean stop, when :meth:`write_forever` has ended: write what is still in memory."""
        while self._memory or self._to_park:
            try:
                await self._write_some()
            except DatabaseFaultError as error:
                _log.critical("taps could not be written at the stop", lost=len(self._memory), problem=str(error))
                return

    async def oldest(self) -> list[Stored]:
        """The oldest items, at most a batch: those on disk first, then, while the disk fails, those in memory."""
        if self._on_disk:
            rows = await self.database.run(
                lambda connection: connection.execute(SQL["oldest"], (MAX_BATCH,)).fetchall()
            )
            if rows:
                return [Stored(seq, body) for seq, body in rows]
        if self.problem is None:
            return []
        return [Stored(None, self._memory[position][1]) for position in range(min(len(self._memory), MAX_BATCH))]

    def hold(self) -> asyncio.Lock:
        """Enter it while items from memory are uploaded, so that they are not written to disk meanwhile."""
        return self._lock

    async def settle(self, done: Sequence[Stored], rejected: Sequence[tuple[Stored, str]], at: int) -> None:
        """Remove what the service has and park what it rejected with its reason. ``at`` in ms since the epoch.

        Raises:
            DatabaseFaultError: nothing was changed; uploading it all again does no harm.
        """
        if all(item.seq is None for item in done) and all(item.seq is None for item, _ in rejected):
            self._forget(len(done) + len(rejected))
            self._to_park.extend((item.body, problem, at) for item, problem in rejected)
            self._wake.set()
        else:
            await self.database.run(lambda connection: _settle(connection, done, rejected, at))
            self._on_disk -= len(done) + len(rejected)
        self.parked += len(rejected)
        turned_down = [(_tap_of(item), problem) for item, problem in rejected]
        for tap, problem in turned_down:
            # By its id, not whole: a log is read by more people than the outbox.
            _log.error("the service rejected a tap or passage; it is parked", tap_id=tap.tap_id, problem=problem)
        if self.on_settled is not None:
            stored = [tap.tap_id for item in done if (tap := _tap_of(item)).t == "tap"]
            self.on_settled(stored, [tap.tap_id for tap, _ in turned_down if tap.t == "tap"], at)

    def close(self) -> None:
        """Let the jotter's file go; after the last :meth:`add`."""
        self._jotter.close()

    async def parked_items(self, limit: int = 100) -> list[tuple[int, bytes, str]]:
        """Parked items with their reasons, for a person who looks into them."""
        return await self.database.run(lambda connection: connection.execute(SQL["parked_items"], (limit,)).fetchall())

    async def retry_parked(self) -> int:
        """Put every parked item back behind those that wait, to be uploaded again; gives how many.

        Call it after :meth:`load`, while no :meth:`write_forever` runs.

        Raises:
            DatabaseFaultError: nothing was put back.
        """
        # First what a killed process had not written: its numbers are below those given out here.
        while self._memory:
            await self._write_some()

        def move(connection: sqlite3.Connection) -> int:
            parked = [row[0] for row in connection.execute(SQL["parked_whole"])]
            connection.executemany(SQL["unpark"], enumerate(parked, self._number + 1))
            connection.executemany(SQL["forget_parked"], [(seq,) for seq in parked])
            return len(parked)

        moved = await self.database.run(move)
        self._number += moved
        self._on_disk += moved
        self.parked -= moved
        if moved:
            self.changed.set()
        return moved

    async def _write_some(self) -> None:
        # Shielded with lock and bookkeeping inside: a wait that is cancelled at the stop must neither forget what the
        # thread commits nor let :meth:`flush` write the same items again.
        writing = asyncio.ensure_future(self._write_locked())
        writing.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(writing)

    async def _write_locked(self) -> None:
        async with self._lock:
            batch = [self._memory[position] for position in range(min(len(self._memory), MAX_BATCH))]
            parked = list(self._to_park)

            def write(connection: sqlite3.Connection) -> None:
                connection.executemany(SQL["add"], batch)
                connection.executemany(SQL["park_body"], parked)

            await self.database.run(write)
            self._on_disk += len(batch)
            self._forget(len(batch))
            for _ in parked:
                self._to_park.popleft()
        self.changed.set()

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._memory.popleft()
        if not self._memory:
            self._idle.set()

    def _say_failing(self, error: DatabaseFaultError) -> None:
        cause = "the disk is full" if isinstance(error, DiskFullError) else f"the disk fails ({error.problem})"
        problem = f"{cause}: {len(self._memory)} taps are kept in memory only"
        if self.problem is None:
            _log.critical("taps cannot be written to disk; gates go on", problem=problem, path=str(error.path))
        if not self.lost:
            self.problem = problem
        self.changed.set()

    def _say_well(self) -> None:
        if self.problem is not None and not self.lost:
            _log.warning("taps are written to disk again", was=self.problem)
            self.problem = None


def _tap_of(item: Stored) -> _TapId:
    return _item_decoder.decode(item.body)


def _settle(
    connection: sqlite3.Connection, done: Sequence[Stored], rejected: Sequence[tuple[Stored, str]], at: int
) -> None:
    connection.executemany(SQL["park"], [(problem, at, item.seq) for item, problem in rejected])
    connection.executemany(SQL["remove"], [(item.seq,) for item in (*done, *(item for item, _ in rejected))])
