"""A reader daemon in a process of its own, on gates that are moved over a socket, that tells what it has done.

It is the whole daemon (:class:`readers.daemon.Daemon`) on its real files and the real network; the devices are doubles,
waits after failures are short, and a few calls are listened to. Each line that it tells is with the kernel before the
daemon goes on, so that a kill cannot make it unsaid.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

import readers.backoff
import readers.daemon
from entitlements.model import CardState
from entitlements.profile import Profile
from entitlements.wire.taps import Tap, TapItem
from readers.feed import Feed
from readers.lane import LaneState
from readers.logs import set_up_logging
from readers.outbox import Outbox, Stored
from readers.settings import Settings
from tests.faults.platter import Platter
from tests.faults.sabotage import sabotage
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.site import site_settings

MOST_WAIT_SECONDS: Final = 0.2
"""Longest wait after failures, where a real reader waits for up to half a minute."""
PERIODS: Final[dict[str, Any]] = {
    "poll_seconds": 0.5,
    "beat_seconds": 0.3,
    "status_seconds": 0.3,
    "request_timeout_seconds": 0.8,
}


class Teller:
    """The sockets to the test: one on which the reader tells, one on which it is told."""

    def __init__(self, port: int, name: str) -> None:
        self._port, self._name = port, name
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tell(e="tells", reader=name)

    def tell(self, **what: Any) -> None:
        """One line; returns when the kernel has it."""
        self._socket.sendall(json.dumps(what).encode() + b"\n")

    async def orders(self) -> AsyncIterator[dict[str, Any]]:
        """What it is told, until the test ends."""
        stream, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        writer.write(json.dumps({"e": "obeys", "reader": self._name}).encode() + b"\n")
        while line := await stream.readline():
            yield json.loads(line)


def run_reader(
    *, name: str, folder: str, books: str | None, service: str, port: int, lanes: Sequence[str], broken: str | None
) -> None:
    """Run until killed. ``books`` is for the :class:`Platter`; ``broken`` names a fault that the suite must find."""
    teller = Teller(port, name)
    set_up_logging("json")
    if books is not None:
        Platter(Path(folder), Path(books)).spin()
    _wait_less()
    if broken is not None:
        sabotage(broken)
    settings = site_settings(service, Path(folder), tuple(lanes), **PERIODS)
    uvloop.run(_run(settings, teller))


def _wait_less() -> None:
    whole = readers.backoff.Backoff.__init__

    def short(self: readers.backoff.Backoff, *, first_seconds: float, most_seconds: float) -> None:
        whole(self, first_seconds=min(first_seconds, 0.05), most_seconds=min(most_seconds, MOST_WAIT_SECONDS))

    readers.backoff.Backoff.__init__ = short  # type: ignore[method-assign]


class _Daemon(readers.daemon.Daemon):
    """The daemon, which tells what it has applied and wakes whoever waits for a lane."""

    def __init__(self, settings: Settings, devices: Devices, teller: Teller) -> None:
        super().__init__(settings, maker=devices)
        self.moved = asyncio.Event()
        self.teller = teller

    def _applied(self, feed: Feed) -> None:
        super()._applied(feed)
        self.tell_number(feed)

    def _poke(self) -> None:
        super()._poke()
        self.moved.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds that changes with what lanes or feeds do."""
        while True:
            self.moved.clear()
            if condition():
                return
            await self.moved.wait()

    def tell_number(self, feed: Feed) -> None:
        """Tell what number a feed has."""
        if feed.cache is not None:
            self.teller.tell(e="applied", feed=feed.name, n=feed.cache.number)


class _Outbox(Outbox):
    """The outbox, which tells of each item when it comes, when it is kept, and when it is on disk."""

    teller: Teller

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.added = 0
        self.fresh = asyncio.Event()

    def add(self, item: TapItem) -> None:
        if isinstance(item, Tap):
            self.teller.tell(
                e="tap", id=str(item.tap_id), lane=item.lane, card=item.card, outcome=item.outcome.value,
                reason=item.reason, feed=item.feed, n=item.feed_number, effects=len(item.effects),
            )  # fmt: skip
        super().add(item)
        self.added += 1
        self.fresh.set()
        kind = "tap" if isinstance(item, Tap) else "passage"
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


async def _run(settings: Settings, teller: Teller) -> None:
    devices = Devices()
    daemon = _Daemon(settings, devices, teller)
    _Outbox.teller = teller
    vars(readers.daemon)["Outbox"] = _Outbox
    run = asyncio.create_task(daemon.run(asyncio.Event()))
    obey = asyncio.create_task(_obey(daemon, devices, teller))
    await asyncio.wait({run, obey}, return_when=asyncio.FIRST_COMPLETED)
    if run.done():
        teller.tell(e="ended", problem=repr(run.exception()))


async def _obey(daemon: _Daemon, devices: Devices, teller: Teller) -> None:
    await daemon.started.wait()
    assert isinstance(daemon.outbox, _Outbox)
    async with asyncio.TaskGroup() as group:
        for feed in daemon.feeds.values():
            daemon.tell_number(feed)
        group.create_task(daemon.outbox.tell_durable())
        await daemon.until(lambda: all(lane.status().gate_up and lane.status().source_up for lane in daemon.lanes))
        teller.tell(e="up", trusted=daemon.clock.trusted)
        async for what in teller.orders():
            if what["do"] == "present":
                group.create_task(_present(daemon, devices, teller, what))
            else:
                teller.tell(e="state", **_state(daemon, what["rows"]))
        raise EOFError("the test has ended")


async def _present(daemon: _Daemon, devices: Devices, teller: Teller, what: dict[str, Any]) -> None:
    lane = next(lane for lane in daemon.lanes if lane.name == what["lane"])
    tried = lane.counts["tried"]
    devices.source(f"qr:{lane.name}").present(what["data"].encode())
    await daemon.until(lambda: lane.counts["tried"] > tried and lane.state is LaneState.IDLE)
    teller.tell(e="done", lane=lane.name)


def _state(daemon: _Daemon, truth: dict[str, list[tuple[int, int, str, Any]]]) -> dict[str, Any]:
    """How the daemon is, and where a cache differs from ``truth``: index, tag, state and profile of every card."""
    differs = []
    for name, rows in truth.items():
        cache = daemon.feeds[name].cache
        if cache is None:
            differs.append(f"{name}: there is no cache")
            continue
        for index, tag, state, profile in rows:
            found, wanted = cache.lookup(index, tag), (CardState(state), Profile.from_wire(profile))
            if found != wanted:
                differs.append(f"{name}: card {index} is {found}, in the database it is {wanted}")
            if cache.lookup(index, tag ^ 1) is not None:
                differs.append(f"{name}: card {index} is found under another card's id")
        if cache.cards != max(index for index, *_ in rows) + 1:
            differs.append(f"{name}: there are {cache.cards} rows")
    return {
        "differs": differs,
        "numbers": {name: feed.cache.number for name, feed in daemon.feeds.items() if feed.cache is not None},
        "units": {
            name: feed.cache.contents.holdings.units.count
            for name, feed in daemon.feeds.items()
            if feed.cache is not None
        },
        "waiting": daemon.outbox.waiting,
        "parked": daemon.outbox.parked,
        "lost": daemon.outbox.lost,
        "problems": daemon.health.problems(),
        "aside": sorted(path.name for path in daemon.folder.rglob("*.damaged-*")),
    }
