"""For whom a day makes a difference: whose statements or birthdays lie at an end of the window that moves.

Rights are absolute instants, so what is compiled of a person changes with the window only if one of their instants
enters at its far end or passes its near one, and with the day only if a statement begins or ends around it. Everybody
else keeps what they have. The spans are some days wider than they had to be: whoever is looked at in vain costs some
hundred microseconds, whoever is forgotten stands before a shut gate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from cardservice.feed.window import BACK

DAY: Final = timedelta(days=1)
LEAPS: Final = timedelta(days=2)
"""A birthday is a day off where one of the years has no 29 February, in the first hundred years twice."""

Span = tuple[date, date]
"""First and last day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Days on which a statement that begins, or that ended the day before, makes a difference; and days of birth."""

    days: tuple[Span, ...]
    born: tuple[Span, ...]


def edges_between(told: tuple[datetime, datetime], wanted: tuple[datetime, datetime], ages: Iterable[int]) -> Edges:
    """The days that count when a window moves forward.

    Args:
        told: begin and end of the window that everybody is compiled for, or of an earlier one.
        wanted: those of the one to come. Both begin at midnight UTC, :data:`~cardservice.feed.window.BACK` before the
            day in which they are moved to.
        ages: birthdays, in years, that rules ask for.
    """
    # Local midnight is at most 14 hours before and 12 after midnight UTC, and some statements are looked at by the
    # local day, which is at most one after the day in UTC.
    near = (told[0].date() - DAY, wanted[0].date() + BACK + DAY)
    far = (told[1].date() - DAY, wanted[1].date() + DAY)
    born = [span for years in sorted(set(ages)) for days in (near, far) if (span := _born(days, years)) is not None]
    return Edges(days=(near, far), born=tuple(born))


def _born(days: Span, years: int) -> Span | None:
    """Days of birth of whoever has that birthday within these days; none where no calendar reaches."""
    try:
        return (_years_before(days[0], years) - LEAPS, _years_before(days[1], years) + LEAPS)
    except (ValueError, OverflowError):
        return None


def _years_before(day: date, years: int) -> date:
    year = day.year - years
    return day.replace(year=year, day=28) if (day.month, day.day) == (2, 29) else day.replace(year=year)
