"""Windows that no clock ever shows, windows that never open, and days that lists do not reach."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from entitlements.calendars import DAY, MAX_ORDINAL, LocalTime, local_time
from entitlements.durations import parse_date
from entitlements.explain.words import clock, day, span, weekdays
from entitlements.lint.findings import Findings
from entitlements.service import ServiceDocument, When, Window
from entitlements.world import World

YEARS_AHEAD = 10
"""Years looked at: every weekday meets every clock change and every date in that time, and rules rarely live longer."""
LAST_YEAR = 9990
"""Beyond it local times can no longer be written."""
SPELLS = 400
"""Pairs of windows compared for overlaps; who writes more has a timetable, not opening hours."""


class _Days:
    """The days on which a service may be open at all, as ordinals."""

    def __init__(self, document: ServiceDocument, world: World, year: int) -> None:
        valid, when = document.valid, document.when or When()
        self.first = max(date(year, 1, 1).toordinal(), valid.start.toordinal() if valid.start else 1)
        last = valid.until.toordinal() if valid.until else MAX_ORDINAL
        ahead = min(date.fromordinal(self.first).year + YEARS_AHEAD, LAST_YEAR)
        self.last = min(last, date(ahead, 12, 31).toordinal())
        self.closed = _calendar(when.closed, world)
        self.holidays = _calendar((when.holidays,), world)

    def has(self, window: Window, ordinal: int) -> bool:
        """Whether a window would start on a day."""
        if not self.first <= ordinal <= self.last or (ordinal + 6) % 7 not in window.days or ordinal in self.closed:
            return False
        return window.holidays == "include" or (ordinal in self.holidays) == (window.holidays == "only")

    def of(self, window: Window) -> Iterator[int]:
        """Days on which a window would start."""
        listed = window.holidays == "only"
        candidates = sorted(self.holidays) if listed else range(self.first, self.last + 1)
        return (ordinal for ordinal in candidates if self.has(window, ordinal))


def _calendar(names: tuple[str, ...], world: World) -> frozenset[int]:
    days: set[int] = set()
    for name in names:
        if not name.startswith("@"):
            days.add(parse_date(name).toordinal())
        else:
            days |= {value.toordinal() for value in world.calendars.get(name, ())}
    return frozenset(days)


def hours(document: ServiceDocument, world: World, year: int, findings: Findings) -> None:
    """Everything about ``valid`` and ``when``."""
    days = _Days(document, world, year)
    valid = document.valid
    if days.first > days.last:
        if valid.until is not None and valid.until < date(year, 1, 1):
            message, pointer = f"The service never opens: its last day, {day(valid.until)}, is past.", "/valid/until"
        else:
            message, pointer = "The service never opens in the years to come.", "/valid"
        findings.error("never_opens", pointer, message, "Choose dates that lie ahead.")
        return
    when = document.when
    if when is None:
        return
    zone = _zone(document, world)
    changes = _changes(zone, days)
    if when.windows is None and days.closed.issuperset(range(days.first, days.last + 1)):
        findings.error(
            "never_opens",
            "/when/closed",
            "The service never opens: every one of its days is a closed day.",
            "Remove closed days, or choose other service dates.",
        )
    for index, window in enumerate(when.windows or ()):
        _window(window, f"/when/windows/{index}", days, changes, zone, findings)
    _overlaps(when, findings)
    _coverage(when, world, year, valid.until, findings)


def _zone(document: ServiceDocument, world: World) -> LocalTime:
    tenant = world.tenants.get(document.tenant)
    return local_time("UTC" if tenant is None else tenant.timezone)


def _window(window: Window, pointer: str, days: _Days, changes: list[int], zone: LocalTime, findings: Findings) -> None:
    told = f"{weekdays(window.days)}, {span(window.start, window.until)}"
    until = window.until if window.until > window.start else window.until + DAY
    nights = [ordinal for ordinal in changes if days.has(window, ordinal)]
    ranges = {ordinal: zone.instants(ordinal, window.start, until) for ordinal in nights}
    skipped = next((ordinal for ordinal in nights if not ranges[ordinal]), None)
    shortened = next(
        (ordinal for ordinal in nights if ranges[ordinal] and _cut(zone, ordinal, window.start, until)), None
    )
    opens = any(ordinal not in ranges or ranges[ordinal] for ordinal in days.of(window))
    if skipped is not None:
        findings.error(
            "inside_spring_gap",
            pointer,
            f"This window ({told}) does not exist on {day(date.fromordinal(skipped))}: "
            "the clocks go forward over it that night.",
            "Move it, or make it longer, so that a part of it is left when the clocks change.",
        )
    if not opens and skipped is None:
        findings.error(
            "never_opens",
            pointer,
            f"This window ({told}) never opens{_why(window)}.",
            "Change its days, or the service dates, holidays and closed days that leave none of them.",
        )
    if shortened is not None:
        findings.warn(
            "cut_by_spring_gap",
            pointer,
            f"This window ({told}) starts or ends in the hour that is skipped on {day(date.fromordinal(shortened))}, "
            "so it is shorter that night.",
            "Check that this is meant.",
        )
    if window.until == window.start != 0:
        findings.warn(
            "a_whole_day",
            pointer,
            f"This window starts and ends at {clock(window.start)}, so it is open for 24 hours.",
            "If that is meant, leave it. If not, correct the end.",
        )


def _why(window: Window) -> str:
    if window.holidays == "only":
        return " in the years to come: the holiday list has no such days"
    return " in the years to come"


def _changes(zone: LocalTime, days: _Days) -> list[int]:
    """Days on which the clocks change, and the days before them, whose windows may reach it."""
    changes: set[int] = set()
    for ordinal in range(days.first, days.last + 2):
        if zone.midnight(ordinal + 1) - zone.midnight(ordinal) != DAY:
            changes.update((ordinal - 1, ordinal))
    return sorted(changes)


def _cut(zone: LocalTime, ordinal: int, start: int, until: int) -> bool:
    """Whether the first or last minute of a window is skipped."""
    return not zone.instants(ordinal, start, start + 60) or not zone.instants(ordinal, until - 60, until)


def _overlaps(when: When, findings: Findings) -> None:
    windows = when.windows or ()
    pairs = 0
    for later in range(len(windows)):
        for earlier in range(later):
            pairs += 1
            if pairs > SPELLS:
                return
            if _overlap(windows[earlier], windows[later]):
                told = f"{weekdays(windows[later].days)}, {span(windows[later].start, windows[later].until)}"
                findings.warn(
                    "overlapping_windows",
                    f"/when/windows/{later}",
                    f"This window ({told}) overlaps window {earlier + 1} on some days.",
                    "Join them, or check their times. Where windows overlap, the service is open.",
                )
                break


def _overlap(one: Window, other: Window) -> bool:
    if {one.holidays, other.holidays} == {"only", "exclude"}:
        return False
    return any(a < d and c < b for a, b in _minutes(one) for c, d in _minutes(other))


def _minutes(window: Window) -> list[tuple[int, int]]:
    """Ranges of seconds of the week, wrapped at its end."""
    week = 7 * DAY
    length = (window.until - window.start) % DAY or DAY
    ranges = []
    for number in window.days:
        start = number * DAY + window.start
        ranges.append((start, min(start + length, week)))
        if start + length > week:
            ranges.append((0, start + length - week))
    return ranges


def _coverage(when: When, world: World, year: int, until: date | None, findings: Findings) -> None:
    """Lists of days that have run out: holidays would silently be ordinary days."""
    asked = [("/when/closed", name) for name in when.closed if name.startswith("@")]
    if any(window.holidays != "include" for window in when.windows or ()):
        asked.append(("/when/holidays", when.holidays))
    for pointer, name in asked:
        days = world.calendars.get(name)
        if days is None:
            continue  # told as an unknown name
        needed = year if until is None else min(year, until.year)
        if not days or max(days).year < needed:
            ends = f"ends on {day(max(days))}" if days else "has no days in it"
            findings.warn(
                "calendar_runs_out",
                pointer,
                f"The list {name} {ends}, so no later day counts as a holiday or closed day.",
                "Add the coming days to the list.",
            )
