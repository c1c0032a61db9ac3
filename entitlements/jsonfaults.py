"""Where a JSON text goes wrong: it is gone through once more, piece by piece, only after a reader has refused it.

Readers of JSON say that a key stands twice or that a number is none, and not where. Nothing here recurses, so a text of
a hundred thousand brackets has a line as well.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_DEPTH: Final = 64
"""Nesting allowed; the deepest honest condition seen has six levels."""

_PIECE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^ \t\n\r"{}\[\],:]+', re.DOTALL)
_SHOWN: Final = 60
"""Characters of somebody's text that a message repeats."""


class Fault(NamedTuple):
    """What is wrong, what to do, and on which line, from 1."""

    message: str
    advice: str
    line: int


def shortened(text: str) -> str:
    """A text as a message repeats it: nobody looks for the fault in four hundred digits."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def first_fault(text: str) -> Fault | None:
    """The first thing in a JSON text that two readers could read differently, or that no document needs.

    Args:
        text: JSON (RFC 8259) up to the fault. Where the grammar itself is broken the reader of JSON says the line.
    """
    # Of each object and list that is open the keys and their lines; None for a list.
    open_now: list[dict[str, int] | None] = []
    key_next = False
    for piece, line in _pieces(text):
        if piece in "}]":
            if not open_now:
                return None
            open_now.pop()
            key_next = False
        elif piece == ",":
            key_next = bool(open_now) and open_now[-1] is not None
        elif piece == ":":
            key_next = False
        else:
            keys = open_now[-1] if open_now and key_next else None
            fault = _wrong_key(piece, line, keys) if keys is not None else _wrong_value(piece, line, len(open_now) + 1)
            if fault is not None:
                return fault
            if piece in "{[":
                open_now.append({} if piece == "{" else None)
                key_next = piece == "{"
    return None


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    line, counted = 1, 0
    for match in _PIECE.finditer(text):
        line += text.count("\n", counted, match.start())
        counted = match.start()
        yield match.group(), line


def _wrong_key(piece: str, line: int, keys: dict[str, int]) -> Fault | None:
    key = _string(piece)
    if key is None:
        return _half_a_character(line)
    if key in keys:
        where = "" if keys[key] == line else f", first on line {keys[key]}"
        message = f"the key {shortened(json.dumps(key))} stands twice in one object{where}"
        return Fault(message, "Keep one of them.", line)
    keys[key] = line
    return None


def _wrong_value(piece: str, line: int, depth: int) -> Fault | None:
    if depth > MAX_DEPTH:
        return Fault(f"it is nested deeper than {MAX_DEPTH}", "Flatten it.", line)
    if piece.startswith('"'):
        return _half_a_character(line) if _string(piece) is None else None
    if piece in ("NaN", "Infinity", "-Infinity"):
        return Fault(f"{piece} is not a JSON value", "Write a number.", line)
    if piece[0] in "-0123456789":
        try:
            number = json.loads(piece)
            good = not isinstance(number, float) or math.isfinite(number)
        except ValueError:  # more digits than Python turns into a number
            good = False
        if not good:
            return Fault(f"the number {shortened(piece)} is larger than any can be", "Write a smaller number.", line)
    return None


def _string(piece: str) -> str | None:
    """What a piece of a string says; ``None`` where it is no text."""
    text: str = json.loads(piece)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return text


def _half_a_character(line: int) -> Fault:
    return Fault("it holds half a character (a lone surrogate)", "Write the whole character.", line)
