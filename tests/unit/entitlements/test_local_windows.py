"""Windows against a plain minute-by-minute reading of the wall clock, round both clock changes and in several zones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.calendars import Openings, local_time
from entitlements.durations import parse_instant
from entitlements.model import Instant
from entitlements.service import Window

NIGHTS = [
    ("Europe/London", date(2027, 3, 28)),
    ("Europe/London", date(2027, 10, 31)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Africa/Cairo", date(2026, 4, 24)),  # the gap begins at midnight
    ("Pacific/Kiritimati", date(2026, 6, 1)),
    ("Asia/Kathmandu", date(2026, 6, 1)),
]

windows = st.builds(
    Window,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    start=st.integers(0, 24 * 4 - 1).map(lambda quarter: quarter * 900),
    until=st.integers(0, 24 * 4).map(lambda quarter: quarter * 900),
    holidays=st.sampled_from(["include", "exclude", "only"]),
)


def _plainly_open(at: int, zone: ZoneInfo, window: Window, shut: frozenset[int], feasts: frozenset[int]) -> bool:
    """What a person with a wall clock and a calendar would say."""
    clock = datetime.fromtimestamp(at, zone)
    time = clock.hour * 3600 + clock.minute * 60 + clock.second
    today = clock.date().toordinal()
    if window.until > window.start:
        candidates = [today] if window.start <= time < window.until else []
    else:
        candidates = [today] if time >= window.start else []
        candidates += [today - 1] if time < window.until else []
    for day in candidates:
        feast = day in feasts
        if day in shut or date.fromordinal(day).weekday() not in window.days:
            continue
        if window.holidays == "include" or feast == (window.holidays == "only"):
            return True
    return False


@settings(max_examples=40, deadline=None)
@given(
    night=st.sampled_from(NIGHTS),
    chosen=st.lists(windows, min_size=1, max_size=3),
    shut=st.frozensets(st.integers(-2, 2), max_size=2),
    feasts=st.frozensets(st.integers(-2, 2), max_size=2),
)
def test_no_window_opens_or_shuts_at_another_minute_than_the_wall_clock_says(
    night: tuple[str, date], chosen: list[Window], shut: frozenset[int], feasts: frozenset[int]
) -> None:
    name, day = night
    zone = ZoneInfo(name)
    closed = frozenset(day.toordinal() + offset for offset in shut)
    holidays = frozenset(day.toordinal() + offset for offset in feasts)
    openings = Openings(local_time(name), chosen, closed=closed, holidays=holidays)
    first = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) - 36 * 3600
    for at in range(first, first + 72 * 3600, 300):
        for instant in (at, at + 299):
            plainly = any(_plainly_open(instant, zone, window, closed, holidays) for window in chosen)
            assert openings.contains(Instant(instant)) == plainly, datetime.fromtimestamp(instant, zone)


QUARTER = 900
"""Seconds; every offset and clock change of these nights is a multiple of it."""
FAR_NIGHTS = [
    *NIGHTS,
    ("America/New_York", date(2027, 3, 14)),
    ("America/Adak", date(2027, 3, 14)),
    ("America/Adak", date(2027, 11, 7)),
    ("Pacific/Auckland", date(2026, 4, 5)),
    ("Pacific/Auckland", date(2026, 9, 27)),
    ("Europe/London", date(1967, 3, 19)),  # before the epoch, where a remainder is no difference
]


@pytest.mark.parametrize(("name", "day"), FAR_NIGHTS, ids=str)
def test_no_window_of_a_clock_change_night_is_lost_however_far_from_greenwich(name: str, day: date) -> None:
    zone, midnight = ZoneInfo(name), datetime(day.year, day.month, day.day)  # noqa: DTZ001 - what a wall clock shows
    base = int(midnight.replace(tzinfo=UTC).timestamp())
    shown = {  # instant -> seconds that the wall clock shows since 00:00 of the day
        at: int((datetime.fromtimestamp(at, zone).replace(tzinfo=None) - midnight).total_seconds())
        for at in range(base - 86_400, base + 3 * 86_400, QUARTER)
    }
    for start in range(0, 86_400, 2 * QUARTER):
        for length in (1, 2, 4, 6, 10, 22, 94):
            until = start + length * QUARTER
            found = local_time(name).instants(day.toordinal(), start, until)
            opened = [at for since, end in found for at in range(since, end, QUARTER)]
            assert opened == [at for at, clock in shown.items() if start <= clock < until], (start, until)


@settings(max_examples=60, deadline=None)
@given(
    night=st.sampled_from(NIGHTS), chosen=st.lists(windows, min_size=1, max_size=3), offset=st.integers(0, 3 * 86_400)
)
def test_the_next_opening_shown_is_the_first_one(night: tuple[str, date], chosen: list[Window], offset: int) -> None:
    name, day = night
    openings = Openings(local_time(name), chosen)
    at = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) - 86_400 + offset
    answer = openings.next_opening(Instant(at))
    minutes = (minute for minute in range(at // 60 * 60 + 60, at + 9 * 86_400, 60))
    first = next(
        (
            minute
            for minute in minutes
            if openings.contains(Instant(minute)) and not openings.contains(Instant(minute - 1))
        ),
        None,
    )
    if first is not None:
        assert answer == first
    elif answer is not None:
        assert answer >= at + 9 * 86_400 - 60


def test_a_service_that_never_opens_again_promises_nothing() -> None:
    window = Window(days=frozenset(range(7)), start=3600, until=7200, holidays="only")
    openings = Openings(local_time("Europe/London"), [window])
    assert openings.next_opening(parse_instant("2026-06-01T00:00:00Z")) is None


def test_an_opening_a_year_ahead_is_still_found() -> None:
    window = Window(days=frozenset(range(7)), start=3600, until=7200)
    first = date(2027, 5, 30)
    openings = Openings(local_time("Europe/London"), [window], first=first.toordinal())
    assert openings.next_opening(parse_instant("2026-06-01T00:00:00Z")) == parse_instant("2027-05-30T00:00:00Z")


@pytest.mark.parametrize("name", ["Europe/London", "Africa/Cairo", "America/Sao_Paulo", "Asia/Beirut"])
def test_every_local_day_starts_where_its_date_first_shows(name: str) -> None:
    zone, plain = local_time(name), ZoneInfo(name)
    day = date(2018, 1, 1)
    for _ in range(800):
        start = zone.midnight(day.toordinal())
        assert datetime.fromtimestamp(start, plain).date() == day
        assert datetime.fromtimestamp(start - 1, plain).date() == day - timedelta(days=1)
        assert zone.day(start) == day.toordinal()
        assert zone.day(Instant(start - 1)) == day.toordinal() - 1
        day += timedelta(days=1)
