"""Decisions while 50,000 changes come in, against the same decisions while none come.

Three processes: a council, of which half of the changes come by the stream and half are pulled; visitors, who say when
they came; and this one, a whole reader. A decision's time is from the visitor's word in the other process to the end of
the decision here: whatever keeps the event loop or the interpreter busy counts, timers and sleeps do not.

``python -m tests.benchmarks.bulk`` prints the longest waits too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
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
VISITS: Final = 400
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
async def processes() -> AsyncIterator[tuple[Any, int]]:
    """The council and the visitors."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    script = [sys.executable, "-m", "tests.benchmarks.bulk"]
    made = await asyncio.create_subprocess_exec(
        *script, "council", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    coming = await asyncio.create_subprocess_exec(*script, "visitors", str(writing), pass_fds=[writing])
    os.close(writing)
    try:
        yield made, reading
    finally:
        for process in (coming, made):
            process.kill()
            await process.wait()
        os.close(reading)


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


async def measure(rounds: int) -> tuple[list[list[float]], list[list[float]]]:
    """Waits (ms) of each round without changes, and with."""
    quiet: list[list[float]] = []
    busy: list[list[float]] = []
    async with processes() as (made, pipe):
        url, token = (await made.stdout.readline()).decode().split()
        with TemporaryDirectory(prefix="rescard-bench-") as folder:
            settings = site_settings(url, Path(folder), poll_seconds=3600.0, status_seconds=5.0)
            async with running(settings) as daemon:
                desk = Desk(daemon, token.encode(), pipe)
                loop = asyncio.get_running_loop()
                loop.add_reader(pipe, desk.come)
                feed = daemon.feeds["wcc/leisure"]
                for round_number in range(rounds + 1):
                    made.stdin.write(b"bulk\n")
                    last = int(await made.stdout.readline())
                    desk.waits = []
                    began = loop.time()
                    while feed.cache is None or feed.cache.number < last:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                    took = loop.time() - began
                    waits, desk.waits = desk.waits, []
                    await asyncio.sleep(took / 2)  # compaction belongs to the changes
                    waits, desk.waits = waits + desk.waits, []
                    await asyncio.sleep(1.5 * took)
                    if round_number:  # the first one warms
                        busy.append(waits)
                        quiet.append(desk.waits)
                loop.remove_reader(pipe)
    return quiet, busy


def p999(waits: list[float]) -> float:
    """The 99.9th percentile."""
    return sorted(waits)[min(len(waits) - 1, int(len(waits) * 0.999))]


def _measured() -> tuple[list[list[float]], list[list[float]]]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    first_in_line()
    try:
        return uvloop.run(measure(ROUNDS))
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, priority)


def run() -> list[Result]:
    """The row of the table: median over rounds of p99.9 with changes to p99.9 without.

    In a process of its own: what other benchmarks left on this one's heap is no reader's.
    """
    script = [sys.executable, "-m", "tests.benchmarks.bulk", "waits"]
    quiet, busy = json.loads(subprocess.run(script, check=True, stdout=subprocess.PIPE).stdout)
    without, with_changes = (p999(list(chain.from_iterable(rounds))) for rounds in (quiet, busy))
    return [
        Result(
            name="p99.9 of decisions during 50,000 changes",
            against="the same without",
            ours=with_changes,
            theirs=without,
            unit="ms",
            ratio=statistics.median(p999(mine) / p999(other) for mine, other in zip(busy, quiet, strict=True)),
            bar=2,
        )
    ]


def main() -> None:
    """Print each round."""
    for number, (without, with_changes) in enumerate(zip(*_measured(), strict=True)):
        for name, waits in (("quiet", without), ("bulk", with_changes)):
            worst = " ".join(f"{wait:.2f}" for wait in sorted(waits)[-5:])
            median = statistics.median(waits)
            print(
                f"{number} {name:5} {len(waits)} visits, median {median:.3f}, p99.9 {p999(waits):.3f}, worst {worst} ms"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["council"]:
        asyncio.run(council())
    elif sys.argv[1:2] == ["visitors"]:
        visitors(int(sys.argv[2]))
    elif sys.argv[1:2] == ["waits"]:
        print(json.dumps(_measured()))
    else:
        main()
