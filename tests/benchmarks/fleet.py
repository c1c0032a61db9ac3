"""A fleet of connected readers: how long from a change's commit until every reader has it.

    python -m tests.benchmarks.fleet --readers 1000 --rate 10 --seconds 20

By itself it starts PostgreSQL, Valkey and one service process on loopback. With --url it measures a service that runs:
use a council made for tests, whose admin's token stands in RESCARD_TOKEN; a site, a service document and a few people
with cards are made in it and stay, some readers named "Simulated" are made and revoked at the end. Connect to a service
process rather than through a proxy that may cut events into pieces of its own.

Exits 0 if every reader got every change, 1 if not, 2 if nothing could be measured.

Up to 50 changes a second are cards held and released at the desk, over HTTP; beyond, a bulk job of another process
writes batches into the database, so that is for the simulator's own service only. The readers are in a process of their
own and share a few enrolled identities, as enrolling a thousand would take longer than the measurement; each has its
own connection, assertion and position.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import uvloop

from cardservice.embedded.process import die_with_parent
from cardservice.errors import ServiceError
from cardservice.settings import Settings
from tests.benchmarks.fleet_world import (
    BulkWriter,
    Council,
    DeskWriter,
    commit_times,
    enrolled,
    own_service,
    place_of,
    prepare,
)
from tests.benchmarks.measure import Result

READERS: Final = 1_000
IDENTITIES: Final = 10
DESK_RATE: Final = 50
"""Changes a second up to which they are written one by one over HTTP."""
DESK_CARDS: Final = 20
BULK_CARDS: Final = 4_000
CONNECT_SECONDS: Final = 60.0
ARRIVE_SECONDS: Final = 15.0
"""How long the last change may take to arrive; what has not by then is told as missing."""
BARS: Final = {10: 150.0, 1_000: 500.0}
"""Changes a second: milliseconds at p99 (the two rows of the table)."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measurement. Delays in ms, from the write just before the commit to a reader that has read the change."""

    readers: int
    stalled: int
    """Readers beside them that hold their stream open and take nothing."""
    rate: float
    changes: int
    p50: int
    p99: int
    longest: int
    chunks: float
    """Pieces in which a reader got the changes: fewer than changes where they were coalesced."""
    missing: int
    gaps: int
    pulls: int
    lost: Sequence[str]
    cpu: float
    """Share of one core that the service's process used meanwhile; 0 where it is not ours."""
    grown: float
    """MiB by which the service's memory grew meanwhile; 0 where it is not ours."""
    load: tuple[float, float]
    """The machine's load average over the last minute, before and after."""

    def __str__(self) -> str:
        faults = (
            f"{self.missing} readers miss changes, {self.gaps} gaps, {self.pulls} told to pull, {len(self.lost)} lost"
        )
        if not (self.missing or self.gaps or self.pulls or self.lost):
            faults = "every reader has every change, in order"
        return (
            f"{self.readers} readers and {self.stalled} that take nothing, "
            f"{self.changes} changes at {self.rate:.0f}/s: "
            f"p50 {self.p50} ms, p99 {self.p99} ms, longest {self.longest} ms; "
            f"{self.chunks:.0f} pieces a reader; {faults}; "
            f"service {self.cpu:.2f} of a core, {self.grown:+.0f} MiB; "
            f"load {self.load[0]:.1f} before, {self.load[1]:.1f} after, on {os.cpu_count()} cores"
        )


class _Readers:
    """The process of the readers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, stack: AsyncExitStack) -> _Readers:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.benchmarks.fleet_readers"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        readers = cls(process)
        stack.push_async_callback(readers._end)
        return readers

    async def ask(self, patience: float, **command: Any) -> dict[str, Any]:
        """Its answer to a command.

        Raises:
            TimeoutError: none within ``patience`` seconds.
            RuntimeError: it ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(patience):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the readers' process ended")
        return dict(json.loads(line))

    async def _end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def measure(
    council: Council, settings: Settings | None, *, readers: int, rate: int, seconds: float, stalled: int = 0
) -> Run:
    """One measurement against a running service; ``settings`` where its database may be written to."""
    if rate > DESK_RATE and settings is None:
        raise ValueError(f"more than {DESK_RATE} changes a second need the simulator's own service")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rescard-fleet-")))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        await prepare(council, http)
        writer: DeskWriter | BulkWriter
        if rate > DESK_RATE and settings is not None:
            writer = await BulkWriter.make(settings, council.tenant, BULK_CARDS)
        else:
            writer = await DeskWriter.make(council, http, DESK_CARDS)
        epoch, number = await place_of(council, http)
        address = urlsplit(council.url)
        identities = await stack.enter_async_context(enrolled(council, http, min(readers, IDENTITIES)))
        fleet = await _Readers.start(stack)
        joined = await fleet.ask(
            CONNECT_SECONDS + 10,
            host=address.hostname,
            port=address.port or (443 if address.scheme == "https" else 80),
            tls=address.scheme == "https",
            feed=council.feed,
            epoch=epoch,
            number=number,
            readers=readers,
            stalled=stalled,
            seconds=CONNECT_SECONDS,
            identities=identities,
        )
        if joined["joined"] < readers + stalled:
            raise RuntimeError(f"only {joined['joined']} of {readers + stalled} readers got a stream: {joined['lost']}")
        before, used, held, began = os.getloadavg()[0], council.cpu_seconds(), council.memory(), time.monotonic()
        await writer.write(rate, seconds)
        took = time.monotonic() - began
        cpu, grown = (council.cpu_seconds() - used) / took, (council.memory() - held) / (1 << 20)
        _, last = await place_of(council, http)
        written = await commit_times(settings, council.tenant, number, folder) if settings is not None else None
        told = await fleet.ask(
            ARRIVE_SECONDS + 60, until=last, seconds=ARRIVE_SECONDS, written=str(written) if written else ""
        )
        return Run(
            readers=readers,
            stalled=stalled,
            rate=(last - number) / took,
            changes=last - number,
            missing=readers - told["whole"],
            load=(before, os.getloadavg()[0]),
            **{name: told[name] for name in ("p50", "p99", "longest", "chunks", "gaps", "pulls", "lost")},
            cpu=cpu,
            grown=grown,
        )


def run() -> list[Result]:
    """The two rows of the table; a minute and a half."""
    return uvloop.run(_rows())


async def _rows() -> list[Result]:
    results = []
    async with own_service() as (council, settings):
        for rate, bar in BARS.items():
            one = await measure(council, settings, readers=READERS, rate=rate, seconds=10)
            print(one)
            if one.missing or one.gaps or one.lost:
                raise RuntimeError(f"the figures are worth nothing: {one}")
            name = f"revocation seen by {READERS:,} readers, {rate:,} a second, p99"
            results.append(
                Result(
                    name=name,
                    against="the bar",
                    ours=float(one.p99),
                    theirs=bar,
                    unit="ms",
                    ratio=one.p99 / bar,
                    bar=1.0,
                )
            )
    return results


async def _main(options: argparse.Namespace) -> int:
    wanted = {"readers": options.readers, "rate": options.rate, "seconds": options.seconds}
    wanted["stalled"] = options.stalled
    if options.url:
        token = os.environ.get("RESCARD_TOKEN")
        if token is None:
            print("RESCARD_TOKEN is not set: the token of an admin of the council", file=sys.stderr)
            return 2
        if urlsplit(options.url).scheme not in ("http", "https"):
            raise ValueError(f"{options.url} is no http or https address")
        one = await measure(Council(url=options.url.rstrip("/"), tenant=options.tenant, token=token), None, **wanted)
    else:
        async with own_service(with_valkey=not options.without_valkey) as (council, settings):
            one = await measure(council, settings, **wanted)
    print(one)
    return 1 if one.missing or one.gaps or one.lost else 0


def _why(error: BaseException) -> str:
    """What went wrong, in one line; of several things at once the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split()) or type(error).__name__


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.fleet", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--readers", type=int, default=READERS, help="connected readers (default %(default)s)")
    parser.add_argument("--rate", type=int, default=10, help="changes a second (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="how long changes are written (default %(default)s)")
    parser.add_argument("--stalled", type=int, default=0, help="readers more that take nothing (default %(default)s)")
    parser.add_argument("--without-valkey", action="store_true", help="hints through PostgreSQL alone")
    parser.add_argument("--url", help="a service that runs, instead of one of its own on loopback")
    parser.add_argument("--tenant", default="wcc", help="the council for tests at that service (default %(default)s)")
    options = parser.parse_args(arguments)
    try:
        return uvloop.run(_main(options))
    except (aiohttp.ClientError, OSError, RuntimeError, ServiceError, ValueError, ExceptionGroup) as error:
        print(f"nothing was measured: {_why(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
