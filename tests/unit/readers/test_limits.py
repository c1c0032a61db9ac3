"""Limits at the gate: nobody loses what is theirs, and nobody gets the last unit twice."""

from __future__ import annotations

from typing import Any

import pytest

from entitlements.model import CardState
from readers.journal import Journal
from tests.unit.readers.kit import counted
from tests.unit.readers.kit.council import NOON, Card, Council
from tests.unit.readers.kit.counted import HOUR, SWIM
from tests.unit.readers.kit.desk import Open

WEEK = 7 * 86_400


def one_swimmer(most: int = 2, **members: Any) -> tuple[Council, Card]:
    """A council with a counted service and one person who has used nothing."""
    council = counted.council_with(counted.swims(most, **members))
    card = council.issue(in_snapshot=True)
    counted.holder(council, card, in_snapshot=True)
    return council, card


# -- quotas --


def test_the_unit_after_the_last_is_refused_and_the_next_week_begins_anew(opened: Open) -> None:
    council, card = one_swimmer()
    desk = opened(council)
    assert [desk.enter(card)[1] for _ in range(3)] == ["ok", "ok", "quota_used"]
    desk.now += WEEK
    assert desk.enter(card)[1] == "ok"


def test_what_was_used_elsewhere_counts_also_when_it_is_told_late(opened: Open) -> None:
    council, card = one_swimmer()
    desk = opened(council)
    counted.units(council, "person-0", at=NOON - 8 * 86_400)  # of last week
    desk.listen()
    assert desk.enter(card)[1] == "ok"
    counted.units(council, "person-0", at=NOON - 60)  # happened before ours, told after it
    desk.listen()
    assert desk.enter(card)[1] == "quota_used"
    counted.units(council, "person-0", -1, at=NOON - 30)  # staff put something right
    desk.listen()
    assert desk.enter(card)[1] == "ok"


def test_the_echo_of_our_own_tap_is_not_a_second_visit(opened: Open) -> None:
    council, card = one_swimmer()
    desk = opened(council)
    tap, _ = desk.enter(card)
    counted.units(council, "person-0", at=desk.now, entry=tap)
    desk.listen()
    assert desk.own.waiting == 0
    assert [desk.enter(card)[1] for _ in range(2)] == ["ok", "quota_used"]


def test_a_renewed_card_resets_nothing(opened: Open) -> None:
    council, old = one_swimmer()
    desk = opened(council)
    for _ in range(2):
        desk.enter(old)
    council.put(old, CardState.REPLACED)
    new = council.issue()
    counted.holder(council, new, keys={"person": "person-0"})
    desk.listen()
    assert (desk.reason(old), desk.reason(new)) == ("card_replaced", "quota_used")


def test_a_household_shares_its_visits_and_somebody_alone_is_a_household(opened: Open) -> None:
    council = counted.council_with(counted.swims(2, scope="household"))
    cards = [council.issue(in_snapshot=True) for _ in range(3)]
    for card, home in zip(cards, ("h", "h", None), strict=True):
        keys = {"person": f"p{card.claims.index}"} | ({} if home is None else {"household": home})
        counted.holder(council, card, in_snapshot=True, keys=keys)
    desk = opened(council)
    assert [desk.enter(card)[1] for card in cards] == ["ok", "ok", "ok"]
    assert [desk.enter(card)[1] for card in cards] == ["quota_used", "quota_used", "ok"]


def test_units_of_a_permit_are_kept_by_the_key_of_the_service(opened: Open) -> None:
    council = counted.council_with(counted.swims(1, scope="permit"))
    first, second = council.issue(in_snapshot=True), council.issue(in_snapshot=True)
    for card in (first, second):  # two people on one permit
        counted.holder(council, card, in_snapshot=True, keys={"person": "x"}, own={SWIM: {"permit": "m"}})
    desk = opened(council)
    assert (desk.enter(first)[1], desk.reason(second)) == ("ok", "quota_used")


def test_two_lanes_at_the_same_instant_do_not_both_give_the_last_unit(opened: Open) -> None:
    council, card = one_swimmer(1)
    second = council.issue(in_snapshot=True)
    counted.holder(council, second, in_snapshot=True, keys={"person": "person-0"})
    desk = opened(council)
    tap, judgement = desk.release(card, "in-1")
    assert desk.reason(second, "in-2") == "quota_used"
    desk.own.let_go(tap)
    assert desk.reason(second, "in-2") == "ok", "nobody passed, so the unit is there again"
    assert judgement.decision.reason == "ok"


def test_a_repeated_scan_takes_no_unit(opened: Open) -> None:
    council, card = one_swimmer(1, presence={"min_gap": "PT2M"})
    desk = opened(council)
    assert [desk.enter(card)[1] for _ in range(3)] == ["ok", "repeat_scan", "repeat_scan"]
    assert desk.own.ledger(desk.holdings).used("swims", "person-0", None, None) == 1
    desk.now += 120
    assert desk.reason(card) == "quota_used"


def test_a_holder_nobody_told_of_is_not_let_in_on_an_empty_account(opened: Open) -> None:
    council = counted.council_with(counted.swims())
    card = council.issue(in_snapshot=True)
    desk = opened(council)
    assert desk.reason(card) == "eligibility_unknown"
    counted.holder(council, card)
    desk.listen()
    assert desk.reason(card) == "ok"


# -- offline --


def test_a_site_that_is_cut_off_gives_its_lease_and_not_one_unit_more(opened: Open) -> None:
    council, card = one_swimmer(9, lease=2)
    other = council.issue(in_snapshot=True)
    counted.holder(council, other, in_snapshot=True)
    desk = opened(council)
    first, _ = desk.enter(card)  # on line: not of the lease
    desk.feed.online = False
    taps = [desk.enter(card) for _ in range(3)]
    assert [reason for _, reason in taps] == ["ok", "ok", "offline_allowance_used"]
    assert desk.enter(other)[1] == "ok", "the lease is for each account"
    desk.feed.online = True
    assert desk.enter(card)[1] == "ok"
    desk.feed.online = False
    assert desk.reason(card) == "offline_allowance_used", "on line again, but the service has not heard of it yet"
    for tap, _ in [(first, ""), *taps[:1]]:
        counted.units(council, "person-0", at=desk.now, entry=tap)
    desk.listen()
    assert [desk.enter(card)[1] for _ in range(2)] == ["ok", "offline_allowance_used"]


def test_the_lease_does_not_outbid_the_quota(opened: Open) -> None:
    council, card = one_swimmer(1, lease=5)
    desk = opened(council)
    desk.feed.online = False
    assert [desk.enter(card)[1] for _ in range(2)] == ["ok", "quota_used"]


def test_without_a_lease_nothing_counted_is_given_while_cut_off(opened: Open) -> None:
    council, card = one_swimmer(lease=None)
    desk = opened(council)
    desk.feed.online = False
    assert desk.reason(card) == "offline_allowance_used"


async def test_the_lease_spent_is_still_spent_after_a_restart(opened: Open, journal: Journal) -> None:
    council, card = one_swimmer(9, lease=1)
    desk = opened(council)
    desk.feed.online = False
    assert desk.enter(card)[1] == "ok"
    await desk.own.flush()
    again = opened(council)
    again.feed.online = False
    await again.own.load()
    assert again.reason(card) == "offline_allowance_used"
    again.feed.online = True
    assert again.reason(card) == "ok"


def test_a_tap_rejected_for_good_gives_lease_and_quota_back(opened: Open) -> None:
    council, card = one_swimmer(1, lease=1)
    desk = opened(council)
    desk.feed.online = False
    tap, _ = desk.enter(card)
    assert desk.reason(card) == "quota_used"
    desk.own.settle([], [tap], 0)
    assert desk.reason(card) == "ok"


# -- bookings --

ROOM = counted.document(
    kind="book",
    limits=[{"booking": {"resource": "room-1", "early": "PT10M", "late": "PT15M"}}],
    offline={"max_stale": "P7D", "bookings": "cached_today"},
)


def booker() -> tuple[Council, Card]:
    council = counted.council_with(ROOM)
    card = council.issue(in_snapshot=True)
    counted.holder(council, card, in_snapshot=True)
    return council, card


@pytest.mark.parametrize(
    ("after_start", "reason"),
    [
        (-601, "too_early"),
        (-600, "ok"),
        (0, "ok"),
        (900, "ok"),
        (901, "booking_released"),
        (2 * HOUR, "booking_released"),
    ],
)
def test_a_booking_opens_the_room_in_its_time_and_not_outside_it(opened: Open, after_start: int, reason: str) -> None:
    council, card = booker()
    desk = opened(council)
    assert desk.reason(card) == "no_booking"
    counted.booking(council, "person-0", NOON, NOON + HOUR)
    desk.listen()
    desk.now = NOON + after_start
    assert desk.reason(card) == reason


def test_who_has_come_may_come_back_until_the_end_also_while_cut_off(opened: Open) -> None:
    council, card = booker()
    desk = opened(council)
    counted.booking(council, "person-0", NOON, NOON + HOUR)
    desk.listen()
    desk.feed.online = False
    assert desk.enter(card)[1] == "ok"
    desk.now = NOON + 1800
    assert desk.reason(card) == "ok", "checked in here, though the service has not heard of it"
    desk.now = NOON + HOUR
    assert desk.reason(card) == "booking_over"


def test_of_several_bookings_the_one_that_opens_the_door_counts(opened: Open) -> None:
    council, card = booker()
    desk = opened(council)
    counted.booking(council, "person-0", NOON - 2 * HOUR, NOON - 300, name="over")
    counted.booking(council, "person-0", NOON - HOUR, NOON + HOUR, name="released")
    counted.booking(council, "person-0", NOON + 600, NOON + HOUR, name="next")
    counted.booking(council, "somebody", NOON, NOON + HOUR, name="not mine")
    desk.listen()
    assert desk.reason(card) == "ok"
    counted.booking(council, "person-0", NOON + 600, NOON + HOUR, name="next", gone=True)
    desk.listen()
    assert desk.reason(card) == "booking_released"


# -- loans --

TOOLS = counted.document(
    kind="loan", limits=[{"loan": {"pool": "tools", "max_out": 2, "period": "P28D", "block_if_overdue_days": 14}}]
)


def test_only_so_many_items_are_lent_and_none_to_whoever_keeps_one_too_long(opened: Open) -> None:
    council = counted.council_with(TOOLS)
    card = council.issue(in_snapshot=True)
    counted.holder(council, card, in_snapshot=True)
    desk = opened(council)
    first, reason = desk.enter(card)
    assert reason == "ok"
    assert next(iter(desk.own.loans("tools", "person-0").values())).due == "2026-06-29"
    counted.loan(council, "person-0", "2026-06-20")
    desk.listen()
    assert desk.enter(card)[1] == "loan_limit"
    counted.loan(council, "person-0", "2026-06-29", name=first)  # the feed tells of the one lent here
    desk.listen()
    assert (desk.own.waiting, desk.reason(card)) == (0, "loan_limit")
    counted.loan(council, "person-0", "2026-06-20", gone=True)
    desk.listen()
    assert desk.reason(card) == "ok"
    desk.now = NOON + 42 * 86_400  # 13 July, fourteen days after the day it was due
    assert desk.reason(card) == "overdue_block"


def test_a_loan_that_the_service_numbers_itself_is_counted_once(opened: Open) -> None:
    council = counted.council_with(TOOLS)
    card = council.issue(in_snapshot=True)
    counted.holder(council, card, in_snapshot=True)
    desk = opened(council)
    tap, _ = desk.enter(card)
    desk.own.settle([tap], [], desk.now * 1000)
    counted.loan(council, "person-0", "2026-06-29", name="numbered by the service")
    desk.listen()
    desk.reconcile(confirmed_at=(desk.now + 6) * 1000)
    assert desk.reason(card) == "ok"
    assert [reason for _, reason in (desk.enter(card), desk.enter(card))] == ["ok", "loan_limit"]


# -- other systems --


@pytest.mark.parametrize(
    ("if_unknown", "old", "silent"),
    [
        ("deny", "library_check_unavailable", "library_check_unavailable"),
        ("allow", "ok", "ok"),
        ("refer", "library_check_unavailable", "library_check_unavailable"),
    ],
)
def test_another_systems_word_counts_as_long_as_it_is_fresh(
    opened: Open, if_unknown: str, old: str, silent: str
) -> None:
    rule = {"upstream": "lms", "check": "not_blocked", "max_age": "PT1H", "if_unknown": if_unknown}
    council = counted.council_with(counted.document(requires=[rule]))
    card = council.issue(in_snapshot=True)
    counted.holder(council, card, in_snapshot=True)
    desk = opened(council)
    assert desk.reason(card) == silent
    counted.word(council, "person-0", at=NOON - HOUR, not_blocked=True)
    desk.listen()
    assert desk.reason(card) == "ok"
    desk.now += 1
    assert desk.reason(card) == old
    counted.word(council, "person-0", at=NOON + 60, not_blocked=False)  # said by a clock a little ahead of ours
    desk.listen()
    assert desk.reason(card) == "library_blocked"
