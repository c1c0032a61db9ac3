"""Windows that the linter refuses, and beside each the nearest that it must let through."""

from __future__ import annotations

from typing import Any

import pytest

from entitlements.lint import lint
from entitlements.world import parse_world
from tests.support.documents import KNOWN, changed
from tests.support.linting import YEAR, Change, both, codes, put, warnings, windows
from tests.support.vectors import own_json

WEEKEND = ["2026-06-06", "2026-06-07"]


@pytest.mark.parametrize(
    ("days", "start", "until"),
    [(["sun"], "01:00", "02:00"), (["sun"], "01:15", "01:45"), (["sat", "sun", "mon"], "01:30", "02:00")],
)
def test_a_window_that_no_clock_shows_in_spring_is_refused(days: list[str], start: str, until: str) -> None:
    assert codes("gym-offpeak", windows([{"days": days, "from": start, "until": until}])) == ["inside_spring_gap"]


@pytest.mark.parametrize(
    ("days", "start", "until"),
    [
        (["sun"], "02:00", "03:00"),  # right after the gap
        (["sun"], "00:00", "01:00"),  # right before it
        (["mon"], "01:00", "02:00"),  # clocks change on Sundays
        (["sat"], "22:00", "06:00"),  # over the whole of it
        (["sun"], "01:00", "02:15"),
        (["sat"], "23:00", "01:15"),
    ],
)
def test_a_window_of_which_something_is_left_in_spring_is_not_refused(days: list[str], start: str, until: str) -> None:
    assert codes("gym-offpeak", windows([{"days": days, "from": start, "until": until}])) == []


def test_a_window_that_starts_in_the_skipped_hour_is_warned_of() -> None:
    assert "cut_by_spring_gap" in warnings(
        "gym-offpeak", windows([{"days": ["sun"], "from": "01:30", "until": "05:00"}])
    )
    assert "cut_by_spring_gap" not in warnings("late-event", lambda service: None)


def test_the_gap_is_looked_for_on_the_clock_of_the_tenant() -> None:
    # Cairo skips 00:00 to 01:00 on the last Friday of April: no gap for London, one for Cairo.
    elsewhere = own_json("decisions", "world.json")
    elsewhere["tenants"]["wcc"]["timezone"] = "Africa/Cairo"
    service = changed("gym-offpeak", windows([{"days": ["fri"], "from": "00:00", "until": "00:45"}]))
    assert [
        finding.code
        for finding in lint(service, parse_world(elsewhere), known_facts=KNOWN, year=YEAR)
        if finding.severity == "error"
    ] == ["inside_spring_gap"]
    assert codes("gym-offpeak", windows([{"days": ["fri"], "from": "00:00", "until": "00:45"}])) == []


def test_a_gap_that_the_service_dates_leave_out_is_none() -> None:
    sunday = windows([{"days": ["sun"], "from": "01:00", "until": "02:00"}])
    summer = put("valid")({"from": "2026-05-01", "until": "2026-09-30"})
    spring = put("valid")({"from": "2026-03-29", "until": "2026-09-30"})
    assert codes("gym-offpeak", both(sunday, summer)) == []
    assert codes("gym-offpeak", both(sunday, spring)) == ["inside_spring_gap"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(put("valid")({"from": "2026-06-01", "until": "2026-06-05"}), id="weekend window, weekday dates"),
        pytest.param(put("valid")({"from": "2019-01-01", "until": "2025-12-31"}), id="over before it starts"),
        pytest.param(put("when", "windows", 0, "holidays")("only"), id="no such holiday on any of its days"),
        pytest.param(
            both(put("valid")({"from": "2026-06-06", "until": "2026-06-07"}), put("when", "closed")(WEEKEND)),
            id="closed on every one of its days",
        ),
        pytest.param(put("limits", 0, "capacity", "max")(0), id="room for nobody"),
    ],
)  # fmt: skip
def test_a_window_that_never_opens_is_refused(change: Change) -> None:
    def without_weekday_holidays(service: dict[str, Any]) -> None:
        change(service)
        if service["when"]["windows"][0].get("holidays") == "only":
            service["when"]["windows"][0]["days"] = ["sun"]

    assert "never_opens" in codes("gym-offpeak", without_weekday_holidays)


def test_a_window_that_opens_once_is_let_through() -> None:
    assert codes("gym-offpeak", both(put("valid")({"from": "2026-06-05", "until": "2026-06-06"}))) == []
    assert codes("gym-offpeak", put("when", "windows", 0, "holidays")("only")) == []  # 25 May 2026 is a Monday


def test_a_service_without_windows_that_is_closed_all_its_days_is_refused() -> None:
    shut = both(put("valid")({"from": "2026-12-25", "until": "2026-12-25"}), put("when")({"closed": "@hwrc-closures"}))
    open_on = both(
        put("valid")({"from": "2026-12-25", "until": "2026-12-26"}), put("when")({"closed": "@hwrc-closures"})
    )
    assert codes("hwrc", shut) == ["never_opens"]
    assert codes("hwrc", open_on) == []
