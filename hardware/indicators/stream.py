"""Indicators that write: JSON lines for machines, plain text for a person at a terminal."""

from __future__ import annotations

import json
import sys
from typing import TextIO

from hardware.interfaces import Light, Verdict

# A shape for each light: who cannot tell the colours can tell these, also in a log file.
SHAPES: dict[Light, str] = {"green": "[>>]", "red": "[XX]", "amber": "[!!]", "blue": "[ i]"}


class LogIndicator:
    """Writes one JSON object a verdict: ``{"indicator", "light", "tone", "headline", "detail"}``."""

    def __init__(self, *, name: str, stream: TextIO | None = None) -> None:
        self.name = name
        self._stream = stream

    async def show(self, verdict: Verdict) -> None:
        line = {
            "indicator": self.name,
            "light": verdict.light,
            "tone": verdict.tone,
            "headline": verdict.headline,
            "detail": verdict.detail,
        }
        _write(self._stream, json.dumps(line, ensure_ascii=False))

    async def close(self) -> None:
        """Nothing is held."""


class ConsoleIndicator:
    """Writes one line of text a verdict, e.g. ``[XX] RED   Closed - Opens at 14:00 (tone: refused)``."""

    def __init__(self, *, name: str, stream: TextIO | None = None) -> None:
        self.name = name
        self._stream = stream

    async def show(self, verdict: Verdict) -> None:
        detail = f" - {verdict.detail}" if verdict.detail else ""
        _write(
            self._stream,
            f"{SHAPES[verdict.light]} {verdict.light.upper():5} {verdict.headline}{detail} (tone: {verdict.tone})",
        )

    async def close(self) -> None:
        """Nothing is held."""


def _write(stream: TextIO | None, line: str) -> None:
    # Looked up at each call: a process that redirects its standard error keeps its indicator. Control
    # characters in a text must not forge a second line.
    target = sys.stderr if stream is None else stream
    clean = "".join(character if character.isprintable() else " " for character in line)
    target.write(clean + "\n")
    target.flush()
