"""The test's side of a reader: its process, its files, and all that it ever said."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.faults.nursery import Nursery
from tests.faults.plan import End
from tests.faults.platter import cut_power

PATIENCE: Final = 30.0
"""Seconds after which something that should have come will not come any more."""
LINE: Final = 1 << 22


class GoneError(Exception):
    """A reader that should run does not."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A tap as the reader told it, and what the reader had said that it had applied when the card was held up."""

    tap: dict[str, Any]
    told: dict[str, int]


@dataclass
class Kept:
    """What became of one item that the outbox took."""

    durable: bool = False
    excused: bool = False
    """A power cut came before it was on disk, so that it may be lost."""
    cut_off: End | None = None
    """How the reader ended before it was on disk, if it did."""

    def __str__(self) -> str:
        if self.cut_off is not None:
            return f"not on disk yet when the reader ended by {self.cut_off}"
        return "said to be on disk" if self.durable else "not on disk yet"


@dataclass
class Party:
    """One reader."""

    name: str
    folder: Path
    books: Path
    log: Path
    seen: dict[str, Seen] = field(default_factory=dict)
    passages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the reader told of each passage, by tap id."""
    kept: dict[tuple[str, str], Kept] = field(default_factory=dict)
    """By kind (tap, passage) and tap id, in the order in which they came."""
    told: dict[str, int] = field(default_factory=dict)
    """The highest number that it said it had applied, by feed."""
    problems: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    rotten: int = 0
    without_valkey: bool = False
    pid: int | None = None

    def __post_init__(self) -> None:
        self.moved = asyncio.Event()
        self.gone = asyncio.Event()
        self._orders: asyncio.StreamWriter | None = None
        self._life: list[Kept] = []
        self._told_at: dict[str, dict[str, int]] = {}
        self._releases: Counter[str] = Counter()
        """Releases in this life by lane, less those of which the outbox took the tap."""
        self._counts: dict[str, int] = {}
        self._state: asyncio.Future[dict[str, Any]] | None = None

    @property
    def up(self) -> bool:
        """Whether it runs and obeys."""
        return self.pid is not None and self._orders is not None and not self.gone.is_set()

    @property
    def bases_begun(self) -> int:
        """Bases that it began to write and, as far as it said, did not come to use."""
        return self.count("base") - self.count("swapped") - self.count("snapshot")

    # -- life --

    async def start(self, nursery: Nursery, **arguments: Any) -> None:
        """Start it and wait until its lanes serve."""
        self.gone.clear()
        self._orders, self._life = None, []
        self.pid = await nursery.run(
            "reader", self.log, name=self.name, folder=str(self.folder), books=str(self.books), **arguments
        )
        await self.until(lambda: self._orders is not None or self.gone.is_set())
        if self.gone.is_set():
            raise AssertionError(f"reader {self.name} did not start: {self.log.read_text()[-3000:]}")

    async def end(self, nursery: Nursery, how: End, chance: random.Random) -> None:
        """SIGKILL or SIGTERM, and what else happens to its files."""
        assert self.pid is not None
        if how == "stop":
            status = await asyncio.wait_for(nursery.stop(self.pid), PATIENCE)
            if status:
                self.problems.append(f"told to stop, it ended with {status}")
        else:
            await nursery.kill(self.pid)
        self.pid = None
        await asyncio.wait_for(self.gone.wait(), PATIENCE)
        self.count_releases()
        for kept in self.kept.values():
            if not kept.durable:
                kept.cut_off = how
                kept.excused |= how == "power"
        if how == "power":
            cut_power(self.folder, self.books, chance)
        elif how == "rot":
            self.rotten += _rot(self.folder, chance)
            self.told = {}  # what was on disk and is damaged it cannot know any more
        shutil.rmtree(self.books, ignore_errors=True)

    def count_releases(self) -> None:
        """See that no gate was released in this life without a tap that the outbox has taken."""
        for lane, count in self._releases.items():
            if count > 0:
                self.problems.append(f"lane {lane} was released {count} times without a tap in the outbox")
        self._releases.clear()

    # -- orders --

    async def present(self, lane: str, card: str) -> None:
        """Hold a card up; until it is decided and the lane idle, or the reader gone."""
        done = self._counts.get(f"done {lane}", 0)
        self.hold_up(lane, card)
        await self.until(lambda: self._counts.get(f"done {lane}", 0) > done or self.gone.is_set())

    def hold_up(self, lane: str, card: str) -> None:
        """Hold a card up and do not wait."""
        self._told_at[lane] = dict(self.told)
        self._order(do="present", lane=lane, data=card)

    def compact(self) -> None:
        """Have new bases written, and do not wait."""
        self._order(do="compact")

    async def said(self, what: str, before: int, *, instead: str | None = None) -> None:
        """Wait until it has said something of a kind more often than ``before``, or ``instead``, or is gone."""
        other = 0 if instead is None else self.count(instead)
        await self.until(
            lambda: (
                self.count(what) > before or self.gone.is_set() or (instead is not None and self.count(instead) > other)
            )
        )

    def count(self, what: str) -> int:
        """How often it has said something of a kind."""
        return self._counts.get(what, 0)

    async def state(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """How it is, compared with the rows of the database."""
        self._state = asyncio.get_running_loop().create_future()
        self._order(do="state", rows=rows)
        return await asyncio.wait_for(self._state, PATIENCE)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds that changes with what it says."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self.moved.clear()
                if condition():
                    return
                await self.moved.wait()

    def _order(self, **what: Any) -> None:
        if self._orders is None:
            raise GoneError(f"reader {self.name} is gone and was not killed: {self.problems or self.log}")
        self._orders.write(json.dumps(what).encode() + b"\n")

    # -- what it says --

    def obeys(self, writer: asyncio.StreamWriter) -> None:
        """It has opened its ear."""
        self._orders = writer
        self.moved.set()

    def take(self, what: dict[str, Any]) -> None:
        """One thing that it said."""
        kind = what.pop("e")
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if kind == "tap":
            self._tap(what)
        elif kind == "passage":
            self.passages[what["id"]] = what
        elif kind == "released":
            self._releases[what["lane"]] += 1
        elif kind == "kept":
            self._kept(what["kind"], what["id"])
        elif kind == "durable":
            earlier = len(self.kept) - len(self._life)
            for kept in (*list(self.kept.values())[:earlier], *self._life[: what["added"]]):
                kept.durable = True
        elif kind == "applied":
            self._applied(what["feed"], what["n"])
        elif kind == "done":
            self._counts[f"done {what['lane']}"] = self._counts.get(f"done {what['lane']}", 0) + 1
        elif kind == "streamed":
            self.happened["batches of changes by stream without Valkey"] += self.without_valkey
        elif kind == "sent":
            self.happened["items uploaded again"] += what["duplicates"]
        elif kind == "settled":
            self.problems += [f"the service rejected a tap: {problem}" for problem in what["rejected"]]
        elif kind == "state" and self._state is not None and not self._state.done():
            self._state.set_result(what)
        elif kind == "ended":
            self.problems.append(f"it ended by itself: {what['problem']}")
        self.moved.set()

    def lost(self) -> None:
        """Its socket is closed: it is gone, and everything it said was heard."""
        self._orders = None
        self.gone.set()
        self.moved.set()

    def _tap(self, tap: dict[str, Any]) -> None:
        if tap["id"] in self.seen:
            self.problems.append(f"the tap id {tap['id']} was used twice")
        told = self._told_at.get(tap["lane"], {})
        self.seen[tap["id"]] = Seen(tap=tap, told=told)
        if tap["outcome"] == "allow" and tap["n"] < told.get(tap["feed"], 0):
            self.problems.append(
                f"it let a card in by change {tap['n']} of {tap['feed']} after it had said that it had applied "
                f"{told[tap['feed']]}: {tap}"
            )

    def _kept(self, kind: str, name: str) -> None:
        self._life.append(self.kept.setdefault((kind, name), Kept()))
        if kind == "tap" and (tap := self.seen[name].tap)["outcome"] == "allow":
            self._releases[tap["lane"]] -= 1

    def _applied(self, feed: str, number: int) -> None:
        if number < self.told.get(feed, 0):
            self.problems.append(f"it had applied {self.told[feed]} of {feed} and is back at {number}")
        self.told[feed] = max(number, self.told.get(feed, 0))


class Parties:
    """Hears all readers of a run."""

    def __init__(self, parties: dict[str, Party]) -> None:
        self._parties = parties
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._hear, "127.0.0.1", 0, limit=LINE)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Hear no more."""
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            hello = json.loads(await reader.readline())
            party = self._parties[hello["reader"]]
            if hello["e"] == "obeys":
                party.obeys(writer)
                return
            while line := await _line(reader):
                party.take(json.loads(line))
            party.lost()
        except asyncio.CancelledError:
            pass


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readline()
    except ConnectionError:
        return b""
    return line if line.endswith(b"\n") else b""


def _rot(folder: Path, chance: random.Random) -> int:
    """Damage what was safe on disk: a base cut short or with a bit turned over, or the state's log cut short."""
    files: list[Path] = [*sorted(folder.glob("feeds/*/base.rdb")), folder / "state.db-wal"]
    path = chance.choice([file for file in files if file.exists()] or [folder / "enrolment.json"])
    octets = bytearray(path.read_bytes())
    if path.name == "enrolment.json" or not octets:
        return 0
    if path.name == "base.rdb" and chance.random() < 0.5:
        octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    else:
        del octets[chance.randrange(len(octets)) :]
    path.write_bytes(octets)
    return 1
