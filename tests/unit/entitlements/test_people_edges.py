"""Edges of what is compiled of a person: horizons, birthdays, permits, and rights that go on."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from entitlements.calendars import FOREVER, local_time
from entitlements.case_parts import person
from entitlements.compile import account_keys, compile_profile, compile_service, delegate_grants
from entitlements.documents import parse_services
from entitlements.durations import parse_instant
from entitlements.eligibility import View
from entitlements.facts import PersonFacts
from entitlements.model import Instant, PersonId
from entitlements.profile import Horizon, Segment, Verdict
from tests.unit.entitlements.rule_examples import WORLD, compiled, horizon, profile_of

LONDON = ZoneInfo("Europe/London")
SPAN = horizon("2027-02-20T00:00:00Z")
RIGHT = Verdict.ELIGIBLE

days = st.integers(-10, 40).map(lambda offset: date.fromordinal(date(2027, 2, 20).toordinal() + offset).isoformat())
spans = st.lists(st.tuples(days, days).map(lambda pair: {"from": min(pair), "until": max(pair)}), max_size=3)


def _on(held: list[dict[str, str]], day: str) -> bool:
    return any(span["from"] <= day <= span["until"] for span in held)


@settings(max_examples=150, deadline=None)
@given(member=spans, low=spans, middle=spans)
def test_everybody_pays_the_first_price_that_fits_on_that_day(
    member: list[dict[str, str]], low: list[dict[str, str]], middle: list[dict[str, str]]
) -> None:
    service = compiled(
        who={"member_of": "club"},
        price=[
            {"band": "low", "pence": 1, "when": {"evidence": "low"}},
            {"band": "middle", "pence": 2, "when": {"evidence": "middle"}},
            {"band": "full", "pence": 3, "when": True},
        ],
    )
    facts = {"member_of": {"club": member}, "evidence": {"low": low, "middle": middle}}
    segments = profile_of(service, SPAN, **facts).segments(service.id)
    for at in range(SPAN.start, SPAN.end, 43_200):
        day = datetime.fromtimestamp(at, LONDON).date().isoformat()
        band = None
        if _on(member, day):
            band = "low" if _on(low, day) else "middle" if _on(middle, day) else "full"
        found = [one for one in segments if (one.start or at) <= at < (one.until or at + 1)]
        assert [one.band for one in found] == ([] if band is None else [band])
    for before, after in itertools.pairwise(segments):
        assert before.until != after.start or before.band != after.band, "segments are merged"


def test_nothing_that_happens_outside_the_horizon_is_in_a_profile() -> None:
    service = compiled(who={"evidence": "a"})
    for first in ("2027-03-22", "2027-03-23", "2027-06-01"):  # SPAN ends as 22 March begins
        assert profile_of(service, SPAN, evidence={"a": {"from": first}}).segments(service.id) == ()
    for first in ("2027-02-20", "2027-02-19"):
        whole = profile_of(service, SPAN, evidence={"a": {"from": first}})
        assert whole.segments(service.id) == (Segment(None, None, RIGHT),)
    for last in ("2027-03-21", "2027-03-22"):
        whole = profile_of(service, SPAN, evidence={"a": {"until": last}})
        assert whole.segments(service.id) == (Segment(None, None, RIGHT),)


def _segments(spans: list[dict[str, str]], born: str | None = None) -> tuple[Segment, ...]:
    service = compiled(
        who={"evidence": "a"},
        price=[
            {"band": "child", "pence": 1, "when": {"age": {"lt": 12}}},
            {"band": "teen", "pence": 2, "when": {"age": {"lt": 16}}},
            {"band": "full", "pence": 3, "when": True},
        ],
        limits=[{"quota": {"id": "q", "period": "grant", "max": 1}}],
    )
    facts = person({"id": "p1", "evidence": {"a": spans}, **({} if born is None else {"date_of_birth": born})})
    return compile_profile(facts, [service], WORLD, SPAN).segments(service.id)


def _at(day: str) -> Instant:
    """Local midnight as the day begins: in June an hour before midnight in UTC, since councils keep London time."""
    return Instant(int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/London")).timestamp()))


def test_a_right_that_goes_on_is_kept_from_its_start_whatever_its_price_was() -> None:
    since = {"from": "2018-01-01"}
    child = Segment(_at("2018-01-01"), _at("2022-02-01"), RIGHT, "child", 1)
    teen = Segment(_at("2022-02-01"), _at("2026-02-01"), RIGHT, "teen", 2)
    full = Segment(_at("2026-02-01"), None, RIGHT, "full", 3)
    assert _segments([since], "2010-02-01") == (child, teen, full)
    assert _segments([{}], "2010-02-01") == (
        Segment(None, _at("2022-02-01"), RIGHT, "child", 1),
        teen,
        full,
    )
    grown = Segment(_at("2022-06-01"), _at("2026-02-01"), RIGHT, "teen", 2)
    assert _segments([{"from": "2022-06-01"}], "2010-02-01") == (grown, full)


def test_a_right_older_than_the_epoch_of_computers_keeps_its_start() -> None:
    since = Segment(_at("1950-05-01"), None, RIGHT, "full", 3)
    assert _segments([{"from": "1950-05-01"}], "1930-02-01") == (since,)
    always = Segment(_at("1942-02-01"), _at("1946-02-01"), RIGHT, "teen", 2)
    assert _segments([{}], "1930-02-01")[1] == always


def test_a_right_that_had_ended_before_the_horizon_is_left_out() -> None:
    old = {"from": "2020-01-01", "until": "2027-02-19"}  # the horizon begins the next day
    assert _segments([old]) == ()
    assert _segments([{"from": "2020-01-01", "until": "2027-02-18"}]) == ()
    later = Segment(_at("2027-03-01"), None, RIGHT, "full", 3)
    assert _segments([old, {"from": "2027-03-01"}]) == (later,)
    running = {"from": "2027-01-01", "until": "2027-02-24"}
    now = Segment(_at("2027-01-01"), _at("2027-02-25"), RIGHT, "full", 3)
    older = {"from": "2019-01-01", "until": "2019-12-31"}
    assert _segments([older, running, {"from": "2027-03-01"}]) == (now, later)


def test_somebody_whose_right_comes_and_goes_every_other_day_for_two_years_keeps_every_day() -> None:
    service = compiled(who={"evidence": "a"})
    held = [(date(2027, 2, 21) + timedelta(days=2 * count)).isoformat() for count in range(365)]
    spans = [*({"from": day, "until": day} for day in held), {"from": "2029-02-20"}]
    segments = profile_of(service, horizon("2027-02-20T00:00:00Z", 800), evidence={"a": spans}).segments(service.id)
    assert [segment.start for segment in segments] == [*(_at(day) for day in held), _at("2029-02-20")]
    assert [segment.until for segment in segments[-2:]] == [_at("2029-02-19"), None]


def test_a_right_between_two_times_of_doubt_is_a_right_and_a_doubt_between_two_rights_a_doubt() -> None:
    service = compiled(who={"any": [{"evidence": "a"}, {"age": {"gte": 18}}]})
    held = [{"from": "2027-02-21", "until": "2027-02-22"}, {"from": "2027-03-01", "until": "2027-03-02"}]
    turns = [None, *(_at(f"2027-{day}") for day in ("02-21", "02-23", "03-01", "03-03")), None]
    verdicts = [Verdict.UNKNOWN, RIGHT, Verdict.UNKNOWN, RIGHT, Verdict.UNKNOWN]
    wanted = tuple(itertools.starmap(Segment, zip(turns, turns[1:], verdicts, strict=False)))
    assert profile_of(service, SPAN, date_of_birth=None, evidence={"a": held}).segments(service.id) == wanted


@settings(max_examples=60, deadline=None)
@given(born=st.dates(date(1932, 1, 1), date(2026, 12, 31)), years=st.integers(28, 60))
@example(born=date(2012, 2, 29), years=46)
@example(born=date(2026, 12, 31), years=44)
def test_a_child_seen_as_a_grown_up_keeps_its_birthday(born: date, years: int) -> None:
    view = View(PersonFacts(id=PersonId("p"), date_of_birth=born), local_time("Europe/London"), leap_on_feb_28=False)
    assert view.grown().birthday(years) == view.birthday(years - 28)


@pytest.mark.parametrize(("tenant_leap", "day"), [(True, "2027-02-28"), (False, "2027-03-01")])
def test_a_birthday_of_29_february_comes_on_the_day_the_council_chose(tenant_leap: bool, day: str) -> None:
    facts = PersonFacts(id=PersonId("p"), date_of_birth=date(2008, 2, 29))
    view = View(facts, local_time("Europe/London"), leap_on_feb_28=tenant_leap)
    assert view.birthday(19) == _at(day)
    assert view.birthday(20) == _at("2028-02-29")


def test_a_birthday_beyond_the_calendar_never_comes() -> None:
    facts = PersonFacts(id=PersonId("p"), date_of_birth=date(9990, 1, 1))
    view = View(facts, local_time("UTC"), leap_on_feb_28=False)
    assert view.birthday(8) == int(datetime(9998, 1, 1, tzinfo=ZoneInfo("UTC")).timestamp())
    assert view.birthday(9) == view.birthday(500) == FOREVER


def _keys(at: str, permits: dict[str, Any], who: dict[str, Any]) -> dict[str, str]:
    service = compiled(who=who)
    return dict(account_keys(person({"id": "p1", "permit": permits}), service, parse_instant(at)))


@pytest.mark.parametrize(
    ("at", "held"),
    [
        ("2027-02-28T23:59:59Z", False),
        ("2027-03-01T00:00:00Z", True),
        ("2027-03-02T23:59:59Z", True),
        ("2027-03-03T00:00:00Z", False),
        ("2027-06-01T00:00:00Z", False),
    ],
)
def test_units_are_kept_by_a_permit_on_the_days_it_is_held(at: str, held: bool) -> None:
    permits = {"garden": {"from": "2027-03-01", "until": "2027-03-02"}}
    kept = {"permit": "garden", "vehicle": "garden"} if held else {}
    assert _keys(at, permits, {"permit": "garden"}) == {"person": "p1", **kept}


def test_only_a_permit_that_the_service_names_keeps_its_units() -> None:
    at = "2027-03-01T10:00:00Z"
    permits: dict[str, Any] = {"garden": {}, "club": {}, "allotment": {}}
    assert "permit" not in _keys(at, permits, {"member_of": "club"})
    assert "permit" not in _keys(at, permits, {"role": "garden"})
    both = {"any": [{"member_of": "club"}, {"permit": ["allotment", "garden"]}]}
    assert _keys(at, permits, both)["permit"] == "allotment", "the first one that the service names"


def test_a_prerequisite_of_a_service_of_every_site_keeps_every_site() -> None:
    document = {"schema": "rescard.service/1", "id": "wcc.test.all", "tenant": "wcc", "kind": "access", "title": "All"}
    (parsed,) = parse_services({**document, "requires": [{"prerequisite": "tour"}]})
    service = compile_service(parsed, WORLD)
    profile = profile_of(service, SPAN, prerequisites={"tour": ["hall-a", "hall-b"]})
    assert dict(profile.prerequisites) == {"tour": ("hall-a", "hall-b")}


def test_a_delegation_without_dates_has_no_bounds_and_one_with_dates_has_them() -> None:
    delegates = [
        {"person": "d1", "scopes": ["use"]},
        {"person": "d2", "scopes": ["use"], "from": "2027-01-01"},
        {"person": "d3", "scopes": ["use"], "until": "2027-01-01"},
    ]
    found = delegate_grants(person({"id": "p1", "delegates": delegates}), next(iter(WORLD.tenants.values())))
    bounds = {name: (grants[0].start, grants[0].until) for name, grants in found.items()}
    assert bounds == {"d1": (None, None), "d2": (_at("2027-01-01"), None), "d3": (None, _at("2027-01-02"))}


def test_the_same_facts_give_the_same_profile_for_overlapping_horizons_without_a_grant_quota() -> None:
    service = compiled(who={"evidence": "a"})
    facts = person(
        {"id": "p1", "evidence": {"a": [{"from": "2020-01-01", "until": "2020-02-01"}, {"from": "2021-01-01"}]}}
    )
    profile = compile_profile(facts, [service], WORLD, Horizon(start=SPAN.start, end=SPAN.end))
    assert profile.segments(service.id) == (Segment(None, None, RIGHT),)
