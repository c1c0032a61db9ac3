"""Virtual devices as processes, and a listener to a device's events, for tests that wait instead of sleeping."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

PATIENCE_SECONDS = 30.0
"""Only ends a test that would hang; nothing is measured by it."""

Found = TypeVar("Found")


class VirtualDevice:
    """A process of ``hardware.virtual``, commanded as its own users command it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port
        self.events: list[dict[str, Any]] = []
        self._came = asyncio.Condition()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] in ("done", "error"):
                self._answers.put_nowait(event)
                continue
            async with self._came:
                self.events.append(event)
                self._came.notify_all()

    async def raw(self, line: bytes) -> dict[str, Any]:
        """Send one line, return the answer to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._answers.get()

    async def do(self, do: str, **facts: object) -> None:
        """Send one command that must succeed."""
        answer = await self.raw(json.dumps({"do": do, **facts}).encode())
        assert answer == {"event": "done", "do": do}, answer

    async def event(self, name: str, count: int = 1) -> dict[str, Any]:
        """The ``count``-th event of this name since the process began."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._came:
            await self._came.wait_for(lambda: len(self.all(name)) >= count)
            return self.all(name)[count - 1]

    def all(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]

    async def kill(self) -> None:
        """End it as a power cut does."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def close_input(self) -> int:
        """End its standard input and return its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def virtual(device: str, *, port: int = 0) -> AsyncIterator[VirtualDevice]:
    """Run ``hardware.virtual.<device>`` until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"hardware.virtual.{device}",
        "--port",
        str(port),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        ready = json.loads(await process.stdout.readline())
    assert ready["event"] == "ready"
    running = VirtualDevice(process, ready["port"])
    try:
        yield running
    finally:
        await running.kill()


class Heard:
    """Everything a device reports, in order."""

    def __init__(self, events: AsyncIterator[Any]) -> None:
        self.events: list[Any] = []
        self._next = 0
        self._came = asyncio.Condition()
        self._listening = asyncio.create_task(self._listen(events))

    async def _listen(self, events: AsyncIterator[Any]) -> None:
        async for event in events:
            async with self._came:
                self.events.append(event)
                self._came.notify_all()

    async def next(self) -> Any:
        """The event after the last one that was asked for."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._came:
            await self._came.wait_for(lambda: len(self.events) > self._next)
            self._next += 1
            return self.events[self._next - 1]

    async def first(self, kind: type[Found]) -> Found:
        """The next event of this kind, passing over others."""
        while True:
            event = await self.next()
            if isinstance(event, kind):
                return event

    async def ended(self) -> None:
        """The device has ended its events."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._listening
