"""What is too much: found in every kind of period, never where the rules allow it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from cardservice.ledger.accounts import period_of, quotas
from cardservice.ledger.entries import Entry
from cardservice.ledger.reconciliation import Posted, units_over
from entitlements.compile import compile_service
from entitlements.documents import parse_services
from entitlements.facts import PersonFacts
from entitlements.model import Instant, PersonId, TenantId
from entitlements.world import Tenant, World

WORLD = World(tenants={TenantId("wcc"): Tenant(timezone="Europe/London")})
FACTS = PersonFacts(id=PersonId("p1"))
NOON = 1_803_902_400
"""2027-03-01T12:00:00Z, a Monday"""
DAY = 86_400


def posted(at: int, units: int = 1, **rule: Any) -> Posted:
    """An entry of a quota of this rule."""
    document = {
        "schema": "rescard.service/1",
        "id": "wcc.leisure.any",
        "tenant": "wcc",
        "kind": "access",
        "title": "Any",
        "limits": [{"quota": {"id": "any", "period": "day", "max": 2, **rule}}],
    }
    service = compile_service(parse_services(document)[0], WORLD)
    entry = Entry(
        entry_id=uuid4(),
        origin="wcc",
        area="leisure",
        account="any",
        scope="person",
        holder="p1",
        units=units,
        at=datetime.fromtimestamp(at, UTC),
        kind="tap",
        service_id="wcc.leisure.any",
        person_id=None,
    )
    (quota,) = quotas(service)
    return Posted(entry=entry, quota=quota, service=service, facts=FACTS)


def rows(*entries: tuple[int, int]) -> list[tuple[Instant, int]]:
    return [(Instant(at), units) for at, units in entries]


def test_each_day_is_counted_alone() -> None:
    item = posted(NOON)
    assert units_over(item, rows((NOON, 1), (NOON - 60, 1), (NOON - DAY, 5)), WORLD) == (0, 2)
    assert units_over(item, rows((NOON, 1), (NOON - 60, 2)), WORLD) == (1, 3)


def test_what_was_given_back_is_not_too_much() -> None:
    assert units_over(posted(NOON), rows((NOON, 1), (NOON - 60, 2), (NOON - 30, -1)), WORLD) == (0, 2)


def test_a_session_that_began_with_the_last_unit_may_be_finished() -> None:
    item = posted(NOON, 7, overshoot="finish_session")
    assert units_over(item, rows((NOON - 60, 1), (NOON, 7)), WORLD)[0] == 0
    assert units_over(item, rows((NOON - 60, 2), (NOON, 7)), WORLD)[0] == 7


def test_a_late_event_is_too_much_in_a_later_window_that_still_holds_it() -> None:
    """Three days roll: the event of the first day counts on the third, beside what came there before it was known."""
    item = posted(NOON, period="rolling", days=3)
    known = rows((NOON, 1), (NOON + DAY, 1), (NOON + 2 * DAY, 1))
    assert units_over(item, known, WORLD) == (1, 3)
    assert units_over(item, rows((NOON, 1), (NOON + DAY, 1), (NOON + 3 * DAY, 2)), WORLD) == (0, 2)


events = st.lists(st.tuples(st.integers(NOON - 20 * DAY, NOON + 20 * DAY), st.integers(1, 3)), max_size=12)
periods = st.sampled_from(
    [
        {"period": "day"},
        {"period": "week"},
        {"period": "month"},
        {"period": "year", "year_start": "03-05"},
        {"period": "night", "anchor": "12:00"},
    ]
)


@given(periods, events, st.integers(0, 6))
def test_of_calendar_periods_it_is_what_the_period_holds_beyond_the_limit(
    period: dict[str, Any], known: list[tuple[int, int]], most: int
) -> None:
    item = posted(NOON, max=most, **period)
    since, until = period_of(item.service, item.quota.period, Instant(NOON), FACTS, WORLD)
    assert since is not None
    assert until is not None
    assert since <= NOON < until
    held = sum(units for at, units in known if since <= at < until)
    over, total = units_over(item, rows(*known), WORLD)
    assert (max(over, 0), total) == (max(held - most, 0), held) or (held <= most and over <= 0)


@given(events, st.integers(1, 10), st.integers(0, 6))
def test_of_rolling_periods_it_is_the_worst_window_that_holds_the_event(
    known: list[tuple[int, int]], days: int, most: int
) -> None:
    item = posted(NOON, max=most, period="rolling", days=days)
    known = [*known, (NOON, 1)]
    first = (NOON - 12 * 3600) // DAY  # London keeps UTC in winter; the entries lie before the clocks change
    worst = 0
    for last in range(first, first + days):
        if any(at // DAY == last and at >= NOON for at, _ in known):
            worst = max(worst, sum(units for at, units in known if last - days < at // DAY <= last))
    assert max(units_over(item, rows(*known), WORLD)[0], 0) == max(worst - most, 0)
