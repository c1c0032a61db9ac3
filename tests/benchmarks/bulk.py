"""Decisions while 50,000 changes come in, against the same decisions while none come.

A council, of which half of the changes come by the stream and half are pulled; visitors, who say when they came; and
this process, a whole reader. A decision's time is from the visitor's word in the other process to the end of the
decision here: whatever keeps the event loop or the interpreter busy counts, timers and sleeps do not.

Where cores are few that measures the neighbours as well: a process that is busy for a third of the time and has nothing
to do with this reader triples the p99.9 on two cores. So "none come" is measured twice: while the machine has nothing
to do, which is what the bar means, and while the same changes go from a second council into a second reader, which says
how much of it is the reader's own.

``python -m tests.benchmarks.bulk`` prints all three, and the longest waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from operator import truediv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import structlog
import uvloop
from aiohttp import web

from entitlements.model import CardState
from entitlements.wire.feed import CardChange, encode
from readers.daemon import Daemon
from readers.judgement import Place
from readers.settings import Settings
from tests.benchmarks.measure import Result
from tests.benchmarks.population import population
from tests.unit.readers.kit.council import SITE, Council
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.service import FakeService, problem, raw_json
from tests.unit.readers.kit.site import ready, site_settings

CARDS: Final = 100_000
CHANGES: Final = 50_000
"""Changes a round: half by the stream, half pulled."""
STREAMED_AT_ONCE: Final = 500
"""Changes written to the stream in one piece, as a service does that coalesces."""
VISITS: Final = 1_000
"""Visitors a second: many times what a site has, so that some come at the worst moment."""
ROUNDS: Final = 5
SEED: Final = 50


class Bulk(FakeService):
    """A council whose changes are kept as JSON, so that what it costs to make them does not count."""

    def __init__(self, council: Council) -> None:
        super().__init__(council)
        self.bodies: list[bytes] = []

    def make(self, count: int, dice: random.Random) -> int:
        """So many changes of cards, each with the rights of somebody of the borough. Gives the first number."""
        council = self.council
        first = council.number + 1
        for number in range(first, first + count):
            index = dice.randrange(CARDS)
            profile = council.profiles[dice.randrange(len(council.profiles))].to_wire()
            tag = council.rows[index] >> 32
            change = CardChange(n=number, tn=1, at=0, index=index, tag=tag, state=CardState.ACTIVE, profile=profile)
            self.bodies.append(encode(change))
        return first

    async def _changes(self, request: web.Request) -> web.Response:
        after, limit = int(request.query["after"]), int(request.query["limit"])
        if request.query["epoch"] != self.council.epoch:
            return problem(409, "feed_epoch", "not the present epoch")
        page = b",".join(self.bodies[after : min(after + limit, self.council.number)])
        head = msgspec.json.encode(self.council.head)
        return raw_json(b'{"head":%b,"changes":[%b],"server_time":%d}' % (head, page, self.now_ms()))


async def council() -> None:
    """The process of the council: says its address and a card, then takes commands ``bulk``."""
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    dice = random.Random(SEED)
    made = Council()
    people = population()
    made.profiles = [made.profiles[0], *people.profiles]
    card = made.issue(in_snapshot=True)
    for number in range(1, CARDS):
        made.rows.append((dice.getrandbits(32) << 32) | people.lows[number])
    service = Bulk(made)
    await service.start()
    print(f"{service.url} {card.token.decode()}", flush=True)
    loop = asyncio.get_running_loop()
    while (await loop.run_in_executor(None, sys.stdin.readline)).strip() == "bulk":
        first = service.make(CHANGES, dice)
        half = first + CHANGES // 2
        print(f"{first + CHANGES - 1}", flush=True)
        for start in range(first, half, STREAMED_AT_ONCE):
            pieces = [
                b'event: change\ndata: {"feed":"wcc/leisure","change":' + body + b"}\n\n"
                for body in service.bodies[start - 1 : start - 1 + STREAMED_AT_ONCE]
            ]
            made.number = start + STREAMED_AT_ONCE - 1
            service.send(b"".join(pieces))
            await asyncio.sleep(0.02)
        made.number = first + CHANGES - 1
        service.send(service.beat())
    await service.stop()


def first_in_line() -> None:
    """Ask the system to run this process first, as on a gate's machine, which has nothing else to do."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except PermissionError:
        print("not allowed to run at a higher priority: what else runs here is measured too", file=sys.stderr)


def visitors(pipe: int) -> None:
    """The process of the visitors: writes the time (ns, steady) at which each comes."""
    first_in_line()
    due = time.monotonic()
    while True:
        due += 1 / VISITS
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            os.write(pipe, time.monotonic_ns().to_bytes(8, "little"))
        except BrokenPipeError:
            return


def words(octets: bytes) -> list[int]:
    """The 8-octet numbers."""
    return [int.from_bytes(octets[at : at + 8], "little") for at in range(0, len(octets), 8)]


class Desk:
    """Decides whoever comes, each as a task, and notes how long they waited (ms)."""

    def __init__(self, daemon: Daemon, token: bytes, pipe: int) -> None:
        self.waits: list[float] = []
        self._daemon, self._token, self._pipe = daemon, token, pipe
        self._place = Place(site="porchester", lane=SITE.lanes[0])  # type: ignore[arg-type]
        self._tasks: set[asyncio.Task[None]] = set()

    def come(self) -> None:
        """Somebody came."""
        for stamp in words(os.read(self._pipe, 8 * 512)):
            task = asyncio.create_task(self._decide(stamp))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _decide(self, stamp: int) -> None:
        judgement = self._daemon.gate.judge(self._token, "qr", self._place)
        assert judgement.decision.reason == "ok", judgement
        self.waits.append((time.monotonic_ns() - stamp) / 1e6)


@asynccontextmanager
async def process(*words: str, **options: Any) -> AsyncIterator[Any]:
    """This module in a process of its own, killed at the end."""
    made = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.benchmarks.bulk", *words, **options)
    try:
        yield made
    finally:
        made.kill()
        await made.wait()


@asynccontextmanager
async def coming() -> AsyncIterator[int]:
    """The visitors: where their words are read."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    async with process("visitors", str(writing), pass_fds=[writing]):
        os.close(writing)
        try:
            yield reading
        finally:
            os.close(reading)


class Sender:
    """A council of a process of its own."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self.url = self.token = ""

    async def ready(self) -> None:
        """Wait until it serves."""
        self.url, self.token = (await self._made.stdout.readline()).decode().split()

    async def send(self) -> int:
        """Have it send its changes. Gives the number of the last."""
        self._made.stdin.write(b"bulk\n")
        return int(await self._made.stdout.readline())


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    """A council that is ready."""
    pipe = asyncio.subprocess.PIPE
    async with process("council", stdin=pipe, stdout=pipe) as made:
        council_there = Sender(made)
        await council_there.ready()
        yield council_there


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Daemon]:
    """A reader that is up to date."""
    daemon, stop = Daemon(settings, maker=Devices()), asyncio.Event()
    task = asyncio.create_task(daemon.run(stop, enrol_code="code-1"))
    try:
        await daemon.started.wait()
        await ready(daemon)
        yield daemon
    finally:
        stop.set()
        await task


class Waits(msgspec.Struct):
    """Waits (ms) of each round: while the changes came in, while they went into another reader, while nothing did."""

    bulk: list[list[float]] = []
    elsewhere: list[list[float]] = []
    idle: list[list[float]] = []


async def another_reader(url: str) -> None:
    """The process of the other reader."""
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    with TemporaryDirectory(prefix="rescard-bench-") as folder:
        async with running(settings_of(url, folder)):
            print("ready", flush=True)
            await asyncio.Event().wait()


def settings_of(url: str, folder: str) -> Settings:
    """Of either reader."""
    return site_settings(url, Path(folder), poll_seconds=3600.0, status_seconds=5.0)


async def measure(rounds: int) -> Waits:
    """So many rounds after one that warms."""
    waits = Waits()
    async with AsyncExitStack() as stack:
        ours, theirs = [await stack.enter_async_context(sender()) for _ in range(2)]
        other = await stack.enter_async_context(process("reader", theirs.url, stdout=asyncio.subprocess.PIPE))
        await other.stdout.readline()
        pipe = await stack.enter_async_context(coming())
        folder = stack.enter_context(TemporaryDirectory(prefix="rescard-bench-"))
        daemon = await stack.enter_async_context(running(settings_of(ours.url, folder)))
        desk = Desk(daemon, ours.token.encode(), pipe)
        loop = asyncio.get_running_loop()
        loop.add_reader(pipe, desk.come)
        stack.callback(loop.remove_reader, pipe)
        feed = daemon.feeds["wcc/leisure"]
        for number in range(rounds + 1):
            last = await ours.send()
            desk.waits, began = [], loop.time()
            while feed.cache is None or feed.cache.number < last:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            lasting = 1.5 * (loop.time() - began)  # compaction belongs to the changes
            await asyncio.sleep(lasting / 3)
            bulk = desk.waits
            await theirs.send()
            desk.waits = []
            await asyncio.sleep(lasting)
            elsewhere = desk.waits
            await asyncio.sleep(lasting / 3)
            desk.waits = []
            await asyncio.sleep(lasting)
            if number:
                waits.bulk.append(bulk)
                waits.elsewhere.append(elsewhere)
                waits.idle.append(desk.waits)
    return waits


def p999(waits: list[float]) -> float:
    """The 99.9th percentile."""
    return sorted(waits)[min(len(waits) - 1, int(len(waits) * 0.999))]


def _measured() -> Waits:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    first_in_line()
    try:
        return uvloop.run(measure(ROUNDS))
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, priority)


def run() -> list[Result]:
    """The rows of the table: median over rounds of p99.9 with changes to p99.9 without.

    In a process of its own: what other benchmarks left on this one's heap is no reader's.
    """
    script = [sys.executable, "-m", "tests.benchmarks.bulk", "waits"]
    printed = subprocess.run(script, check=True, stdout=subprocess.PIPE).stdout
    waits = msgspec.json.decode(printed, type=Waits)
    quiet = {"the same without": waits.idle, "the same while another reader takes them in": waits.elsewhere}
    return [
        Result(
            name="p99.9 of decisions during 50,000 changes",
            against=against,
            ours=p999(list(chain.from_iterable(waits.bulk))),
            theirs=p999(list(chain.from_iterable(others))),
            unit="ms",
            ratio=statistics.median(map(truediv, map(p999, waits.bulk), map(p999, others))),
            bar=2,
        )
        for against, others in quiet.items()
    ]


def main() -> None:
    """Print each round."""
    waits = _measured()
    names = waits.__struct_fields__
    for number in range(ROUNDS):
        for name in names:
            line(f"{number} {name}", getattr(waits, name)[number])
    for name in names:
        line(f"all {name}", list(chain.from_iterable(getattr(waits, name))))


def line(name: str, waits: list[float]) -> None:
    """Print how long they waited."""
    ordered = sorted(waits)
    median, p99 = statistics.median(waits), ordered[int(len(waits) * 0.99)]
    worst = " ".join(f"{wait:.2f}" for wait in ordered[-5:])
    print(f"{name:12} median {median:.3f}, p99 {p99:.3f}, p99.9 {p999(waits):.3f}, worst of {len(waits)} {worst} ms")


if __name__ == "__main__":
    if sys.argv[1:2] == ["council"]:
        asyncio.run(council())
    elif sys.argv[1:2] == ["visitors"]:
        visitors(int(sys.argv[2]))
    elif sys.argv[1:2] == ["reader"]:
        uvloop.run(another_reader(sys.argv[2]))
    elif sys.argv[1:2] == ["waits"]:
        print(msgspec.json.encode(_measured()).decode())
    else:
        main()
