"""JSON text (RFC 8259) read strictly, and the line on which each of its values stands."""

from __future__ import annotations

import json
import re
from typing import Any

from entitlements.errors import Problem
from entitlements.jsonfaults import MAX_DEPTH, first_fault

MAX_TEXT = 16 * 1024 * 1024
"""Characters of JSON read in one go: ten thousand service documents; anything longer is a mistake or an attack."""

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SCALAR = re.compile(r"[^ \t\n\r,\]}]+")


class TextError(ValueError):
    """The text is not JSON, or is JSON that two readers could read differently."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def read_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        TextError: not JSON, a key twice in one object, NaN, Infinity or a number beyond all bounds, half a
            character, nested too deep, or too long. All but the last say the line.
    """
    if len(text) > MAX_TEXT:
        raise _fault(f"the text has {len(text)} characters", f"Keep it below {MAX_TEXT}.")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        if _depth(value) > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise _fault(f"it is not JSON: {error.msg} (column {error.colno})", "Correct it.", error.lineno) from None
    except (ValueError, RecursionError) as error:  # a lone surrogate among them: UnicodeEncodeError
        found = first_fault(text)
        if found is None:
            raise _fault(f"it is not JSON: {error}", "Correct it.") from None
        raise _fault(found.message, found.advice, found.line) from None
    return value


def _fault(message: str, advice: str, line: int | None = None) -> TextError:
    return TextError(Problem(pointer="", message=message, advice=advice, line=line))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _depth(value: Any) -> int:
    depth, layer = 0, [value]
    while layer and depth <= MAX_DEPTH:
        depth += 1
        layer = [
            item
            for one in layer
            if isinstance(one, (dict, list))
            for item in (one.values() if isinstance(one, dict) else one)
        ]
    return depth


def lines(text: str) -> dict[str, int]:
    """JSON pointer of each value -> the line, from 1, on which it (a member: its key) begins; of valid JSON."""
    found: dict[str, int] = {}
    _Lines(text, found).value("", 0)
    return found


class _Lines:
    def __init__(self, text: str, found: dict[str, int]) -> None:
        self._text = text
        self._found = found
        self._counted = 0
        self._line = 1

    def _mark(self, pointer: str, position: int) -> None:
        self._line += self._text.count("\n", self._counted, position)
        self._counted = position
        self._found.setdefault(pointer, self._line)

    def _skip(self, position: int) -> int:
        match = _SPACE.match(self._text, position)
        return match.end() if match else position

    def value(self, pointer: str, position: int) -> int:
        """Mark the value at a position and all in it; the position after it."""
        position = self._skip(position)
        self._mark(pointer, position)
        opening = self._text[position]
        if opening == "{":
            return self._members(pointer, position)
        if opening == "[":
            return self._items(pointer, position)
        match = (_STRING if opening == '"' else _SCALAR).match(self._text, position)
        return match.end() if match else position + 1

    def _members(self, pointer: str, position: int) -> int:
        position = self._skip(position + 1)
        while self._text[position] != "}":
            match = _STRING.match(self._text, position)
            end = match.end() if match else position + 1
            key = json.loads(self._text[position:end])
            here = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            self._mark(here, position)
            position = self._skip(end) + 1  # past the colon
            position = self._skip(self.value(here, position))
            if self._text[position] == ",":
                position = self._skip(position + 1)
        return position + 1

    def _items(self, pointer: str, position: int) -> int:
        position = self._skip(position + 1)
        index = 0
        while self._text[position] != "]":
            position = self._skip(self.value(f"{pointer}/{index}", position))
            index += 1
            if self._text[position] == ",":
                position = self._skip(position + 1)
        return position + 1


def line_of(pointer: str, positions: dict[str, int]) -> int | None:
    """Line of a value, or of the nearest thing around it that is written."""
    while pointer and pointer not in positions:
        pointer = pointer.rpartition("/")[0]
    return positions.get(pointer)
