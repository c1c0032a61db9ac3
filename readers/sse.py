"""Parsing server-sent events (WHATWG HTML Living Standard, section 9.2.6): octets in, events out."""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_EVENT: Final = 4 << 20
"""Octets of one event; a change has a few hundred, a world with many sites some hundred thousand."""


class ServerEvent(NamedTuple):
    """One event: its name (``message`` if it gave none) and its data lines joined by line feeds."""

    name: str
    data: bytes


class EventParser:
    """Takes octets in any pieces. Fields other than ``event`` and ``data``, and comments, are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, octets: bytes) -> list[ServerEvent]:
        """The events that these octets complete.

        Raises:
            ValueError: an event is longer than 4 MiB; the stream should be dropped.
        """
        # A carriage return at the very end may be half of a CR LF, so it waits for what follows.
        text = self._rest + octets
        held = b"\r" if text.endswith(b"\r") else b""
        lines = text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + held
        events = []
        for line in lines:
            event = self._line(line)
            if event is not None:
                events.append(event)
        if self._size + len(self._rest) > MAX_EVENT:
            raise ValueError(f"a server-sent event has more than {MAX_EVENT} octets")
        return events

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            event = ServerEvent(self._name or "message", b"\n".join(self._data)) if self._data else None
            self._name, self._data, self._size = "", [], 0
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"data":
            self._data.append(value)
            self._size += len(value)
        return None
