"""A bad network: a TCP proxy that cuts, holds, trickles and half-closes what goes through it, when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from types import TracebackType
from typing import Final, Self

from tests.faults.plan import Harm

CHUNK: Final = 16 * 1024
LATE_SECONDS: Final = 0.15
"""Longest delay of a connection while the link delays: enough that later ones overtake it."""


class _Pair:
    """One connection on both sides of the proxy."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near, self.far = near, far

    def abort(self) -> None:
        for writer in (self.near, self.far):
            writer.transport.abort()


class Link:
    """The way between one party and a server. Everything is well until :meth:`disturb`."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.port = 0
        self.passed = 0
        """Octets that went through, both ways."""
        self.moved = asyncio.Event()
        """Set each time some went through."""
        self._to = port
        self._chance = chance
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refuse = self._delay = False
        self._open = asyncio.Event()
        self._open.set()
        self._cut_in: dict[bool, int] = {}
        self._trickle = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def disturb(self, harm: Harm, *, octets: int, upwards: bool) -> None:
        """Begin to misbehave. ``upwards`` is towards the server."""
        if harm == "cut":
            self.cut()
        elif harm == "cut_at":
            self._cut_in[upwards] = octets
        elif harm == "refuse":
            self._refuse = True
            self.cut()
        elif harm == "hang":
            self._open.clear()
        elif harm == "trickle":
            self._trickle = min(octets, 600)
        elif harm == "delay":
            self._delay = True
            self.cut()
        else:
            for pair in self._pairs:
                with contextlib.suppress(OSError, RuntimeError):
                    (pair.far if upwards else pair.near).write_eof()

    def heal(self, *, late: bool) -> None:
        """Behave again. What hung is delivered late, or lost with its connection."""
        self._refuse = self._delay = False
        self._cut_in.clear()
        self._trickle = 0
        if not self._open.is_set():
            if not late:
                self.cut()
            self._open.set()

    async def next_octets(self) -> None:
        """Wait until something goes through."""
        self.moved.clear()
        await self.moved.wait()

    def cut(self) -> None:
        """Reset every connection that is open now."""
        for pair in list(self._pairs):
            pair.abort()

    async def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, near)
        except (OSError, asyncio.CancelledError):
            near.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self._refuse:
            near.transport.abort()
            return
        if self._delay:
            await asyncio.sleep(self._chance.uniform(0, LATE_SECONDS))
        back, far = await asyncio.open_connection("127.0.0.1", self._to)
        for writer in (near, far):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(near, far)
        self._pairs.add(pair)
        try:
            # A side that ends is passed on as such; the other side may go on.
            await asyncio.gather(self._pump(reader, far, pair, up=True), self._pump(back, near, pair, up=False))
        except (OSError, RuntimeError):
            pass  # a connection was cut, or half closed by us, under what was to be written to it
        finally:
            self._pairs.discard(pair)
            pair.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, pair: _Pair, *, up: bool) -> None:
        while octets := await source.read(CHUNK):
            await self._open.wait()
            left = self._cut_in.get(up)
            if left is not None and len(octets) >= left:
                # Exactly so many octets still arrive, then the connection is gone.
                del self._cut_in[up]
                sink.write(octets[:left])
                with contextlib.suppress(OSError):
                    await sink.drain()
                pair.abort()
                return
            if left is not None:
                self._cut_in[up] = left - len(octets)
            while self._trickle and octets:
                self._trickle -= 1
                sink.write(octets[:1])
                octets = octets[1:]
                await asyncio.sleep(0)
                self._count(1)
            sink.write(octets)
            await sink.drain()
            self._count(len(octets))
        with contextlib.suppress(OSError, RuntimeError):
            sink.write_eof()

    def _count(self, octets: int) -> None:
        self.passed += octets
        self.moved.set()
