"""What a limit does at its edges: exactly used up, nothing said, cut off, and counted from the right start."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from entitlements.compile import CompiledService
from entitlements.decide import Booking, Presence, State, Subject, TapInput, decide
from entitlements.durations import parse_instant
from entitlements.model import CardState, Decision, Effect, Instant
from entitlements.profile import Profile, Segment, Verdict
from tests.unit.entitlements.rule_examples import compiled, moment, subject_of

AT = parse_instant("2027-03-01T10:00:00Z")


class Book:
    """A ledger that answers with one number and remembers what it was asked."""

    def __init__(self, units: int = 0) -> None:
        self.units = units
        self.asked: list[tuple[str, str, Instant | None, Instant | None]] = []

    def used(self, account: str, key: str, since: Instant | None, until: Instant | None) -> int:
        self.asked.append((account, key, since, until))
        return self.units


def limited(*limits: dict[str, Any], **parts: Any) -> CompiledService:
    return compiled(limits=list(limits), **parts)


def taps(service: CompiledService, tap: TapInput | None = None, state: State | None = None, **when: Any) -> Decision:
    at = when.pop("at", AT)
    return decide(service, subject_of(service, at), moment(at, **when), tap or TapInput(), state or State())


@pytest.mark.parametrize(("lease", "reason"), [(0, "offline_allowance_used"), (1, "ok"), (2, "ok"), (9, "ok")])
def test_a_site_that_is_cut_off_spends_its_whole_lease_and_no_more(lease: int, reason: str) -> None:
    service = limited({"quota": {"id": "q", "period": "day", "max": 20}}, offline={"lease": {"q": 9}})
    assert taps(service, state=State(leases={"q": lease}), online=False).reason == reason


@pytest.mark.parametrize(("units", "reason"), [(1, "ok"), (2, "ok"), (3, "quota_used")])
def test_a_quota_holds_for_one_tap_where_there_is_no_ledger(units: int, reason: str) -> None:
    service = limited({"quota": {"id": "q", "period": "day", "max": 2}})
    assert taps(service, TapInput(units=units), State(ledger=None)).reason == reason


def test_the_very_instant_at_which_a_period_ends_belongs_to_the_next() -> None:
    service, book = limited({"quota": {"id": "q", "period": "day", "max": 2}}), Book()
    assert taps(service, state=State(ledger=book)).reason == "ok"
    ends = book.asked[0][3]  # the calendar's own number, not one like it
    assert ends == parse_instant("2027-03-02T00:00:00Z")
    assert taps(service, state=State(ledger=book), at=ends).reason == "ok"
    assert book.asked[1][2:] == (ends, parse_instant("2027-03-03T00:00:00Z"))


@pytest.mark.parametrize(("days", "late", "reason"), [(0, 0, "ok"), (0, 1, "overdue_block"), (1, 1, "overdue_block")])
def test_an_item_due_today_is_not_overdue_and_one_due_yesterday_is(days: int, late: int, reason: str) -> None:
    service = limited({"loan": {"pool": "p", "max_out": 3, "block_if_overdue_days": days}})
    assert (
        taps(service, state=State(loans=(date(2027, 3, 1 - late) if late == 0 else date(2027, 2, 28),))).reason
        == reason
    )


def test_nobody_without_a_loan_is_overdue_and_no_loan_is_overdue_where_the_rule_does_not_say_so() -> None:
    strict = limited({"loan": {"pool": "p", "max_out": 3, "block_if_overdue_days": 7}})
    assert taps(strict).reason == "ok"
    lenient = limited({"loan": {"pool": "p", "max_out": 3}})
    assert taps(lenient, state=State(loans=(date(2020, 1, 1),))).reason == "ok"


def purse(**parts: Any) -> dict[str, Any]:
    return {"balance": {"account": "b", **parts}}


def test_a_tap_that_names_no_amount_spends_nothing_and_asks_nobody() -> None:
    service = limited(purse(confirm={"over_pence": 0, "by": ["holder"]}, per_period={"period": "day", "max_pence": 5}))
    shown = taps(service, state=State(balance_pence=None, ledger=Book(5)))
    assert (shown.reason, shown.effects) == ("ok", ())
    assert taps(service, state=State(ledger=Book(6))).reason == "weekly_limit"
    assert taps(service, TapInput(amount_pence=1), State(balance_pence=9, ledger=Book())).reason == "needs_confirmation"


@pytest.mark.parametrize(
    ("pence", "reason"), [(1, "ok"), (4, "ok"), (5, "ok"), (6, "weekly_limit"), (9, "weekly_limit")]
)
def test_the_cap_of_a_period_holds_for_one_purchase_where_there_is_no_ledger(pence: int, reason: str) -> None:
    service = limited(purse(per_period={"period": "day", "max_pence": 5}))
    assert taps(service, TapInput(amount_pence=pence), State(balance_pence=50)).reason == reason


def test_an_item_that_may_not_be_bought_is_said_before_any_limit() -> None:
    quota = {"quota": {"id": "q", "period": "day", "max": 1}}
    service = limited(quota, purse(), allow_only_items=["tea"], kind="spend")
    tap = TapInput(item="beer", amount_pence=900)
    assert taps(service, tap, State(ledger=Book(1), balance_pence=0)).reason == "item_not_in_plan"
    assert taps(service, tap, State(balance_pence=0)).reason == "item_not_in_plan"


def test_a_household_spends_one_purse_and_somebody_of_no_household_their_own() -> None:
    service = limited(purse(scope="household", per_period={"period": "day", "max_pence": 50}))
    for keys, key in (({"person": "p1", "household": "h1"}, "h1"), ({"person": "p1"}, "p1")):
        book = Book()
        whole = subject_of(service, AT)
        subject = Subject(card=CardState.ACTIVE, profile=whole.profile, keys=keys)
        state = State(balance_pence=50, ledger=book)
        decision = decide(service, subject, moment(AT), TapInput(amount_pence=50), state)
        assert decision.effects == (Effect(account="b", units=50, key=key),)
        assert [asked[:2] for asked in book.asked] == [("b", key)]


@pytest.mark.parametrize(
    ("mode", "online", "reason"),
    [
        ("ignore", True, "full"),
        ("ignore", False, "ok"),
        ("enforce", False, "full"),
        ("local_only", False, "full"),
    ],
)
def test_heads_are_counted_offline_unless_the_service_says_otherwise(mode: str, online: bool, reason: str) -> None:
    service = limited({"capacity": {"max": 2}}, offline={"capacity": mode})
    assert taps(service, state=State(presence=Presence(zone_count=2)), online=online).reason == reason


def test_children_need_room_too_and_an_unknown_count_is_an_empty_zone() -> None:
    rule = {"accompanied_by": {"children_under": 8, "max": 3}}
    service = limited({"capacity": {"max": 3}}, delegation=rule, who={"age": {"gte": 0}})
    subject = subject_of(service, AT, date_of_birth="1980-05-05")
    for count, children, reason in ((1, 1, "ok"), (1, 2, "full"), (2, 2, "full"), (None, 2, "ok"), (None, 3, "full")):
        for presence in (Presence(zone_count=count), None if count is None else Presence(zone_count=count)):
            state = State(presence=presence)
            assert decide(service, subject, moment(AT), TapInput(children=children), state).reason == reason


@pytest.mark.parametrize(("counted", "here"), [("east", "west"), ("west", "east")])
def test_the_crowd_of_another_zone_does_not_shut_this_one(counted: str, here: str) -> None:
    service = limited({"capacity": {"max": 1, "zone": counted}})
    full = State(presence=Presence(zone_count=1))
    assert taps(service, state=full, zone=here).reason == "ok"
    assert taps(service, state=full, zone=counted).reason == "full"
    assert taps(service, state=full).reason == "full", "a reader that knows no zone counts all heads"


@pytest.mark.parametrize(("mode", "reason"), [("cached_today", "ok"), ("deny", "no_booking")])
def test_a_booking_that_came_before_the_cut_opens_the_door_where_the_service_believes_it(
    mode: str, reason: str
) -> None:
    service = limited({"booking": {"resource": "r"}}, offline={"bookings": mode})
    booked = State(booking=Booking(start=Instant(AT - 60), end=Instant(AT + 60)))
    assert taps(service, state=booked, online=False).reason == reason
    assert taps(service, state=booked).reason == "ok"


def test_a_booking_is_still_over_an_hour_after_its_end() -> None:
    service = limited({"booking": {"resource": "r"}})
    assert taps(service, state=State(booking=Booking(start=Instant(AT - 7200), end=Instant(AT - 3600)))).reason == (
        "booking_over"
    )


@pytest.mark.parametrize("party", [1, 2, 3, 4, 5])
def test_a_booked_party_is_its_holder_and_everybody_else(party: int) -> None:
    service = limited({"booking": {"resource": "r", "party_max": party}})
    booked = State(booking=Booking(start=Instant(AT - 60), end=Instant(AT + 60)))
    assert taps(service, TapInput(children=party - 1), booked).reason == "ok"
    assert taps(service, TapInput(children=party), booked).reason == "too_many_children"


@pytest.mark.parametrize(
    "limit",
    [{"quota": {"id": "b", "period": "grant", "max": 9}}, purse(per_period={"period": "grant", "max_pence": 9})],
)
@pytest.mark.parametrize(
    ("segments", "since"),
    [
        ([(None, None, 0)], None),
        ([(-900, None, 0)], -900),
        ([(-900, -100, 0), (-100, None, 0)], -900),  # one right, another price
        ([(-900, -100, 0), (-50, None, 0)], -50),  # an interruption
        ([(-900, -100, 1), (-100, None, 0)], -100),  # not known to be eligible before
        ([(-900, -100, 3), (-100, None, 0)], -100),
        ([(-900, -100, 2), (-100, None, 0)], -900),  # a child's right goes on when the child has grown up
        ([(None, -100, 0), (-100, 50, 0), (50, None, 0)], None),  # what comes later does not count
        ([(-900, 50, 0), (60, None, 0)], -900),
        ([(0, None, 0)], 0),
    ],
)
def test_units_of_a_grant_count_from_where_it_began_without_a_break(
    limit: dict[str, Any], segments: list[tuple[int | None, int | None, int]], since: int | None
) -> None:
    service = limited(limit)

    def moved(offset: int | None) -> Instant | None:
        return None if offset is None else Instant(AT + offset)

    profile = Profile(
        grants=[(service.id, tuple(Segment(moved(a), moved(b), Verdict(word)) for a, b, word in segments))]
    )
    book = Book()
    subject = Subject(card=CardState.ACTIVE, profile=profile, keys={"person": "p1"})
    tap, state = TapInput(amount_pence=1), State(ledger=book, balance_pence=5)
    assert decide(service, subject, moment(AT), tap, state).reason == "ok"
    assert book.asked == [("b", "p1", moved(since), None)]


@pytest.mark.parametrize("period", ["day", "week", "month", "year", "night", "rolling", "grant"])
def test_only_a_limit_over_a_grant_makes_a_profile_look_at_the_past(period: str) -> None:
    days = {"days": 3} if period == "rolling" else {}
    for limit in (
        {"quota": {"id": "q", "period": period, "max": 1, **days}},
        purse(per_period={"period": period, "max_pence": 1, **days}),
    ):
        assert limited(limit).grant_quota is (period == "grant")
    assert limited(purse()).grant_quota is False
