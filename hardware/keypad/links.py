"""The two lines a keypad is on: a serial port of this machine, and a TCP port that carries one (ser2net, raw mode).

Nothing is ever written: a keypad only speaks. The serial line is read without a thread, by the loop's own readiness
call; the port is opened without waiting for a carrier, so that opening does not block.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import termios
import tty
from dataclasses import dataclass, field
from typing import Protocol

READ_SIZE = 256
CONNECT_SECONDS = 3.0
KEEPALIVE_IDLE_SECONDS = 10
KEEPALIVE_EVERY_SECONDS = 5
KEEPALIVE_PROBES = 3
"""A keypad is silent for hours, so only keepalive (RFC 9293, 3.8.4) tells a dead box from a quiet one: in 25 s."""

SPEEDS = {
    1200: termios.B1200,
    2400: termios.B2400,
    4800: termios.B4800,
    9600: termios.B9600,
    19200: termios.B19200,
    38400: termios.B38400,
    57600: termios.B57600,
    115200: termios.B115200,
}
"""Baud rates (bits a second) that keypads are set to."""


class LinkError(Exception):
    """The line to the keypad is not there or broke; the text says how, for a log."""


class Link(Protocol):
    """One line. ``open`` and ``read`` raise ``LinkError``; ``read`` gives at least one octet."""

    async def open(self) -> None: ...

    async def read(self) -> bytes: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class TcpLink:
    """``host`` and ``port`` of a serial-to-network box."""

    host: str
    port: int
    _reader: asyncio.StreamReader | None = field(default=None, init=False)
    _writer: asyncio.StreamWriter | None = field(default=None, init=False)

    async def open(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        except (OSError, TimeoutError) as error:
            raise LinkError(f"no connection to {self.host}:{self.port}: {error!r}") from error
        line = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_SECONDS)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)

    async def read(self) -> bytes:
        if self._reader is None:
            raise LinkError("not connected")
        try:
            octets = await self._reader.read(READ_SIZE)
        except OSError as error:
            raise LinkError(str(error) or type(error).__name__) from error
        if not octets:
            raise LinkError("the other end closed the connection")
        return octets

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@dataclass(slots=True)
class SerialLink:
    """``path`` of the serial device and its speed in bits a second, 8 data bits, no parity, one stop bit."""

    path: str
    baud: int = 9600
    _line: int | None = field(default=None, init=False)

    async def open(self) -> None:
        line = -1
        try:
            # O_NONBLOCK: neither this call nor a read waits for a carrier. O_NOCTTY: a keypad sends no Ctrl-C.
            line = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            _set_raw(line, SPEEDS[self.baud])
            # Keys pressed while nobody listened are not part of any entry.
            termios.tcflush(line, termios.TCIFLUSH)
        except (OSError, termios.error) as error:
            if line >= 0:
                os.close(line)
            raise LinkError(f"cannot open {self.path}: {error}") from error
        self._line = line

    async def read(self) -> bytes:
        line = self._line
        if line is None:
            raise LinkError("not open")
        while True:
            await _readable(line)
            try:
                octets = os.read(line, READ_SIZE)
            except BlockingIOError:
                continue
            except OSError as error:
                raise LinkError(f"{self.path} was unplugged: {error.strerror}") from error
            if not octets:
                raise LinkError(f"{self.path} was unplugged")
            return octets

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            with contextlib.suppress(OSError):
                os.close(line)


async def _readable(line: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(line, tell)
    try:
        await ready
    finally:
        loop.remove_reader(line)


def _set_raw(line: int, speed: int) -> None:
    """Octets as they come, at once, without echo; modem lines are not looked at."""
    tty.setraw(line, termios.TCSANOW)
    mode = termios.tcgetattr(line)
    mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB | termios.CSTOPB)) | termios.CS8
    mode[2] |= termios.CLOCAL | termios.CREAD
    mode[4] = mode[5] = speed
    termios.tcsetattr(line, termios.TCSANOW, mode)
