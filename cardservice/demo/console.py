"""What the demonstration says on the terminal: plain words, a mark for each step, colour only beside a mark."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

BOLD: Final = "1"
GREEN: Final = "32"
RED: Final = "31"
DIM: Final = "2"


class Console:
    """Writes lines; uses colour only on a terminal that wants it (https://no-color.org)."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.colour = self.out.isatty() and "NO_COLOR" not in os.environ

    def paint(self, text: str, code: str) -> str:
        """The text in a colour, where there is colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def line(self, text: str = "") -> None:
        """One line."""
        self.out.write(text + "\n")
        self.out.flush()

    def heading(self, text: str) -> None:
        """A heading with room above it."""
        self.line()
        self.line(self.paint(text, BOLD))

    def good(self, text: str) -> None:
        """Something came out as it should."""
        self.line(f"  {self.paint('ok', GREEN)}    {text}")

    def bad(self, text: str) -> None:
        """Something did not."""
        self.line(f"  {self.paint('FAIL', RED)}  {text}")

    def note(self, text: str) -> None:
        """A detail."""
        self.line("        " + self.paint(text, DIM))

    @contextmanager
    def progress(self, what: str) -> Iterator[None]:
        """``what ... 0.8 s`` around something that takes a moment."""
        self.out.write(f"  {what} ... ")
        self.out.flush()
        started = time.monotonic()
        try:
            yield
        except BaseException:
            self.line("failed")
            raise
        self.line(f"{time.monotonic() - started:.1f} s")
