"""Codes in view, turned into events: a code is reported once while it stays. Pure; time is an argument."""

from __future__ import annotations

from hardware.interfaces import Presented, Removed, SourceEvent

LEAVE_SECONDS = 1.0
"""A code is lost for some frames by a movement or a reflection; after a second it has been taken away."""


class View:
    """What one camera sees."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._last_seen: dict[bytes, float] = {}

    def frame(self, codes: list[bytes], now: float) -> list[SourceEvent]:
        """Note the codes of one frame; ``now`` is the instant at which the frame was decoded."""
        events = self.tick(now)
        for code in codes:
            if code not in self._last_seen:
                events.append(Presented(data=code, media="qr", source=self._source, at_monotonic=now))
            self._last_seen[code] = now
        return events

    def tick(self, now: float) -> list[SourceEvent]:
        """Forget what has left view."""
        gone = [code for code, seen in self._last_seen.items() if now - seen >= LEAVE_SECONDS]
        for code in gone:
            del self._last_seen[code]
        return [Removed(source=self._source, at_monotonic=now) for _ in gone]
