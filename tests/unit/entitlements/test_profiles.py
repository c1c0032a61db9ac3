"""Profiles say at every instant what the person rules say, and hold nothing that changes by itself."""

from __future__ import annotations

import itertools
import json
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.case_parts import person
from entitlements.compile import compile_profile, delegate_grants
from entitlements.decide import State, TapInput, decide
from entitlements.durations import parse_instant
from entitlements.model import Instant, Outcome
from entitlements.profile import Horizon, Profile, ProfilePool, Segment, Verdict
from tests.unit.entitlements.rule_examples import WORLD, compiled, horizon, moment, profile_of, subject_of

LONDON = ZoneInfo("Europe/London")
START = date(2027, 2, 20)
DAYS = 60
SPAN = horizon("2027-02-20T00:00:00Z", DAYS)

days = st.integers(-40, DAYS + 40).map(lambda offset: (START + timedelta(days=offset)).isoformat())
spans: st.SearchStrategy[dict[str, str]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"from": days}),
    st.fixed_dictionaries({"until": days}),
    st.tuples(days, days).map(lambda pair: {"from": min(pair), "until": max(pair)}),
)
statements = st.dictionaries(st.sampled_from(["a", "b"]), st.lists(spans, min_size=1, max_size=2), max_size=2)
births = st.one_of(
    st.none(),
    st.just("2008-02-29"),
    st.tuples(st.integers(1960, 2020), st.integers(-60, 60)).map(
        lambda pair: (date(pair[0], 3, 1) + timedelta(days=pair[1])).isoformat()
    ),
)
people = st.fixed_dictionaries(
    {
        "date_of_birth": births,
        "residency": st.one_of(st.none(), st.lists(spans.map(lambda span: {"tenant": "wcc", **span}), max_size=2)),
        "evidence": st.one_of(st.none(), statements),
        "member_of": statements,
    }
)
ages = st.dictionaries(st.sampled_from(["gte", "lt"]), st.integers(7, 60), min_size=1).filter(
    lambda age: age.get("gte", 0) < age.get("lt", 151)
)
leaves: st.SearchStrategy[dict[str, Any]] = st.one_of(
    ages.map(lambda age: {"age": age}),
    st.just({"resident_of": ["wcc"]}),
    st.sampled_from([{"evidence": "a"}, {"evidence": ["a", "b"]}, {"member_of": "b"}]),
)


def _expressions(*, with_not: bool) -> st.SearchStrategy[dict[str, Any]]:
    def wider(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        several = st.lists(inner, min_size=1, max_size=3)
        joined = [several.map(lambda items: {"all": items}), several.map(lambda items: {"any": items})]
        return st.one_of(*joined, *([inner.map(lambda item: {"not": item})] if with_not else []))

    return st.recursive(leaves, wider, max_leaves=6)


def _on(day: date, spans: list[dict[str, str]]) -> bool:
    return any(span.get("from", "0001") <= day.isoformat() <= span.get("until", "9999") for span in spans)


def _plainly(expression: dict[str, Any], facts: dict[str, Any], day: date) -> bool | None:
    """The rules read by calendar days, as a clerk would: a second, slower meaning to compare with."""
    ((key, value),) = expression.items()
    if key in ("all", "any"):
        answers = [_plainly(item, facts, day) for item in value]
        settling = key == "any"
        return settling if settling in answers else (None if None in answers else not settling)
    if key == "not":
        answer = _plainly(value, facts, day)
        return None if answer is None else not answer
    if key == "age":
        if facts["date_of_birth"] is None:
            return None
        born = date.fromisoformat(facts["date_of_birth"])
        # Comparing (month, day) gives a child of 29 February its birthday on 1 March in common years.
        years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
        return bool(value.get("gte", 0) <= years < value.get("lt", 151))
    if key == "resident_of":
        return None if facts["residency"] is None else _on(day, facts["residency"])
    if facts[key] is None:
        return None
    names = [value] if isinstance(value, str) else value
    return any(_on(day, facts[key].get(name, [])) for name in names)


def _verdict(segments: tuple[Segment, ...], at: int) -> Verdict | None:
    for segment in segments:
        if (segment.start is None or segment.start <= at) and (segment.until is None or at < segment.until):
            return segment.verdict
    return None


@settings(max_examples=200, deadline=None)
@given(who=_expressions(with_not=True), facts=people, seconds=st.lists(st.integers(0, DAYS * 86_400 - 1), max_size=20))
def test_a_compiled_right_says_what_the_rule_says_at_every_instant(
    who: dict[str, Any], facts: dict[str, Any], seconds: list[int]
) -> None:
    service = compiled(who=who)
    profile = profile_of(service, SPAN, **facts)
    segments = profile.segments(service.id)
    edges = [edge for segment in segments for edge in (segment.start, segment.until) if edge is not None]
    for at in [*(SPAN.start + second for second in seconds), *edges, *(edge - 1 for edge in edges)]:
        if SPAN.start <= at < SPAN.end:
            day = datetime.fromtimestamp(at, LONDON).date()
            wanted = {True: Verdict.ELIGIBLE, None: Verdict.UNKNOWN, False: None}[_plainly(who, facts, day)]
            assert _verdict(segments, at) is wanted, day
    for before, after in itertools.pairwise(segments):
        assert before.until is not None
        assert after.start is not None
        assert before.until <= after.start
        assert before.until != after.start or before.verdict != after.verdict, "segments are merged"


@settings(max_examples=150, deadline=None)
@given(
    who=_expressions(with_not=False).filter(lambda who: '"lt"' not in json.dumps(who)),
    facts=people,
    name=st.sampled_from(["a", "b"]),
    kind=st.sampled_from(["evidence", "member_of"]),
    span=spans,
)
def test_telling_the_council_more_never_takes_a_right_away(
    who: dict[str, Any], facts: dict[str, Any], name: str, kind: str, span: dict[str, str]
) -> None:
    service = compiled(who=who)
    more = {**facts, kind: {**(facts[kind] or {}), name: [*(facts[kind] or {}).get(name, []), span]}}
    before, after = (profile_of(service, SPAN, **known).segments(service.id) for known in (facts, more))
    for at in range(SPAN.start, SPAN.end, 86_400 // 2):
        if _verdict(before, at) is Verdict.ELIGIBLE:
            assert _verdict(after, at) is Verdict.ELIGIBLE


@settings(max_examples=100, deadline=None)
@given(who=_expressions(with_not=True))
def test_knowing_nothing_opens_nothing(who: dict[str, Any]) -> None:
    service = compiled(who=who)
    unknown = {"date_of_birth": None, "residency": None, "evidence": None, "member_of": None}
    segments = profile_of(service, SPAN, **unknown).segments(service.id)
    assert [segment.verdict for segment in segments] == [Verdict.UNKNOWN]


@settings(max_examples=100, deadline=None)
@given(who=_expressions(with_not=True), facts=people)
def test_a_profile_survives_the_wire(who: dict[str, Any], facts: dict[str, Any]) -> None:
    price = [{"band": "low", "pence": 5, "when": who}, {"band": "full", "pence": 900, "when": True}]
    service = compiled(price=price, requires=[{"prerequisite": "tour"}])
    profile = profile_of(service, SPAN, **facts, prerequisites={"tour": ["hall-a", "*"]}, blocked={"*": True})
    wire = json.loads(json.dumps(profile.to_wire()))
    again = Profile.from_wire(wire)
    assert again == profile
    assert hash(again) == hash(profile)
    assert again.to_wire() == wire


@pytest.mark.parametrize(
    "wire",
    [None, {}, [], [[], []], [[["s", [[None, None]]]], [], []], [[["s", [[0, 1, 9]]]], [], []], [[], [["a", [1]]], []]],
)
def test_a_garbled_profile_is_refused(wire: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        Profile.from_wire(wire)


def test_a_profile_does_not_change_because_a_day_went_by() -> None:
    service = compiled(who={"all": [{"age": {"gte": 16}}, {"evidence": "a"}]})
    facts = {"date_of_birth": "2000-01-01", "evidence": {"a": {"until": "2027-12-31"}}}
    first, second = (profile_of(service, horizon(f"2027-02-{day}T00:00:00Z"), **facts) for day in (20, 21))
    assert first == second
    assert first.segments(service.id) == (Segment(None, None, Verdict.ELIGIBLE),)
    pool = ProfilePool([first])
    assert pool.number(second) == 0
    assert len(pool) == 1


def test_a_reader_that_stays_offline_lets_the_child_in_on_the_birthday() -> None:
    service = compiled(who={"age": {"gte": 16}})
    profile = profile_of(service, horizon("2027-03-01T00:00:00Z"), date_of_birth="2011-03-29")
    assert profile.segments(service.id) == (Segment(parse_instant("2027-03-28T23:00:00Z"), None, Verdict.ELIGIBLE),)


def test_a_block_or_prerequisite_of_another_area_does_not_reach_this_reader() -> None:
    service = compiled(requires=[{"prerequisite": "tour"}, {"prerequisite": "safety", "scope": "once"}])
    facts = {
        "prerequisites": {"tour": ["hall-a", "hall-b"], "safety": ["hall-b"], "lifeguard": ["*"]},
        "blocked": {"wcc.own.open": True},
    }
    profile = profile_of(service, SPAN, **facts)
    assert profile.blocks == ()
    assert dict(profile.prerequisites) == {"tour": ("hall-a",), "safety": (".",)}


def test_a_delegation_is_compiled_to_absolute_instants() -> None:
    facts = person(
        {
            "id": "p1",
            "delegates": [
                {"person": "d1", "scopes": ["use"], "from": "2027-03-28", "until": "2027-03-28"},
                {"person": "d1", "scopes": ["spend"], "max_pence": 5},
            ],
        }
    )
    first, second = delegate_grants(facts, WORLD.tenants["wcc"])["d1"]  # type: ignore[index]
    assert (first.start, first.until) == (parse_instant("2027-03-28T00:00:00Z"), parse_instant("2027-03-28T23:00:00Z"))
    assert (second.start, second.until, second.max_pence) == (None, None, 5)


@settings(max_examples=100, deadline=None)
@given(who=_expressions(with_not=True), facts=people, second=st.integers(0, DAYS * 86_400 - 1))
def test_a_block_wins_over_everything_that_would_open(who: dict[str, Any], facts: dict[str, Any], second: int) -> None:
    service = compiled(who=who)
    at = Instant(SPAN.start + second)
    free = decide(service, subject_of(service, at, **facts), moment(at))
    blocked = decide(service, subject_of(service, at, **facts, blocked={"*": True}), moment(at))
    assert blocked.outcome is Outcome.DENY
    assert blocked.reason == "blocked"
    assert free.reason in {"ok", "not_eligible", "eligibility_unknown"}
    assert free == decide(service, subject_of(service, at, **facts), moment(at)), "the same again"


def test_a_quota_over_a_grant_counts_from_its_true_start() -> None:
    quota = {"quota": {"id": "q", "period": "grant", "max": 1}}
    service = compiled(who={"evidence": "a"}, limits=[quota])
    spans = [
        {"from": "2026-01-01", "until": "2026-12-31"},
        {"from": "2027-01-01"},
        {"from": "2020-01-01", "until": "2020-02-01"},
    ]
    facts = person({"id": "p1", "evidence": {"a": spans}})
    profile = compile_profile(facts, [service], WORLD, Horizon(start=SPAN.start, end=SPAN.end))
    assert profile.segments(service.id) == (Segment(parse_instant("2026-01-01T00:00:00Z"), None, Verdict.ELIGIBLE),)


def test_a_reader_without_a_ledger_still_holds_the_quota_and_the_cap() -> None:
    at = parse_instant("2027-03-01T10:00:00Z")
    quota = compiled(limits=[{"quota": {"id": "q", "period": "day", "max": 2}}])
    wanted = {2: "ok", 3: "quota_used"}
    for units, reason in wanted.items():
        assert decide(quota, subject_of(quota, at), moment(at), TapInput(units=units)).reason == reason
    purse = compiled(limits=[{"balance": {"account": "b", "per_period": {"period": "day", "max_pence": 50}}}])
    for pence, reason in {50: "ok", 51: "weekly_limit"}.items():
        tap = TapInput(amount_pence=pence)
        assert decide(purse, subject_of(purse, at), moment(at), tap, State(balance_pence=100)).reason == reason
