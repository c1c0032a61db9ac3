"""Quota periods against a plain reading of the local calendar, in zones with and without clock changes."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.calendars import local_time
from entitlements.durations import parse_instant
from entitlements.model import Instant
from entitlements.periods import PeriodBounds
from entitlements.service import Period

ZONES = ["Europe/London", "America/New_York", "Africa/Cairo", "Asia/Kathmandu", "Pacific/Kiritimati"]
periods = st.one_of(
    st.builds(Period, name=st.sampled_from(["day", "week", "month", "year"])),
    st.builds(Period, name=st.just("year"), year_start=st.sampled_from([(9, 1), (4, 6), (12, 31), (2, 28)])),
    st.builds(Period, name=st.just("night"), anchor=st.sampled_from([0, 6 * 3600, 12 * 3600, 23 * 3600])),
    st.builds(Period, name=st.just("rolling"), days=st.integers(1, 40)),
)


def _plainly(period: Period, now: datetime) -> tuple[date, date]:
    """First day of the period and the first day after it, as somebody with a calendar would say."""
    today = now.date()
    if period.name == "week":
        first = today
        while first.weekday():
            first -= timedelta(days=1)
        return first, first + timedelta(days=7)
    if period.name == "month":
        return today.replace(day=1), date(today.year + today.month // 12, today.month % 12 + 1, 1)
    if period.name == "year":
        month, day = period.year_start
        year = today.year if (today.month, today.day) >= (month, day) else today.year - 1
        return date(year, month, day), date(year + 1, month, day)
    if period.name == "rolling":
        return today - timedelta(days=period.days - 1), today + timedelta(days=1)
    if period.name == "night" and now.hour * 3600 + now.minute * 60 + now.second < period.anchor:
        return today - timedelta(days=1), today
    return today, today + timedelta(days=1)


def _wall(day: date, seconds: int, zone: ZoneInfo) -> int:
    """The first instant at which a wall clock shows that time."""
    return int((datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(seconds=seconds)).timestamp())


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(ZONES),
    period=periods,
    first=st.integers(parse_instant("2026-01-01T00:00:00Z"), parse_instant("2028-12-31T00:00:00Z")),
    steps=st.lists(st.sampled_from([-90_000, -3600, -1, 0, 1, 3600, 43_200, 86_400, 90_000, 900_000]), max_size=8),
)
def test_no_unit_counts_in_another_period_than_the_calendar_says(
    name: str, period: Period, first: int, steps: list[int]
) -> None:
    zone = ZoneInfo(name)
    bounds = PeriodBounds(period, local_time(name))
    anchor = period.anchor if period.name == "night" else 0
    at = first
    for step in [0, *steps]:
        at += step
        since, until = _plainly(period, datetime.fromtimestamp(at, zone))
        assert bounds.at(Instant(at)) == (_wall(since, anchor, zone), _wall(until, anchor, zone))


SCHOOL_YEAR = Period(name="year", year_start=(9, 1))
NIGHT = Period(name="night", anchor=12 * 3600)


@pytest.mark.parametrize(
    ("period", "day", "since", "until"),
    [
        (Period(name="day"), "2027-03-03", "2027-03-03", "2027-03-04"),
        (Period(name="day"), "2027-03-04", "2027-03-04", "2027-03-05"),
        (Period(name="week"), "2027-03-01", "2027-03-01", "2027-03-08"),  # a Monday
        (Period(name="week"), "2027-03-04", "2027-03-01", "2027-03-08"),
        (Period(name="week"), "2027-03-14", "2027-03-08", "2027-03-15"),  # a Sunday
        (Period(name="month"), "2027-02-28", "2027-02-01", "2027-03-01"),
        (Period(name="month"), "2028-02-01", "2028-02-01", "2028-03-01"),
        (Period(name="month"), "2027-12-31", "2027-12-01", "2028-01-01"),
        (Period(name="year"), "2027-01-01", "2027-01-01", "2028-01-01"),
        (SCHOOL_YEAR, "2027-08-31", "2026-09-01", "2027-09-01"),
        (SCHOOL_YEAR, "2027-09-01", "2027-09-01", "2028-09-01"),
        (Period(name="rolling", days=1), "2027-03-03", "2027-03-03", "2027-03-04"),
        (Period(name="rolling", days=6), "2027-03-03", "2027-02-26", "2027-03-04"),
        (Period(name="rolling", days=7), "2027-03-04", "2027-02-26", "2027-03-05"),
    ],
)
def test_everybody_can_look_up_in_a_calendar_which_visits_count_together(
    period: Period, day: str, since: str, until: str
) -> None:
    found = PeriodBounds(period, local_time("UTC")).at(parse_instant(f"{day}T15:00:00Z"))
    assert found == (parse_instant(f"{since}T00:00:00Z"), parse_instant(f"{until}T00:00:00Z"))


@pytest.mark.parametrize(
    ("at", "evening"),
    [
        ("2027-03-04T11:59:59Z", 3),
        ("2027-03-04T12:00:00Z", 4),
        ("2027-03-04T12:00:01Z", 4),
        ("2027-03-05T03:00:00Z", 4),
        ("2027-03-05T15:00:00Z", 5),
    ],
)
def test_a_night_is_one_night_on_both_sides_of_midnight(at: str, evening: int) -> None:
    noons = tuple(parse_instant(f"2027-03-0{day}T12:00:00Z") for day in (evening, evening + 1))
    assert PeriodBounds(NIGHT, local_time("UTC")).at(parse_instant(at)) == noons


@pytest.mark.parametrize("name", ["day", "week", "month", "year", "night", "rolling"])
def test_the_first_and_last_second_of_a_period_belong_to_it(name: str) -> None:
    period = Period(name=name, days=3)  # type: ignore[arg-type]
    zone = local_time("Europe/London")
    since, until = PeriodBounds(period, zone).at(parse_instant("2027-03-28T12:30:00Z"))
    inside = Instant(since + (until - since) // 2)
    bounds = PeriodBounds(period, zone)
    assert bounds.at(inside)[0] <= inside < bounds.at(inside)[1]
    if name != "rolling":
        assert bounds.at(since) == bounds.at(Instant(until - 1)) == (since, until)
        assert bounds.at(Instant(since - 1))[1] == since
        assert bounds.at(until)[0] == until


@pytest.mark.parametrize("name", ["day", "night"])
def test_whoever_asks_for_one_period_after_another_gets_each_once(name: str) -> None:
    bounds = PeriodBounds(Period(name=name), local_time("Europe/London"))  # type: ignore[arg-type]
    since, until = bounds.at(parse_instant("2027-03-27T13:00:00Z"))
    for _ in range(3):
        before = until
        since, until = bounds.at(until)
        assert since == before < until


@pytest.mark.parametrize("name", ["day", "week", "month", "year", "night", "rolling"])
def test_what_was_counted_yesterday_is_not_counted_today_again(name: str) -> None:
    period = Period(name=name, days=3)  # type: ignore[arg-type]
    asked = PeriodBounds(period, local_time("Europe/London"))
    first = parse_instant("2027-02-27T00:00:00Z")
    for hour in range(0, 7 * 24, 3):
        at = Instant(first + hour * 3600)
        assert asked.at(at) == PeriodBounds(period, local_time("Europe/London")).at(at)


def test_a_period_that_was_asked_for_nothing_yet_takes_no_instant_for_known() -> None:
    for at in (-1, 0, 1, 2):
        since, until = PeriodBounds(Period(name="day"), local_time("Europe/London")).at(Instant(at))
        assert since <= at < until
