"""Devices that do as they are told, or misbehave by a seed: refuse, hang, fall silent, report twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any, Self

from hardware.errors import GateError, GateRefusedError, GateUnreachableError
from hardware.interfaces import (
    Cancel,
    Digit,
    Direction,
    Enter,
    GateEvent,
    KeypadEvent,
    Media,
    Passed,
    Presented,
    Removed,
    SourceEvent,
    Up,
    Verdict,
)
from readers.devices import DeviceMaker


class Source:
    """A source whose cards the test holds to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: asyncio.Queue[SourceEvent | BaseException] = asyncio.Queue()
        self.queue.put_nowait(Up(source=name))
        self.entered = 0

    async def __aenter__(self) -> Self:
        self.entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def events(self) -> AsyncIterator[SourceEvent]:
        while True:
            event = await self.queue.get()
            if isinstance(event, BaseException):
                raise event
            yield event

    def present(self, data: bytes, media: Media = "qr") -> None:
        """Hold a card to the reader and take it away."""
        self.queue.put_nowait(Presented(data=data, media=media, source=self.name, at_monotonic=time.monotonic()))
        self.queue.put_nowait(Removed(source=self.name, at_monotonic=time.monotonic()))


class Turnstile:
    """A gate whose people walk when the test says so, or by themselves (``walks``)."""

    def __init__(self, name: str, *, seed: int | None = None) -> None:
        self.name = name
        self.queue: asyncio.Queue[GateEvent] = asyncio.Queue()
        self.queue.put_nowait(Up(source=name))
        self.releases: list[Direction] = []
        self.released = asyncio.Event()
        self.walks = True
        self.fault: type[GateError] | None = None
        self._random = None if seed is None else random.Random(seed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def release(self, direction: Direction, pulse_seconds: float) -> None:
        assert 0.05 <= pulse_seconds <= 30
        fault = self.fault
        if self._random is not None:
            fault = self._random.choice([None, None, GateUnreachableError, GateRefusedError])
            if self._random.random() < 0.1:
                raise RuntimeError("a driver's bug")
        if fault is not None:
            raise fault("as the test wants", gate=self.name)
        self.releases.append(direction)
        self.released.set()
        walks = self.walks if self._random is None else self._random.random() < 0.7
        if walks:
            self.queue.put_nowait(Passed(direction=direction))
            if self._random is not None and self._random.random() < 0.2:
                self.queue.put_nowait(Passed(direction=direction))

    async def inputs(self) -> AsyncIterator[GateEvent]:
        while True:
            yield await self.queue.get()


class Keys:
    """A keypad at which the test types."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: asyncio.Queue[KeypadEvent] = asyncio.Queue()
        self.queue.put_nowait(Up(source=name))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def events(self) -> AsyncIterator[KeypadEvent]:
        while True:
            yield await self.queue.get()

    def press(self, keys: str) -> None:
        """Press digits, ``#`` and ``*``."""
        for key in keys:
            at = time.monotonic()
            event: KeypadEvent = Enter(at_monotonic=at) if key == "#" else Cancel(at_monotonic=at)
            self.queue.put_nowait(Digit(digit=key, at_monotonic=at) if key.isdigit() else event)


class Display:
    """Remembers what it showed and lets a test wait for it."""

    def __init__(self) -> None:
        self.shown: list[Verdict] = []
        self.fault = False
        self._changed = asyncio.Condition()

    async def show(self, verdict: Verdict) -> None:
        if self.fault:
            raise OSError("the display is unplugged")
        async with self._changed:
            self.shown.append(verdict)
            self._changed.notify_all()

    async def close(self) -> None:
        return None

    async def until(self, headline: str, times: int = 1) -> None:
        """Wait until a headline that begins so was shown so many times."""
        async with self._changed:
            await self._changed.wait_for(lambda: sum(v.headline.startswith(headline) for v in self.shown) >= times)


class Devices(DeviceMaker):
    """Makes the doubles, one for each URL, and hands the same one out again when it is reopened."""

    def __init__(self, *, seed: int | None = None) -> None:
        self.sources: dict[str, Source] = {}
        self.gates: dict[str, Turnstile] = {}
        self.displays: dict[str, Display] = {}
        self.keypads: dict[str, Keys] = {}
        self._seed = seed

    def source(self, url: str) -> Any:
        return self.sources.setdefault(url, Source(url))

    def actuator(self, url: str) -> Any:
        return self.gates.setdefault(url, Turnstile(url, seed=self._seed))

    def indicator(self, url: str) -> Any:
        return self.displays.setdefault(url, Display())

    def keypad(self, url: str) -> Any:
        return self.keypads.setdefault(url, Keys(url))
