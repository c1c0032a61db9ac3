"""A reader daemon in a process of its own, on gates that are moved over a socket, that tells what it has done.

It is the whole daemon (:class:`readers.daemon.Daemon`) on its real files and the real network; the devices are doubles,
waits after failures are short, and a few calls are listened to. Each line that it tells is with the kernel before the
daemon goes on, so that a kill cannot make it unsaid.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

import readers.backoff
import readers.daemon
from entitlements.model import CardState
from entitlements.profile import Profile
from readers.cache import FeedCache
from readers.feed import Feed
from readers.lane import LaneState
from readers.logs import set_up_logging
from readers.settings import Settings
from tests.faults.contents import of_reader
from tests.faults.platter import Platter
from tests.faults.sabotage import sabotage
from tests.faults.telling import Teller, TellingDevices, TellingOutbox, listen
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


def run_reader(
    *, name: str, folder: str, books: str | None, service: str, port: int, lanes: Sequence[str], broken: str | None
) -> None:
    """Run until killed or told to stop. ``books`` is for the :class:`Platter`; ``broken`` names a fault that the suite
    must find.
    """
    teller = Teller(port, name)
    set_up_logging("json")
    if books is not None:
        Platter(Path(folder), Path(books)).spin()
    _wait_less()
    listen(teller)
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


async def _run(settings: Settings, teller: Teller) -> None:
    devices = TellingDevices(teller)
    daemon = _Daemon(settings, devices, teller)
    vars(readers.daemon)["Outbox"] = TellingOutbox
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    run = asyncio.create_task(daemon.run(stop))
    obey = asyncio.create_task(_obey(daemon, devices, teller))
    await asyncio.wait({run, obey}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        await run
    elif run.done():
        teller.tell(e="ended", problem=repr(run.exception()))


async def _obey(daemon: _Daemon, devices: Devices, teller: Teller) -> None:
    await daemon.started.wait()
    assert isinstance(daemon.outbox, TellingOutbox)
    async with asyncio.TaskGroup() as group:
        for feed in daemon.feeds.values():
            daemon.tell_number(feed)
        group.create_task(daemon.outbox.tell_durable())
        await daemon.until(lambda: all(lane.status().gate_up and lane.status().source_up for lane in daemon.lanes))
        teller.tell(e="up", trusted=daemon.clock.trusted)
        async for what in teller.orders():
            if what["do"] == "present":
                group.create_task(_present(daemon, devices, teller, what))
            elif what["do"] == "compact":
                for feed in daemon.feeds.values():
                    feed._rebase = True
                    feed.hint.set()
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
    caches = {name: feed.cache for name, feed in daemon.feeds.items() if feed.cache is not None}
    return {
        "differs": [line for name, rows in truth.items() for line in _differs(name, caches.get(name), rows)],
        "contents": {name: of_reader(caches[name]) for name in truth if name in caches},
        "places": {name: [cache.epoch, cache.number] for name, cache in caches.items()},
        "waiting": daemon.outbox.waiting,
        "parked": daemon.outbox.parked,
        "lost": daemon.outbox.lost,
        "problems": daemon.health.problems(),
        "aside": sorted(path.name for path in daemon.folder.rglob("*.damaged-*")),
    }


def _differs(name: str, cache: FeedCache | None, rows: list[tuple[int, int, str, Any]]) -> Iterator[str]:
    if cache is None:
        yield f"{name}: there is no cache"
        return
    for index, tag, state, profile in rows:
        found, wanted = cache.lookup(index, tag), (CardState(state), Profile.from_wire(profile))
        if found != wanted:
            yield f"{name}: card {index} is {found}, in the database it is {wanted}"
        if cache.lookup(index, tag ^ 1) is not None:
            yield f"{name}: card {index} is found under another card's id"
    if cache.cards != max(index for index, *_ in rows) + 1:
        yield f"{name}: there are {cache.cards} rows"
