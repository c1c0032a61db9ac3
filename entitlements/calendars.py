"""Local time: days, weekly windows, holidays and closures, on the wall clock of an IANA zone.

Everything that leaves this module is whole seconds since the epoch. A window is a range of *wall-clock* time, so it is
turned into instants through the zone's offsets: in the repeated autumn hour both passes lie in it, in the spring gap
nothing does. Two aware datetimes of one zone are never subtracted (that ignores clock changes).

Answers are remembered in small bounded tables: they change speed, never results.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import MAXYEAR, UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from entitlements.model import Instant
from entitlements.service import Window

DAY = 86_400
"""Seconds of a day without a clock change."""
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
OFFSET_REACH = 15 * 3600
"""Seconds by which local time can differ from UTC anywhere (UTC+14 is the most), rounded up."""
SEARCH_DAYS = 366
"""Days that the search for the next opening looks ahead: a year, which is what the screen can usefully say."""
REMEMBERED_DAYS = 512
"""UTC days whose openings are kept per service; a replay of a month of taps fits."""
MAX_ORDINAL = date.max.toordinal()

FOREVER = Instant(int(datetime(MAXYEAR, 1, 1, tzinfo=UTC).timestamp()))
"""Start of the last representable year: "never ends" where an instant is needed."""


class LocalTime:
    """One IANA zone. Make with :func:`local_time`.

    Raises:
        ZoneInfoNotFoundError: there is no such zone.
    """

    __slots__ = ("_day", "_midnights", "_zone", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._zone = ZoneInfo(name)
        self._midnights: dict[int, Instant] = {}
        self._day: tuple[Instant, Instant, int] = (Instant(0), Instant(0), 0)

    def offset(self, at: int) -> int:
        """Seconds that local time is ahead of UTC at an instant."""
        moved = datetime.fromtimestamp(at, self._zone).utcoffset()
        return int(moved.total_seconds()) if moved is not None else 0

    def midnight(self, ordinal: int) -> Instant:
        """First instant of a local day (a proleptic Gregorian ordinal), also where 00:00 itself is skipped."""
        known = self._midnights.get(ordinal)
        if known is None:
            if ordinal >= MAX_ORDINAL - 366:
                return FOREVER
            if len(self._midnights) >= 20_000:
                self._midnights.clear()
            known = self._midnights[ordinal] = self.wall(ordinal, 0)
        return known

    def wall(self, ordinal: int, seconds: int) -> Instant:
        """Instant of a wall-clock time: the first of two; a time in the spring gap is moved on by the gap."""
        day = date.fromordinal(ordinal)
        naive = datetime(day.year, day.month, day.day, tzinfo=self._zone) + timedelta(seconds=seconds)
        return Instant(int(naive.timestamp()))

    def day(self, at: Instant) -> int:
        """Ordinal of the local day of an instant."""
        start, until, ordinal = self._day
        if start <= at < until:
            return ordinal
        ordinal = (at + self.offset(at)) // DAY + EPOCH_ORDINAL
        self._day = (self.midnight(ordinal), self.midnight(ordinal + 1), ordinal)
        return ordinal

    def datetime(self, at: Instant) -> datetime:
        """The aware local datetime of an instant, for showing it."""
        return datetime.fromtimestamp(at, self._zone)

    def instants(self, ordinal: int, start: int, until: int) -> list[tuple[Instant, Instant]]:
        """Instants whose wall clock lies in ``[start, until)``, seconds after 00:00 of a day; may reach the next day.

        Empty where the range lies in a spring gap, two ranges where autumn repeats a part of it.
        """
        base = (ordinal - EPOCH_ORDINAL) * DAY
        first, last = base + start, base + until
        low, high = first - OFFSET_REACH, last + OFFSET_REACH
        before, after = self.offset(low), self.offset(high)
        if before == after:
            return [(Instant(first - before), Instant(last - before))]
        while high - low > 1:  # the offset changes once in (low, high]
            middle = (low + high) // 2
            if self.offset(middle) == before:
                low = middle
            else:
                high = middle
        change = high
        early = (first - before, min(last - before, change))
        late = (max(first - after, change), last - after)
        ranges = [part for part in (early, late) if part[0] < part[1]]
        if len(ranges) == 2 and early[1] == late[0]:
            ranges = [(early[0], late[1])]
        return [(Instant(a), Instant(b)) for a, b in ranges]


@lru_cache(maxsize=64)
def local_time(name: str) -> LocalTime:
    """The zone of that IANA name, one object a name."""
    return LocalTime(name)


class Always:
    """The hours of a service that says nothing of hours: all of ``[start, until)``. Asked as :class:`Openings` is."""

    __slots__ = ("lately",)

    def __init__(self, start: Instant, until: Instant) -> None:
        self.lately = (start, until)

    def contains(self, at: Instant) -> bool:
        """Whether the service is open at an instant."""
        start, until = self.lately
        return start <= at < until

    def next_opening(self, at: Instant) -> Instant | None:
        """The first instant after ``at`` at which the service opens."""
        start, _ = self.lately
        return start if at < start else None


class Openings:
    """When a service is open: windows of start days that are neither closed nor outside the service dates.

    ``closed`` and ``holidays`` are ordinals of local days, ``first`` and ``last`` the service dates, inclusive. All
    are tested on the day a window *starts*; a window that crosses midnight runs on into a closed day.
    """

    __slots__ = ("_closed", "_first", "_holidays", "_last", "_next", "_seen", "_windows", "_zone", "lately")

    def __init__(
        self,
        zone: LocalTime,
        windows: Sequence[Window],
        *,
        closed: frozenset[int] = frozenset(),
        holidays: frozenset[int] = frozenset(),
        first: int = 1,
        last: int = MAX_ORDINAL,
    ) -> None:
        self._zone = zone
        self._windows = tuple(windows)
        self._closed = closed
        self._holidays = holidays
        self._first = first
        self._last = last
        self._seen: dict[int, tuple[tuple[Instant, Instant], ...]] = {}
        self._next: tuple[Instant, Instant, Instant | None] = (Instant(1), Instant(0), None)
        self.lately = (Instant(1), Instant(0))
        """``[start, until)`` of the opening found last: the next visitor mostly comes in the same one."""

    def of_day(self, ordinal: int) -> list[tuple[Instant, Instant]]:
        """Ranges ``[start, until)`` of the windows that start on a local day, in time order."""
        if ordinal in self._closed or not self._first <= ordinal <= self._last:
            return []
        weekday = (ordinal + 6) % 7
        holiday = ordinal in self._holidays
        found: list[tuple[Instant, Instant]] = []
        for window in self._windows:
            if weekday not in window.days or (window.holidays != "include" and holiday != (window.holidays == "only")):
                continue
            until = window.until if window.until > window.start else window.until + DAY
            found += self._zone.instants(ordinal, window.start, until)
        return sorted(found)

    def contains(self, at: Instant) -> bool:
        """Whether the service is open at an instant."""
        bucket = at // DAY
        ranges = self._seen.get(bucket)
        if ranges is None:
            ranges = self._of_bucket(bucket)
        for start, until in ranges:
            if start <= at < until:
                self.lately = (start, until)
                return True
        return False

    def _of_bucket(self, bucket: int) -> tuple[tuple[Instant, Instant], ...]:
        # A UTC day touches three local days; a window may have started on the day before the first of them.
        low, high = bucket * DAY, (bucket + 1) * DAY
        centre = bucket + EPOCH_ORDINAL
        ranges = tuple(
            (start, until)
            for ordinal in range(max(centre - 2, 1), centre + 2)
            for start, until in self.of_day(ordinal)
            if start < high and until > low
        )
        if len(self._seen) >= REMEMBERED_DAYS:
            self._seen.clear()
        self._seen[bucket] = ranges
        return ranges

    def next_opening(self, at: Instant) -> Instant | None:
        """The first instant after ``at`` at which the service opens, within :data:`SEARCH_DAYS`."""
        since, until, answer = self._next
        if since <= at < until:
            return answer
        today = self._zone.day(at)
        answer = None
        for ordinal in range(max(today - 1, 1), min(today + SEARCH_DAYS, MAX_ORDINAL) + 1):
            starts = [start for start, _ in self.of_day(ordinal) if start > at]
            answer = next((start for start in starts if not self.contains(Instant(start - 1))), None)
            if answer is not None:
                break
        # Valid until that opening; "never within a year" is looked up again the next day.
        self._next = (at, answer if answer is not None else self._zone.midnight(today + 1), answer)
        return answer
