"""When a service is open, day by day, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from entitlements.durations import parse_date
from entitlements.explain.words import WEEKDAYS, Names, day, humanise, listed, span, weekdays
from entitlements.service import When, Window
from entitlements.world import World

DAYS_NAMED = 12
"""Closed days that are written out; of a longer calendar the number of days is given."""

Hours = tuple[tuple[int, int, str], ...]
"""Windows of one day: start, end, and ``include`` or ``exclude`` for holidays."""


def holidays_name(when: When, names: Names) -> str:
    """``bank holidays``, or what the calendar is called."""
    if names.thing(when.holidays) == humanise("@uk-bank-holidays"):
        return "bank holidays"
    return names.thing(when.holidays)


def weekly(windows: Iterable[Window], *, only: bool = False) -> dict[int, Hours]:
    """Weekday -> its windows in time order; with ``only`` those that hold on holidays alone."""
    found: dict[int, set[tuple[int, int, str]]] = {}
    for window in windows:
        if (window.holidays == "only") == only:
            for number in window.days:
                word = "include" if only else window.holidays
                found.setdefault(number, set()).add((window.start, window.until, word))
    return {number: tuple(sorted(found[number])) for number in sorted(found)}


def hours_text(hours: Hours, holidays: str) -> str:
    """``7am to 9:45am and 7:15pm to 10pm``; what is shut on holidays says so."""
    words = {word for *_, word in hours}
    if words == {"exclude"}:
        return f"{listed(span(start, until) for start, until, _ in hours)}, not on {holidays}"
    return listed(
        span(start, until) + (f" (not on {holidays})" if word == "exclude" else "") for start, until, word in hours
    )


def grouped(hours: dict[int, Hours]) -> list[tuple[tuple[int, ...], Hours]]:
    """Days of the same hours together, in the order of the week."""
    groups: dict[Hours, list[int]] = {}
    for number, value in hours.items():
        groups.setdefault(value, []).append(number)
    return [(tuple(days), value) for value, days in groups.items()]


def opening_lines(when: When, names: Names) -> list[str]:
    """One line for each group of days with the same hours."""
    holidays = holidays_name(when, names)
    windows = when.windows or ()
    lines = []
    for days, hours in grouped(weekly(windows)):
        text = weekdays(days)
        lines.append(f"{text[:1].upper()}{text[1:]}: {hours_text(hours, holidays)}")
    for days, hours in grouped(weekly(windows, only=True)):
        text = holidays[:1].upper() + holidays[1:]
        if len(days) < len(WEEKDAYS):
            text += f" that fall on {listed((WEEKDAYS[number] for number in days), 'or')}"
        lines.append(f"{text}: {hours_text(hours, holidays)}")
    return lines


def past_midnight(windows: Sequence[Window]) -> bool:
    """Whether any window runs into the next day."""
    return any(window.until <= window.start and window.until != 0 for window in windows)


def closed_text(entries: Iterable[str], world: World, names: Names) -> list[str]:
    """``Closed on library closures: 25 December 2026``, one line for each calendar, one for single dates."""
    lines = []
    single = sorted({parse_date(entry) for entry in entries if not entry.startswith("@")})
    for entry in dict.fromkeys(entry for entry in entries if entry.startswith("@")):
        days = sorted(world.calendars.get(entry, ()))
        title = names.thing(entry)
        if not days:
            lines.append(f"Closed on the days in the list “{title}”, which has no days in it yet")
        elif len(days) > DAYS_NAMED:
            lines.append(f"Closed on the {len(days)} days in the list “{title}”")
        else:
            lines.append(f"Closed on {_dates(days)} (from the list “{title}”)")
    if single:
        lines.append(f"Closed on {_dates(single)}")
    return lines


def _dates(days: Sequence[date]) -> str:
    return listed(day(value) for value in days)
