"""Edges of a decision: the first and last second of everything, and what holds where nothing is said."""

from __future__ import annotations

from typing import Any

import pytest

from entitlements.case_parts import person
from entitlements.compile import compile_profile
from entitlements.decide import Acting, Booking, Moment, Presence, State, Subject, TapInput, UpstreamCheck, decide
from entitlements.durations import parse_instant
from entitlements.model import CardState, Instant, Outcome, SiteId
from entitlements.profile import DelegateGrant, Profile, Segment, Verdict
from entitlements.situation import Situation
from tests.unit.entitlements.rule_examples import WORLD, compiled, horizon, moment, subject_of

AT = parse_instant("2027-03-01T10:00:00Z")


def test_a_tap_and_a_moment_that_say_nothing_more_are_a_plain_visit_at_a_sound_reader() -> None:
    tap = TapInput()
    assert (tap.pin, tap.presentation, tap.units, tap.amount_pence) == (None, "static", 1, None)
    assert (tap.item, tap.confirmed, tap.children) == (None, False, 0)
    at = Moment(at=AT, site=SiteId("hall-a"))
    assert (at.zone, at.online, at.cache_age, at.clock_trusted) == (None, True, 0, True)
    assert Presence().inside is False
    assert Booking(start=AT, end=AT).checked_in is False


VALUES = [
    Acting(),
    Subject(card=None),
    Moment(at=AT, site=SiteId("hall-a")),
    TapInput(),
    Presence(),
    UpstreamCheck(age=0, not_blocked=None),
    Booking(start=AT, end=AT),
    State(),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_a_decision_rests_on_cannot_change_under_it_nor_be_given_in_the_wrong_order(value: Any) -> None:
    name = value.__struct_fields__[0]
    with pytest.raises(AttributeError, match="immutable"):
        setattr(value, name, getattr(value, name))
    with pytest.raises(TypeError, match="positional"):
        type(value)(*(getattr(value, field) for field in value.__struct_fields__))


def test_the_situation_of_a_rule_cannot_be_changed_by_it() -> None:
    now = Situation(Subject(card=None), Moment(at=AT, site=SiteId("hall-a")), TapInput(), State(), ())
    with pytest.raises(AttributeError, match="immutable"):
        now.grant = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("offset", "reason"), [(-1, "not_delegate"), (0, "ok"), (599, "ok"), (600, "not_delegate"), (9999, "not_delegate")]
)
def test_a_delegation_holds_from_its_first_second_to_its_last(offset: int, reason: str) -> None:
    service = compiled(delegation={"acts_for": {"scopes": ["use"]}})
    grant = DelegateGrant(scopes=frozenset(("use",)), start=AT, until=Instant(AT + 600))
    at = Instant(AT + offset)
    subject = Subject(card=CardState.ACTIVE, profile=subject_of(service, at).profile, acting=Acting(grants=(grant,)))
    assert decide(service, subject, moment(at)).reason == reason


def test_a_block_for_another_service_of_the_same_reader_does_not_shut_this_one() -> None:
    pool, gym = compiled(), compiled(id="wcc.test.gym")
    profile = compile_profile(
        person({"id": "p1", "blocked": {gym.id: True}}), [pool, gym], WORLD, horizon("2027-02-20T00:00:00Z")
    )
    subject = Subject(card=CardState.ACTIVE, profile=profile)
    assert [decide(one, subject, moment(AT)).reason for one in (pool, gym)] == ["ok", "blocked"]


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ((), "ok"),
        (("wcc.test.other",), "ok"),
        (("wcc.test.other", "wcc.test.service"), "delegate_blocked"),
        (("wcc.test.service",), "delegate_blocked"),
        (("*",), "delegate_blocked"),
    ],
)
def test_a_delegate_blocked_from_another_service_may_still_act_in_this_one(
    blocks: tuple[str, ...], reason: str
) -> None:
    service = compiled(delegation={"acts_for": {"scopes": ["use"]}})
    acting = Acting(grants=(DelegateGrant(scopes=frozenset(("use",))),), blocks=blocks)
    subject = Subject(card=CardState.ACTIVE, profile=subject_of(service, AT).profile, acting=acting)
    assert decide(service, subject, moment(AT)).reason == reason


def test_a_price_that_the_document_no_longer_names_is_still_the_price_of_a_profile_that_came_before_it() -> None:
    service = compiled(price=[{"band": "full", "pence": 500, "when": True}])
    profile = Profile(grants=[(service.id, (Segment(None, None, Verdict.ELIGIBLE, "full", 450),))])
    subject = Subject(card=CardState.ACTIVE, profile=profile)
    decision = decide(service, subject, moment(AT))
    assert (decision.reason, decision.band, decision.pence) == ("ok", "full", 450)


def test_a_card_without_a_profile_in_this_area_opens_nothing() -> None:
    assert decide(compiled(), Subject(card=CardState.ACTIVE), moment(AT)).reason == "not_eligible"


@pytest.mark.parametrize(("gone", "reason"), [(0, "repeat_scan"), (59, "repeat_scan"), (60, "ok"), (600, "ok")])
def test_only_a_tap_within_the_gap_is_the_same_visit(gone: int, reason: str) -> None:
    service = compiled(presence={"min_gap": "PT1M"})
    state = State(presence=Presence(last=Instant(AT - gone)))
    assert decide(service, subject_of(service, AT), moment(AT), TapInput(), state).reason == reason


@pytest.mark.parametrize(
    ("gone", "reason"), [(-60, "already_inside"), (3599, "already_inside"), (3600, "ok"), (3601, "ok"), (86_400, "ok")]
)
def test_somebody_who_forgot_to_tap_out_is_forgiven_after_the_longest_stay(gone: int, reason: str) -> None:
    service = compiled(presence={"anti_passback": "person", "max_stay": "PT1H"})
    state = State(presence=Presence(inside=True, since=Instant(AT - gone)))
    assert decide(service, subject_of(service, AT), moment(AT), TapInput(), state).reason == reason


@pytest.mark.parametrize(
    ("mode", "reason"), [("enforce", "already_inside"), ("local_only", "already_inside"), ("ignore", "ok")]
)
def test_anti_passback_holds_offline_unless_the_service_says_otherwise(mode: str, reason: str) -> None:
    service = compiled(presence={"anti_passback": "person"}, offline={"presence": mode})
    state = State(presence=Presence(inside=True))
    assert decide(service, subject_of(service, AT), moment(AT, online=False), TapInput(), state).reason == reason
    assert decide(service, subject_of(service, AT), moment(AT), TapInput(), state).reason == "already_inside"


@pytest.mark.parametrize(
    ("rule", "scopes"),
    [
        ({}, ()),
        ({"min_gap": "PT1M"}, ("person",)),
        ({"anti_passback": "card"}, ("card",)),
        ({"anti_passback": "card", "min_gap": "PT1M"}, ("card",)),
        ({"anti_passback": "card", "one_at_a_time": "household"}, ("card", "household")),
        ({"anti_passback": "person", "one_at_a_time": "person"}, ("person",)),
    ],
)
def test_presence_is_kept_by_what_the_service_names(rule: dict[str, Any], scopes: tuple[str, ...]) -> None:
    assert compiled(presence=rule).presence_scopes == scopes


@pytest.mark.parametrize(
    ("unknown", "outcome"), [("deny", Outcome.DENY), ("refer", Outcome.REFER), ("allow", Outcome.ALLOW)]
)
def test_a_silent_upstream_system_leads_to_what_the_service_names(unknown: str, outcome: Outcome) -> None:
    service = compiled(requires=[{"upstream": "gym", "max_age": "PT1H", "if_unknown": unknown}])
    assert decide(service, subject_of(service, AT), moment(AT)).outcome is outcome


def test_on_the_first_day_before_opening_time_the_service_has_started_but_is_shut() -> None:
    service = compiled(valid={"from": "2027-03-01"}, when={"windows": [{"from": "09:00", "until": "10:00"}]})
    midnight, opening = parse_instant("2027-03-01T00:00:00Z"), parse_instant("2027-03-01T09:00:00Z")
    for at, reason in ((midnight - 1, "service_not_started"), (midnight, "outside_hours"), (opening, "ok")):
        assert decide(service, subject_of(service, Instant(at)), moment(Instant(at))).reason == reason
    shut = decide(service, subject_of(service, midnight), moment(midnight))
    assert shut.opens_at == opening


@pytest.mark.parametrize(("word", "reason"), [("include", "ok"), ("exclude", "outside_hours"), ("only", "ok")])
def test_a_bank_holiday_is_what_the_window_says_it_is(word: str, reason: str) -> None:
    service = compiled(when={"windows": [{"from": "09:00", "until": "10:00", "holidays": word}]})
    at = parse_instant("2026-05-25T08:30:00Z")  # half past nine in the summer
    assert decide(service, subject_of(service, at), moment(at)).reason == reason


@pytest.mark.parametrize(
    ("day", "wanted"),
    [
        ("2026-05-25", ["ok", "outside_hours", "ok"]),  # the spring bank holiday, a Monday
        ("2026-06-01", ["ok", "ok", "outside_hours"]),
    ],
)
def test_each_window_says_for_itself_whether_it_holds_on_a_bank_holiday(day: str, wanted: list[str]) -> None:
    windows = [
        {"from": "09:00", "until": "10:00", "holidays": "include"},
        {"from": "11:00", "until": "12:00", "holidays": "exclude"},
        {"from": "13:00", "until": "14:00", "holidays": "only"},
    ]
    service = compiled(when={"windows": windows})
    instants = [parse_instant(f"{day}T{clock}:30:00Z") for clock in ("08", "10", "12")]  # British Summer Time
    assert [decide(service, subject_of(service, at), moment(at)).reason for at in instants] == wanted


def test_the_very_instant_at_which_the_calendar_shuts_is_outside_hours() -> None:
    service = compiled(when={"windows": [{"from": "09:00", "until": "11:00"}]})
    subject = subject_of(service, AT)
    assert decide(service, subject, moment(AT)).reason == "ok"
    shuts = service.hours.lately[1]  # the calendar's own number, not one like it
    assert shuts == parse_instant("2027-03-01T11:00:00Z")
    assert decide(service, subject, moment(shuts)).reason == "outside_hours"
