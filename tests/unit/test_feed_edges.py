"""Whoever is passed over when the horizon moves loses nothing by it: compiled from scratch they would be the same."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from cardservice.catalogue.facts import STATEMENTS, gather_facts
from cardservice.catalogue.loading import AT_THE_GATE
from cardservice.feed.edges import DAY, Edges, Span, edges_between
from cardservice.feed.window import as_horizon, window_of
from cardservice.ledger.holders import counts
from entitlements.calendars import local_time
from entitlements.compile import CompiledService, account_keys, compile_profile, compile_service, telling_birthdays
from entitlements.documents import parse_services
from entitlements.eligibility import span_instants
from entitlements.model import Instant, SiteId, TenantId
from entitlements.world import Tenant, World
from tests.benchmarks.population import documents, residents
from tests.benchmarks.world import world

ZONES = ("Europe/London", "Pacific/Kiritimati", "Etc/GMT+12", "America/Havana", "Asia/Kolkata")
"""From the first to the last midnight of a day on earth, one where clocks change at midnight, and one in between."""
Leap = Literal["02-28", "03-01"]
MONDAY = date(2028, 2, 21)
AGES = st.sampled_from([0, 11, 16, 18, 28, 40, 60, 65, 130])


def concern(edges: Edges, born: date | None, statements: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a person of this birthday and these statements is to be looked at, as ``people_with_edges`` asks."""
    if born is not None and _within(born, edges.born):
        return True
    return any(
        (row["from_date"] is not None and _within(row["from_date"], edges.days))
        or (row["until_date"] is not None and _within(row["until_date"], edges.days, earlier=DAY))
        for row in statements
    )


def _within(day: date, spans: Iterable[Span], *, earlier: timedelta = timedelta(0)) -> bool:
    return any(first - earlier <= day <= last - earlier for first, last in spans)


def _near(spread: int) -> st.SearchStrategy[date]:
    return st.integers(-spread, spread + 40).map(lambda offset: MONDAY + timedelta(days=offset))


at_the_ends = st.one_of(st.integers(-4, 4), st.integers(33, 40)).map(lambda offset: MONDAY + timedelta(days=offset))
days = st.one_of(st.none(), at_the_ends, at_the_ends, _near(400))
births = st.one_of(
    st.none(),
    st.builds(
        lambda day, years: (day.replace(day=28) if (day.month, day.day) == (2, 29) else day).replace(
            year=day.year - years
        ),
        at_the_ends,
        st.sampled_from([11, 16, 18, 28, 37, 40, 60, 65]),
    ),
    st.sampled_from([date(2012, 2, 29), date(2000, 2, 29), date(1968, 2, 29), date(2012, 3, 1), date(2012, 2, 28)]),
)
leaves = st.one_of(
    st.builds(lambda low: {"age": {"gte": low}}, AGES),
    st.builds(lambda high: {"age": {"lt": max(1, high)}}, AGES),
    st.sampled_from(
        [{"resident_of": ["wcc"]}, {"evidence": "carer"}, {"member_of": "club"}, {"permit": "bay"}, {"role": "parent"}]
    ),
)
rules = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda items: {"all": items}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda items: {"any": items}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda item: {"not": item}, inner),
    ),
    max_leaves=4,
)


@st.composite
def _documents(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for number in range(draw(st.integers(1, 3))):
        tenant = draw(st.sampled_from(["wcc", "rbkc"]))
        document: dict[str, Any] = {
            "schema": "rescard.service/1",
            "id": f"{tenant}.leisure.s{number}",
            "tenant": tenant,
            "kind": "access",
            "title": "A service",
            "who": draw(rules),
        }
        if draw(st.booleans()):
            document["price"] = [
                {"band": "low", "pence": 100, "when": draw(rules)},
                {"band": "full", "pence": 500, "when": True},
            ]
        if draw(st.booleans()):
            document["delegation"] = {
                "accompanied_by": {"children_under": draw(st.sampled_from([8, 12, 16])), "max": 2}
            }
        if draw(st.booleans()):
            document["limits"] = [{"quota": {"id": f"q{number}", "period": "grant", "max": 5, "scope": "permit"}}]
        if draw(st.booleans()):
            document["requires"] = [{"prerequisite": "induction", "scope": draw(st.sampled_from(["once", "site"]))}]
        made.append(document)
    return made


@st.composite
def _statements(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = {"residency": "wcc", "evidence": "carer", "member_of": "club", "permit": "bay", "role": "parent"}
    found = []
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from([*names, "block", "prerequisite", "delegate"]))
        first, last = draw(days), draw(days)
        if first is not None and last is not None and last < first:
            first, last = last, first
        name = names.get(kind, "wcc.leisure.s0")
        detail: dict[str, Any] = {}
        if kind == "prerequisite":
            name, detail = "induction", {"sites": ["hall-a"]}
        elif kind == "delegate":
            name = str(uuid.uuid5(uuid.NAMESPACE_OID, "neighbour"))
            detail = {"person": name, "scopes": ["collect"]}
        found.append({"kind": kind, "name": name, "from_date": first, "until_date": last, "detail": detail})
    return found


def _world(zones: tuple[str, str], leap: Leap) -> World:
    tenants = {
        TenantId("wcc"): Tenant(timezone=zones[0], leap_birthday=leap),
        TenantId("rbkc"): Tenant(timezone=zones[1]),
    }
    return World(tenants=tenants, sites=frozenset({SiteId("hall-a")}))


def _told(
    person: Mapping[str, Any],
    statements: list[dict[str, Any]],
    services: list[CompiledService],
    world: World,
    at: datetime,
) -> Any:
    """All that a gate would be told of a person compiled at this instant."""
    zone = world.tenants[TenantId("wcc")].timezone
    facts = gather_facts(person, statements, at.astimezone(ZoneInfo(zone)).date())
    now = Instant(int(at.timestamp()))
    acting = [
        span for one in facts.delegates if (span := span_instants(one.start, one.until, local_time(zone)))[1] > now
    ]
    return (
        compile_profile(facts, services, world, as_horizon(*window_of(at))),
        [account_keys(facts, service, now) for service in services],
        acting,
    )


@settings(max_examples=400, deadline=None)
@given(
    documents=_documents(),
    born=births,
    statements=_statements(),
    zones=st.tuples(st.sampled_from(ZONES), st.sampled_from(ZONES)),
    leap=st.sampled_from(["02-28", "03-01"]),
    before=st.integers(0, 86_399),
    after=st.integers(0, 86_399),
    moved=st.one_of(st.just(1), st.integers(1, 60)),
)
@example(
    documents=[
        {
            "schema": "rescard.service/1",
            "id": "wcc.leisure.s0",
            "tenant": "wcc",
            "kind": "access",
            "title": "Swimming for the middle-aged, who bring their children",
            "who": {"age": {"gte": 40}},
            "delegation": {"accompanied_by": {"children_under": 16, "max": 2}},
        }
    ],
    born=date(2016, 3, 5),
    statements=[],
    zones=("Europe/London", "Europe/London"),
    leap="03-01",
    before=0,
    after=0,
    moved=20,
)
def test_nobody_who_is_passed_over_would_have_been_told_anything_else(
    documents: list[dict[str, Any]],
    born: date | None,
    statements: list[dict[str, Any]],
    zones: tuple[str, str],
    leap: Leap,
    before: int,
    after: int,
    moved: int,
) -> None:
    world = _world(zones, leap)
    services = [compile_service(one, world) for one in parse_services(json.loads(json.dumps(documents)))]
    midnight = datetime(MONDAY.year, MONDAY.month, MONDAY.day, tzinfo=UTC)
    then = midnight + timedelta(seconds=before)
    now = midnight + timedelta(days=moved, seconds=after)
    edges = edges_between(window_of(then), window_of(now), telling_birthdays(services))
    concerned = concern(edges, born, statements)
    event(f"looked at: {concerned}")
    assume(not concerned)
    person = {"person_id": "p1", "household": None, "date_of_birth": born}
    assert _told(person, statements, services, world, then) == _told(person, statements, services, world, now)


def test_most_people_are_passed_over_on_most_days() -> None:
    now = datetime(2026, 6, 1, 0, 5, tzinfo=UTC)
    edges = edges_between(window_of(now - timedelta(days=1)), window_of(now), [16, 18, 60])
    born = [date(1930, 1, 1) + timedelta(days=number) for number in range(95 * 365)]
    looked_at = [day for day in born if concern(edges, day, [])]
    assert 0 < len(looked_at) < len(born) / 500
    assert len({day.year for day in looked_at}) == 3


def test_what_only_gates_look_at_is_no_reason_to_compile_anybody() -> None:
    everything, people = world(), residents(300)
    worked = documents()
    compiled = [compile_service(one, everything) for one in parse_services(worked)]
    bare = [{name: part for name, part in one.items() if name not in AT_THE_GATE - {"title"}} for one in worked]
    others = [compile_service(one, everything) for one in parse_services(bare)]
    span = as_horizon(*window_of(datetime(2026, 6, 1, tzinfo=UTC)))
    now = span.start
    for facts in people:
        assert compile_profile(facts, compiled, everything, span) == compile_profile(facts, others, everything, span)
        for service, other in zip(compiled, others, strict=True):
            assert account_keys(facts, service, now) == account_keys(facts, other, now)
    assert list(map(counts, compiled)) == list(map(counts, others))


def test_a_calendar_ends_somewhere() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    edges = edges_between(window_of(now), window_of(now + timedelta(days=1)), [3000, -9000])
    assert isinstance(edges, Edges)
    assert edges.born == ()
    assert not concern(edges, date(1990, 1, 1), [{"from_date": None, "until_date": None}])


def test_every_dated_kind_of_statement_is_tried_here() -> None:
    assert {"residency", "evidence", "member_of", "permit", "role"} <= set(STATEMENTS)
