"""What a reader saw, turned into events: one card, one event, however often it is read. Pure; time is an
argument.
"""

from __future__ import annotations

from hardware.interfaces import Media, Presented, Removed, SourceEvent, Unreadable

LEAVE_SECONDS = 0.4
"""A card at the edge of the field flickers for a tenth of a second; a hand takes longer to come back."""

FAILURES_BEFORE_NOTICE = 3
"""Failed reads in a row before the person is told; one or two happen while a card comes nearer."""


class Presence:
    """The card in the field of one reader. ``found`` comes before ``read`` and ``failed`` of the same card."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._data: bytes | None = None
        self._told_unreadable = False
        self._failures = 0
        self._last_seen: float | None = None

    def found(self, now: float) -> list[SourceEvent]:
        """A card answered. One that was away for long counts as another, also where its octets are the same."""
        events = self.absent(now)
        self._last_seen = now
        return events

    def read(self, data: bytes, media: Media, now: float) -> list[SourceEvent]:
        """The card was read, or is known to be the one read before."""
        events = [] if self._data in (None, data) and not self._told_unreadable else self.leave(now)
        known = self._data == data
        self._data, self._last_seen, self._failures = data, now, 0
        if not known:
            events.append(Presented(data=data, media=media, source=self._source, at_monotonic=now))
        return events

    def failed(self, reason: str, now: float, *, certain: bool = False) -> list[SourceEvent]:
        """The card was not read; ``certain`` if another try cannot help."""
        self._failures += 1
        self._last_seen = now
        if self._told_unreadable or not (certain or self._failures >= FAILURES_BEFORE_NOTICE):
            return []
        events = self.leave(now)
        self._told_unreadable, self._last_seen = True, now
        events.append(Unreadable(reason=reason, source=self._source, at_monotonic=now))
        return events

    def seen(self, now: float) -> None:
        """Whatever is there is still there."""
        self._last_seen = now

    def absent(self, now: float) -> list[SourceEvent]:
        """No card answers."""
        if self._last_seen is None or now - self._last_seen < LEAVE_SECONDS:
            return []
        return self.leave(now)

    def leave(self, now: float) -> list[SourceEvent]:
        """The card is gone, or the reader is."""
        known = self._data is not None or self._told_unreadable
        self._data, self._told_unreadable, self._failures, self._last_seen = None, False, 0, None
        return [Removed(source=self._source, at_monotonic=now)] if known else []
