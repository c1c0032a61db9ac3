"""What the story saw: each step with what was expected, what was seen and how long it took."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from cardservice.demo.console import Console
from cardservice.errors import ServiceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: ``seen`` equals ``expected`` where it went well."""

    step: str
    what: str
    expected: str
    seen: str
    milliseconds: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether it came out as expected."""
        return self.seen == self.expected


class Record:
    """Runs steps, says each on the console and keeps them for ``story.json``."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[Step] = []
        self.chapter = ""
        self._started = 0.0

    def restart_clock(self) -> None:
        """What came before in this step was preparation; its milliseconds count from here."""
        self._started = time.perf_counter()

    def begin(self, chapter: str, title: str) -> None:
        """Open a chapter."""
        self.chapter = chapter
        self.console.heading(f"{chapter}. {title}")

    async def step(self, what: str, expected: str, see: Callable[[], Awaitable[str | tuple[str, str]]]) -> None:
        """Do one step. ``see`` gives what was seen, or that and a note; a fault becomes what was seen."""
        self._started = time.perf_counter()
        note = ""
        try:
            answer = await see()
            seen, note = answer if isinstance(answer, tuple) else (answer, "")
        except ServiceError as error:
            seen = str(error)
        except Exception as error:  # noqa: BLE001 - a fault in one step is told as such, and the story goes on
            seen = f"{type(error).__name__}: {error}"
        elapsed = round((time.perf_counter() - self._started) * 1000, 1)
        name = f"{self.chapter}.{sum(step.step.startswith(f'{self.chapter}.') for step in self.steps) + 1}"
        done = Step(step=name, what=what, expected=expected, seen=seen, milliseconds=elapsed, note=note)
        self.steps.append(done)
        if done.ok:
            self.console.good(f"{what}: {seen} ({elapsed:g} ms)")
        else:
            self.console.bad(f"{what}: expected {expected!r}, saw {seen!r}")
        if note:
            self.console.note(note)

    @property
    def failures(self) -> int:
        """How many steps did not come out as expected."""
        return sum(not step.ok for step in self.steps)

    def write(self, path: Path) -> None:
        """Leave ``story.json``."""
        steps = [{**asdict(step), "ok": step.ok} for step in self.steps]
        path.write_text(json.dumps({"ok": self.failures == 0, "steps": steps}, indent=1, ensure_ascii=False) + "\n")
