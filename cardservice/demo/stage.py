"""The stage: virtual hardware and reader daemons as processes, commanded and watched from outside.

Virtual devices take JSON lines on standard input and report JSON lines on standard output; they end with their input,
so none survives this process.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from cardservice.embedded.process import die_with_parent
from cardservice.errors import DemoError

READY_SECONDS: Final = 20.0
ANSWER_SECONDS: Final = 10.0
END_SECONDS: Final = 5.0
LINE_BYTES: Final = 1 << 20


class Device:
    """One virtual device process, e.g. ``hardware.virtual.camera``."""

    def __init__(self, module: str, log: Path, *, port: int = 0) -> None:
        self.module = module
        self.log = log
        self.port = port
        self.events: list[dict[str, Any]] = []
        self._news = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self._input: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.module, "--port", str(self.port)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=LINE_BYTES,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise DemoError(what=self.module, detail="it has no pipes")
        self._input = self._process.stdin
        self._reading = asyncio.create_task(self._read(self._process.stdout))
        ready = await self.wait(lambda event: event.get("event") == "ready", seconds=READY_SECONDS)
        self.port = int(ready["port"])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            if self._input is not None:
                self._input.close()
            try:
                await asyncio.wait_for(self._process.wait(), END_SECONDS)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def _read(self, output: asyncio.StreamReader) -> None:
        async for line in output:
            async with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        async with self._news:
            self.events.append({"event": "ended"})
            self._news.notify_all()

    @property
    def mark(self) -> int:
        """How many events there have been: waiting from here sees only later ones."""
        return len(self.events)

    async def wait(
        self, wanted: Callable[[dict[str, Any]], bool], *, since: int = 0, seconds: float = ANSWER_SECONDS
    ) -> dict[str, Any]:
        """The first event after ``since`` that is wanted.

        Raises:
            DemoError: none came in time, or the device ended.
        """
        try:
            async with asyncio.timeout(seconds), self._news:
                while True:
                    for event in self.events[since:]:
                        if wanted(event):
                            return event
                        if event.get("event") == "ended":
                            raise DemoError(what=self.module, detail=f"it ended; see {self.log}")
                    await self._news.wait()
        except TimeoutError:
            raise DemoError(what=self.module, detail=f"nothing came within {seconds:g} s; see {self.log}") from None

    async def do(self, do: str, **arguments: Any) -> None:
        """Give a command and wait for its ``done``.

        Raises:
            DemoError: the device refused or did not answer.
        """
        if self._input is None:
            raise DemoError(what=self.module, detail="it was not started")
        since = self.mark
        self._input.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        await self._input.drain()
        answer = await self.wait(lambda event: event.get("event") in {"done", "error"}, since=since)
        if answer["event"] == "error":
            raise DemoError(what=self.module, detail=str(answer.get("problem")))
