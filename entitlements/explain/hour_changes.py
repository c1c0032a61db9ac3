"""How opening hours differ, told by the days they differ on."""

from __future__ import annotations

from collections.abc import Callable

from entitlements.explain.hours import Hours, closed_text, holidays_name, hours_text, opening_lines, weekly
from entitlements.explain.words import WEEKDAYS, Names, clock, listed
from entitlements.service import When
from entitlements.world import World

_NO_HOURS = When()


def when_changes(old: When | None, new: When | None, world: World, names: Names) -> list[str]:
    """Sentences on days whose hours differ, and on closed days."""
    before, after = old or _NO_HOURS, new or _NO_HOURS
    told: list[str] = []
    if before.windows is None or after.windows is None:
        if before.windows is not None:
            told.append("There are no longer opening hours: it is open at all times of day")
        elif after.windows is not None:
            lines = [f"{line[:1].lower()}{line[1:]}" for line in opening_lines(after, names)]
            told.append(f"There are now opening hours: {'; '.join(lines)}")
    else:
        holidays = holidays_name(after, names)
        told += _days(weekly(before.windows), weekly(after.windows), _weekly_days, holidays)
        told += _days(
            weekly(before.windows, only=True),
            weekly(after.windows, only=True),
            lambda days: holidays if len(days) == len(WEEKDAYS) else f"{holidays} on {_weekly_days(days)}",
            holidays,
        )
    if holidays_name(before, names) != holidays_name(after, names):
        told.append(f"Holidays are now taken from the list “{holidays_name(after, names)}”")
    return told + _closed(before, after, world, names)


def _days(
    old: dict[int, Hours], new: dict[int, Hours], naming: Callable[[tuple[int, ...]], str], holidays: str
) -> list[str]:
    """Days of the same change together, in the order of the week."""
    changes: dict[tuple[Hours, Hours], list[int]] = {}
    for number in range(len(WEEKDAYS)):
        pair = (old.get(number, ()), new.get(number, ()))
        if pair[0] != pair[1]:
            changes.setdefault(pair, []).append(number)
    return [_change(before, after, naming(tuple(days)), holidays) for (before, after), days in changes.items()]


def _change(before: Hours, after: Hours, days: str, holidays: str) -> str:
    if not before:
        return f"Now open on {days}, {hours_text(after, holidays)}"
    if not after:
        return f"No longer open on {days}"
    if len(before) == len(after) == 1:
        (start, until, word), (new_start, new_until, new_word) = before[0], after[0]
        if word == new_word and until == new_until:
            return f"Opening on {days} moves from {clock(start)} to {clock(new_start)}"
        if word == new_word and start == new_start:
            return f"Closing on {days} moves from {clock(until)} to {clock(new_until)}"
        if (start, until) == (new_start, new_until):
            opened = "now also open" if new_word == "include" else "no longer open"
            return f"The hours on {days} are {opened} on {holidays}"
    return f"The hours on {days} change to {hours_text(after, holidays)} (they were {hours_text(before, holidays)})"


def _weekly_days(days: tuple[int, ...]) -> str:
    """``Saturdays``, ``Mondays to Fridays``, ``every day``."""
    if len(days) == len(WEEKDAYS):
        return "every day of the week"
    runs: list[list[int]] = []
    for number in days:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts: list[str] = []
    for run in runs:
        names = [f"{WEEKDAYS[number]}s" for number in run]
        parts += [f"{names[0]} to {names[-1]}"] if len(run) > 2 else names
    return listed(parts)


def _closed(old: When, new: When, world: World, names: Names) -> list[str]:
    added = [entry for entry in new.closed if entry not in old.closed]
    gone = [entry for entry in old.closed if entry not in new.closed]
    told = [line.replace("Closed", "Now closed", 1) for line in closed_text(added, world, names)]
    return told + [line.replace("Closed", "No longer closed", 1) for line in closed_text(gone, world, names)]
