"""A fleet of connected readers in one process: each holds one stream and notes when which change had arrived.

A whole reader takes a tenth of a second of work a second; a thousand of them would measure this machine and not the
service. These do what the measure needs: find the events in what arrives, see that none is missing, note the time.
Commands come as JSON lines on standard input, answers go to standard output; the process ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from entitlements.credential.assertion import sign_assertion

AT_ONCE: Final = 32
"""Streams being opened at the same time: a fleet after a power cut comes back over seconds, not in one."""
BUCKETS: Final = 60_000
"""Milliseconds told apart; whatever took longer counts as the last."""
STALLED_BYTES: Final = 4_096
"""What the kernel may hold for a reader that takes nothing, so that it is the service that has to."""
_CHANGE: Final = b'"change":{"t":"'
_NUMBER: Final = b'"n":'
_BEAT_TIME: Final = re.compile(rb'"server_time":(\d+)')
_WRITTEN: Final = re.compile(rb'"change":\{"t":"\w+","n":(\d+),"tn":\d+,"at":(\d+)')


@dataclass(kw_only=True)
class Fleet:
    """What the readers of this process share."""

    number: int
    """The last change that they have before they connect."""
    wanted: int = 1 << 62
    joined: int = 0
    done: int = 0
    lost: list[str] = field(default_factory=list)
    least_delay: float = float("inf")
    """Smallest difference, in ms, of our clock and the service's in a beat: the clocks' offset and the way."""
    written: dict[int, int] = field(default_factory=dict)
    """Number to the service's clock (ms) at the change's own request, as the first reader reads it."""
    news: asyncio.Event = field(default_factory=asyncio.Event)


class StreamReader(asyncio.Protocol):
    """One connected reader."""

    __slots__ = (
        "_first",
        "_fleet",
        "_joined",
        "_request",
        "_stalled",
        "_tail",
        "_transport",
        "gaps",
        "marks",
        "number",
        "pulls",
    )

    def __init__(self, fleet: Fleet, request: bytes, *, first: bool = False, stalled: bool = False) -> None:
        self._fleet = fleet
        self._request = request
        self._first = first
        self._stalled = stalled
        self._joined = False
        self._tail = b""
        self.number = fleet.number
        self.marks: list[tuple[float, int]] = []
        """When (ms since the epoch) every change up to which number had arrived."""
        self.gaps = 0
        self.pulls = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time_ns() / 1e6
        octets = self._tail + data
        end = octets.rfind(b"\n\n") + 2
        if end == 1:
            self._tail = octets
            return
        events, self._tail = octets[:end], octets[end:]
        if not self._joined and not self._join(events):
            return
        if self._first:
            self._note(events, now)
        count = events.count(b"event: change")
        if count:
            at = events.find(_NUMBER, events.rfind(_CHANGE)) + len(_NUMBER)
            last = int(events[at : events.find(b",", at)])
            if last - self.number != count:
                self.gaps += 1
            self.number = last
            self.marks.append((now, last))
            if last >= self._fleet.wanted:
                self._fleet.done += 1
                self._fleet.news.set()
        if b"event: pull" in events:
            self.pulls += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._fleet.lost.append(str(exc or self._tail[:300].decode("utf-8", "replace") or "closed"))
        self._fleet.news.set()

    def _join(self, events: bytes) -> bool:
        if b"event: beat" not in events:
            self._tail = events + self._tail
            return False
        self._joined = True
        self._fleet.joined += 1
        if self._stalled:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BYTES)
            self._transport.pause_reading()
        self._fleet.news.set()
        return True

    def _note(self, events: bytes, now: float) -> None:
        for server_time in _BEAT_TIME.findall(events):
            self._fleet.least_delay = min(self._fleet.least_delay, now - int(server_time))
        for number, at in _WRITTEN.findall(events):
            self._fleet.written[int(number)] = int(at)


def stream_request(command: Mapping[str, Any], identity: tuple[str, ec.EllipticCurvePrivateKey]) -> bytes:
    """The octets that open a stream."""
    assertion = sign_assertion(
        reader_id=identity[0],
        key=identity[1],
        method="GET",
        path="/v1/stream",
        audience="rescard",
        now=int(time.time()),
    )
    place = f"{command['feed']}:{command['epoch']}:{command['number']}"
    lines = (
        f"GET /v1/stream?feed={place} HTTP/1.1",
        f"Host: {command['host']}:{command['port']}",
        f"Authorization: Reader {assertion}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def delays(readers: Sequence[StreamReader], written: Mapping[int, float], first: int) -> list[int]:
    """How many (reader, change) took how many whole milliseconds, of changes from ``first`` on."""
    counts = [0] * (BUCKETS + 1)
    for reader in readers:
        before = first - 1
        for at, last in reader.marks:
            for number in range(before + 1, last + 1):
                counts[min(BUCKETS, max(0, int(at - written[number])))] += 1
            before = max(before, last)
    return counts


def percentile(counts: Sequence[int], share: float) -> int:
    """The least number of milliseconds within which this share of all lies."""
    wanted, so_far = share * sum(counts), 0
    for milliseconds, count in enumerate(counts):
        so_far += count
        if so_far >= wanted:
            return milliseconds
    return 0


async def _run() -> None:
    commands = await _input()
    command = json.loads(await commands.readline())
    identities = []
    for each in command["identities"]:
        key = load_pem_private_key(each["pem"].encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        identities.append((each["reader_id"], key))
    fleet = Fleet(number=command["number"])
    everybody = await _connect(command, identities, fleet)
    readers = everybody[: command["readers"]]
    _say(joined=fleet.joined, lost=fleet.lost[:3])
    end = json.loads(await commands.readline())
    fleet.wanted = end["until"]
    fleet.done = sum(reader.number >= fleet.wanted for reader in readers)
    await _until(fleet, lambda: fleet.done + len(fleet.lost) >= len(readers), end["seconds"])
    known = json.loads(Path(end["written"]).read_text()) if end["written"] else None
    written = (
        {int(number): at for number, at in known.items()}
        if known is not None
        else {number: at + fleet.least_delay for number, at in fleet.written.items()}
    )
    counts = delays(readers, written, command["number"] + 1)
    _say(
        readers=fleet.joined,
        whole=fleet.done,
        gaps=sum(reader.gaps for reader in readers),
        pulls=sum(reader.pulls for reader in readers),
        lost=fleet.lost[:3],
        samples=sum(counts),
        p50=percentile(counts, 0.5),
        p99=percentile(counts, 0.99),
        longest=percentile(counts, 1.0),
        chunks=sum(len(reader.marks) for reader in readers) / max(1, len(readers)),
    )


async def _connect(
    command: Mapping[str, Any], identities: Sequence[tuple[str, ec.EllipticCurvePrivateKey]], fleet: Fleet
) -> list[StreamReader]:
    """All readers, connected, each with its first beat; those that take nothing from then on come last."""
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context() if command["tls"] else None
    everybody = range(command["readers"] + command["stalled"])
    readers: dict[int, StreamReader] = {}

    async def connect(place: int) -> None:
        async with turn:
            request = stream_request(command, identities[place % len(identities)])
            made = StreamReader(fleet, request, first=place == 0, stalled=place >= command["readers"])
            await loop.create_connection(lambda: made, command["host"], command["port"], ssl=context)
            readers[place] = made
            before = fleet.joined
            await _until(fleet, lambda: fleet.joined > before or bool(fleet.lost), command["seconds"])

    turn = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(connect(place) for place in everybody))
    await _until(fleet, lambda: fleet.joined + len(fleet.lost) >= len(everybody), command["seconds"])
    return [readers[place] for place in everybody]


async def _until(fleet: Fleet, reached: Any, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not reached():
                fleet.news.clear()
                await fleet.news.wait()
    except TimeoutError:
        pass


async def _input() -> asyncio.StreamReader:
    commands = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    return commands


def _say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    uvloop.run(_run())
