"""Openings and local days at their edges, and whatever was asked before: a remembered answer is never a wrong one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.calendars import (
    DAY,
    FOREVER,
    MAX_ORDINAL,
    REMEMBERED_DAYS,
    SEARCH_DAYS,
    Always,
    LocalTime,
    Openings,
    local_time,
)
from entitlements.durations import parse_instant
from entitlements.model import Instant
from entitlements.service import Window

EVERY_DAY = frozenset(range(7))
LONDON = local_time("Europe/London")
START = parse_instant("2027-03-26T00:00:00Z")
"""Two days before the clocks go forward."""

moments = st.integers(-2 * DAY, 4 * DAY).map(lambda offset: Instant(START + offset))
nearby = st.sampled_from([-DAY, -3600, -1, 0, 1, 3600, DAY])


def _hours(start: str, until: str, days: frozenset[int] = EVERY_DAY) -> Window:
    def seconds(clock: str) -> int:
        return int(clock[:2]) * 3600 + int(clock[3:]) * 60

    return Window(days=days, start=seconds(start), until=seconds(until))


WINDOWS = [_hours("09:00", "12:00"), _hours("12:00", "13:30"), _hours("22:00", "02:30", frozenset((4, 5)))]


@settings(max_examples=150, deadline=None)
@given(first=moments, steps=st.lists(nearby, max_size=10), edge=st.booleans())
def test_what_was_asked_before_changes_no_answer(first: Instant, steps: list[int], edge: bool) -> None:
    asked, at = Openings(LONDON, WINDOWS), first
    zone = LocalTime("Europe/London")
    for step in [0, *steps]:
        at = Instant(at + step)
        fresh = Openings(LocalTime("Europe/London"), WINDOWS)
        assert asked.next_opening(at) == fresh.next_opening(at)
        assert asked.contains(at) == fresh.contains(at)
        since, until = asked.lately
        assert all(fresh.contains(Instant(one)) for one in (since, until - 1) if since < until)
        assert zone.day(at) == datetime.fromtimestamp(at, ZoneInfo("Europe/London")).date().toordinal()
        if edge:
            opens = asked.next_opening(at)
            assert opens is not None
            at = opens


def test_windows_that_touch_are_one_opening() -> None:
    openings = Openings(LONDON, [_hours("09:00", "12:00"), _hours("12:00", "15:00")])
    assert openings.next_opening(parse_instant("2027-03-01T10:00:00Z")) == parse_instant("2027-03-02T09:00:00Z")
    assert openings.next_opening(parse_instant("2027-03-01T08:59:59Z")) == parse_instant("2027-03-01T09:00:00Z")
    assert openings.next_opening(parse_instant("2027-03-01T09:00:00Z")) == parse_instant("2027-03-02T09:00:00Z")
    assert openings.next_opening(parse_instant("2027-03-01T16:00:00Z")) == parse_instant("2027-03-02T09:00:00Z")


def test_whoever_asks_for_one_opening_after_another_gets_each_once() -> None:
    openings = Openings(LONDON, [_hours("09:00", "12:00")])
    opens: Instant | None = parse_instant("2027-03-01T00:00:00Z")
    for day in ("01", "02", "03"):
        assert opens is not None
        opens = openings.next_opening(opens)
        assert opens == parse_instant(f"2027-03-{day}T09:00:00Z")


@pytest.mark.parametrize("day", ["2027-03-01", "2027-03-02"])
def test_whoever_comes_before_opening_time_is_told_to_wait_for_today(day: str) -> None:
    openings = Openings(LONDON, [_hours("09:00", "12:00")])
    assert openings.next_opening(parse_instant(f"{day}T07:00:00Z")) == parse_instant(f"{day}T09:00:00Z")


def test_windows_a_second_apart_are_two_openings() -> None:
    noon = 12 * 3600
    windows = [
        Window(days=EVERY_DAY, start=noon - 3600, until=noon - 1),
        Window(days=EVERY_DAY, start=noon, until=noon + 60),
    ]
    openings = Openings(LONDON, windows)
    assert openings.next_opening(parse_instant("2027-03-01T11:30:00Z")) == parse_instant("2027-03-01T12:00:00Z")


@pytest.mark.parametrize(("ahead", "found"), [(SEARCH_DAYS, True), (SEARCH_DAYS + 1, False)])
@pytest.mark.parametrize("today", [date(2027, 6, 1), date(2027, 6, 2)], ids=str)
def test_the_next_opening_is_looked_for_a_year_ahead_and_no_longer(today: date, ahead: int, found: bool) -> None:
    assert SEARCH_DAYS == 366, "a leap year"
    only = today + timedelta(days=ahead)
    openings = Openings(LONDON, [_hours("09:00", "10:00")], first=only.toordinal(), last=only.toordinal())
    wanted = int(datetime(only.year, only.month, only.day, 8, tzinfo=UTC).timestamp())
    assert openings.next_opening(parse_instant(f"{today}T12:00:00Z")) == (wanted if found else None)


def test_never_is_looked_up_again_the_next_day() -> None:
    today = date(2027, 6, 1).toordinal()
    openings = Openings(LONDON, [_hours("09:00", "10:00")], first=today + SEARCH_DAYS + 1)
    assert openings.next_opening(parse_instant("2027-06-01T12:00:00Z")) is None
    assert openings.next_opening(parse_instant("2027-06-01T22:59:59Z")) is None
    assert openings.next_opening(parse_instant("2027-06-01T23:00:00Z")) is not None


def test_the_service_dates_are_the_first_and_last_day_on_which_a_window_starts() -> None:
    day = date(2027, 6, 2).toordinal()
    openings = Openings(LONDON, [_hours("09:00", "10:00")], first=day, last=day)
    opened = [ordinal for ordinal in range(day - 3, day + 4) if openings.of_day(ordinal)]
    assert opened == [day]


def test_a_service_that_says_nothing_of_hours_is_open_between_its_dates() -> None:
    hours = Always(Instant(100), Instant(200))
    assert [at for at in (0, 99, 100, 101, 150, 199, 200, 201) if hours.contains(Instant(at))] == [100, 101, 150, 199]
    assert [hours.next_opening(Instant(at)) for at in (0, 99, 100, 101, 300)] == [100, 100, None, None, None]


def _utc(day: str, clock: str) -> Instant:
    return parse_instant(f"{day}T{clock}:00Z")


@pytest.mark.parametrize(
    ("day", "start", "until", "wanted"),
    [
        ("2027-03-28", "00:30", "05:00", [("00:30", "04:00")]),  # over the gap: one range
        ("2027-03-28", "01:00", "02:00", []),  # the gap itself
        ("2027-03-28", "00:30", "01:30", [("00:30", "01:00")]),
        ("2027-03-28", "01:30", "02:30", [("01:00", "01:30")]),
        ("2027-10-31", "01:00", "02:00", [("00:00", "02:00")]),  # both passes, without a break
        ("2027-10-31", "01:15", "01:45", [("00:15", "00:45"), ("01:15", "01:45")]),
        ("2027-10-31", "00:30", "03:00", [("23:30", "03:00")]),
        ("2027-06-01", "09:00", "10:00", [("08:00", "09:00")]),
    ],
)
def test_a_window_over_a_clock_change_is_open_to_the_second(
    day: str, start: str, until: str, wanted: list[tuple[str, str]]
) -> None:
    window = _hours(start, until)
    before = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
    ranges = LONDON.instants(date.fromisoformat(day).toordinal(), window.start, window.until)
    assert ranges == [(_utc(before if a == "23:30" else day, a), _utc(day, b)) for a, b in wanted]


def test_the_last_year_that_can_be_written_counts_as_never() -> None:
    assert int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) == FOREVER
    zone = local_time("UTC")
    last = date(9998, 12, 30).toordinal()
    assert last == MAX_ORDINAL - 366
    assert zone.midnight(last) == zone.midnight(MAX_ORDINAL) == FOREVER
    assert zone.midnight(last - 1) == FOREVER - 3 * DAY


def test_a_zone_far_from_greenwich_is_not_cut_off() -> None:
    for name, hours in (("Pacific/Kiritimati", 14), ("Pacific/Pago_Pago", -11)):
        (only,) = local_time(name).instants(date(2027, 6, 1).toordinal(), 0, DAY)
        assert only == (_utc("2027-06-01", "00:00") - hours * 3600, _utc("2027-06-02", "00:00") - hours * 3600)


@pytest.mark.parametrize(
    ("zone", "window", "at"),
    [
        # Tuesday 19:30 in New York is Wednesday in UTC; the window began on Monday.
        ("America/New_York", ("21:00", "20:00"), "2027-01-06T00:30:00Z"),
        # Tuesday 00:30 in London is still Monday in UTC.
        ("Europe/London", ("00:00", "01:00"), "2027-06-07T23:30:00Z"),
        ("Pacific/Kiritimati", ("01:00", "05:00"), "2027-06-07T12:00:00Z"),
    ],
)
def test_a_window_is_found_on_whatever_day_it_is_in_greenwich(zone: str, window: tuple[str, str], at: str) -> None:
    weekday = 0 if zone.startswith("America") else 1
    openings = Openings(local_time(zone), [_hours(*window, frozenset((weekday,)))])
    assert openings.contains(parse_instant(at))


def test_an_evening_that_comes_back_after_midnight_is_still_an_opening_to_come() -> None:
    # Until 2011 St John's set its clocks from 00:01 of Sunday back to 23:01 of Saturday. Half a minute into Sunday the
    # next opening is Saturday's window, for the second time.
    saturday = _hours("23:30", "23:45", frozenset((5,)))
    openings = Openings(LocalTime("America/St_Johns"), [saturday])
    again = parse_instant("2010-11-07T03:00:00Z")
    assert openings.next_opening(parse_instant("2010-11-07T02:30:30Z")) == again
    assert openings.contains(again)


@pytest.mark.parametrize("day", [-2, -1, 0, 1, 2])
def test_the_days_round_the_first_one_that_computers_count_have_their_hours_too(day: int) -> None:
    openings = Openings(LocalTime("UTC"), [_hours("09:00", "10:00")])
    opening = day * DAY + 9 * 3600
    asked = [opening - 1, opening, opening + 3599, opening + 3600]
    assert [openings.contains(Instant(at)) for at in asked] == [False, True, True, False]


def test_a_zone_that_was_asked_for_nothing_yet_takes_no_instant_for_known() -> None:
    epoch = date(1970, 1, 1).toordinal()
    for at, days in ((-1, -1), (0, 0), (1, 0)):
        assert LocalTime("UTC").day(Instant(at)) == epoch + days


def test_a_reader_that_runs_for_years_remembers_no_more_than_it_should() -> None:
    zone = LocalTime("UTC")
    openings = Openings(zone, [_hours("09:00", "10:00")])
    for day in range(2 * REMEMBERED_DAYS):
        assert openings.contains(Instant(START + day * DAY + 9 * 3600))
        assert len(openings._seen) <= REMEMBERED_DAYS
    first = date(1900, 1, 1).toordinal()
    for ordinal in range(first, first + 20_002):
        zone.midnight(ordinal)
        assert len(zone._midnights) <= 20_000
    assert local_time("UTC") is local_time("UTC")
