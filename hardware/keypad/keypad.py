"""A keypad as a device: connects by itself, again and again, and reports keys.

``keypad+tcp://HOST:PORT`` and ``keypad+serial:/dev/NAME[?baud=9600]``.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from hardware.backoff import Backoff
from hardware.events import SOURCE_BACKLOG, EventQueue
from hardware.interfaces import Down, KeypadEvent, Up
from hardware.keypad.keys import KeyParser
from hardware.keypad.links import SPEEDS, Link, LinkError, SerialLink, TcpLink
from hardware.parameters import Parameters

DEFAULT_BAUD = 9600
"""What keypads leave the factory with."""

_DEVICE = re.compile(r"/dev(?:/[A-Za-z0-9_:@+-][A-Za-z0-9_.:@+-]*)+")


class AsciiKeypad:
    """The ``Keypad`` on one line. No key is ever logged, and none stands in a ``Down``'s reason."""

    def __init__(self, link: Link, *, name: str) -> None:
        self._link = link
        self._name = name
        self._events: EventQueue[KeypadEvent] = EventQueue(limit=SOURCE_BACKLOG)
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    def from_url(cls, url: str, *, name: str | None = None) -> Self:
        """Raises ``BadDeviceParameterError``."""
        if url.startswith("keypad+serial:"):
            given = Parameters(url, known=("baud",))
            if not _DEVICE.fullmatch(given.path):
                raise given.bad("path", "is not a device like /dev/ttyUSB0")
            baud = given.number("baud", low=min(SPEEDS), high=max(SPEEDS)) or DEFAULT_BAUD
            if baud not in SPEEDS:
                raise given.bad("baud", f"is none of {', '.join(map(str, SPEEDS))}")
            return cls(SerialLink(given.path, baud), name=name or f"keypad {given.path}")
        given = Parameters(url, known=())
        if given.path not in ("", "/"):
            raise given.bad("path", "has no meaning here")
        host, port = given.host(), given.port(None)
        return cls(TcpLink(host, port), name=name or f"keypad {host}:{port}")

    @property
    def name(self) -> str:
        return self._name

    async def __aenter__(self) -> Self:
        self._events.attach()
        self._listening = asyncio.create_task(self._listen(), name=f"keys of {self._name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        self._events.close()

    def events(self) -> AsyncIterator[KeypadEvent]:
        return aiter(self._events)

    async def _listen(self) -> None:
        backoff = Backoff()
        while True:
            reason = await self._session(backoff)
            if backoff.fresh:
                self._events.put(Down(source=self._name, reason=reason))
            await asyncio.sleep(backoff.next())

    async def _session(self, backoff: Backoff) -> str:
        """Connect and take keys until the line breaks; returns what broke."""
        parser = KeyParser()
        up = False
        try:
            await self._link.open()
            up = True
            backoff.reset()
            self._events.put(Up(source=self._name))
            while True:
                octets = await self._link.read()
                for key in parser.feed(octets, time.monotonic()):
                    self._events.put(key)
        except LinkError as error:
            return str(error)
        finally:
            if up:
                self._link.close()
