"""Quota periods: within which units are added up. Each begins at a tenant-local midnight or anchor."""

from __future__ import annotations

from datetime import date, timedelta

from entitlements.calendars import LocalTime
from entitlements.model import Instant
from entitlements.service import Period


class PeriodBounds:
    """Bounds of one :class:`~entitlements.service.Period` in one zone; remembers the last answer."""

    __slots__ = ("_period", "_zone", "is_grant", "last")

    def __init__(self, period: Period, zone: LocalTime) -> None:
        self._period = period
        self._zone = zone
        self.is_grant = period.name == "grant"
        """The period is the grant's own: its bounds are in the profile, not in the calendar."""
        self.last: tuple[Instant, Instant, Instant, Instant] = (Instant(1), Instant(0), Instant(0), Instant(0))
        """``(first, end, since, until)``: for instants in ``[first, end)`` the period is ``[since, until)``."""

    def at(self, at: Instant) -> tuple[Instant, Instant]:
        """``[since, until)`` of the period that holds an instant. Not for ``grant``."""
        start, end, since, until = self.last
        if start <= at < end:
            return since, until
        today = self._zone.day(at)
        if self._period.name == "night":
            since, until = self._night(at, today)
            start, end = since, until
        else:
            first, after = self._days(date.fromordinal(today))
            since, until = self._zone.midnight(first), self._zone.midnight(after)
            start, end = self._zone.midnight(today), self._zone.midnight(today + 1)
        self.last = (start, end, since, until)
        return since, until

    def _night(self, at: Instant, today: int) -> tuple[Instant, Instant]:
        anchor = self._period.anchor
        turn = self._zone.wall(today, anchor)
        if at >= turn:
            return turn, self._zone.wall(today + 1, anchor)
        return self._zone.wall(today - 1, anchor), turn

    def _days(self, today: date) -> tuple[int, int]:
        """Ordinals of the first day of the period and of the first day after it."""
        name = self._period.name
        number = today.toordinal()
        if name == "week":
            monday = number - today.weekday()
            return monday, monday + 7
        if name == "month":
            first = today.replace(day=1)
            return first.toordinal(), (first + timedelta(days=32)).replace(day=1).toordinal()
        if name == "year":
            month, day = self._period.year_start
            first = date(today.year, month, day)
            if first > today:
                first = first.replace(year=today.year - 1)
            return first.toordinal(), first.replace(year=first.year + 1).toordinal()
        if name == "rolling":  # today and the days before it, N in all
            return number - (self._period.days - 1), number + 1
        return number, number + 1
