"""Who acts for whom, and who is inside: a helper is let in for the right person, and nobody passes a card back."""

from __future__ import annotations

from typing import Any

import pytest

from entitlements.model import CardState
from entitlements.wire.state import Acting, ActingGrant
from readers.own import OwnUnits
from tests.unit.readers.kit import counted
from tests.unit.readers.kit.council import NOON, Card, Council
from tests.unit.readers.kit.counted import SWIM
from tests.unit.readers.kit.desk import Open

WEEK = 7 * 86_400


# -- delegates --


def delegates(**grant: Any) -> tuple[Council, Card, Card]:
    """A holder, and somebody without a right of their own who may collect for them."""
    text = counted.swims(2, delegation={"acts_for": {"scopes": ["collect"]}}, presence={"anti_passback": "person"})
    council = counted.council_with(text)
    owner, friend = council.issue(in_snapshot=True), council.issue(in_snapshot=True)
    council.put(friend, CardState.ACTIVE, profile=1)
    counted.holder(council, owner, in_snapshot=True)
    counted.holder(council, friend, in_snapshot=True, acts_for=acting(owner, **grant))
    return council, owner, friend


def acting(owner: Card, **grant: Any) -> tuple[Acting, ...]:
    given = ActingGrant(**({"scopes": ("collect",)} | grant))
    return (Acting(index=owner.claims.index, tag=owner.tag, grants=(given,)),)


def test_a_delegate_uses_the_holders_units_and_the_tap_says_for_whom(opened: Open) -> None:
    council, owner, friend = delegates()
    desk = opened(council)
    tap, judgement = desk.release(friend)
    assert (judgement.decision.reason, judgement.acting) == ("ok", True)
    assert judgement.party is not None
    assert judgement.party.index == owner.claims.index
    (taken,) = desk.gate.own_of(judgement)
    assert isinstance(taken, OwnUnits)
    assert taken.key == "person-0"
    desk.passed(tap, judgement)
    assert desk.reason(owner) == "already_inside", "it is the holder's visit"
    desk.leave(friend)
    assert desk.enter(owner)[1] == "ok", "and it ended when the delegate left"
    desk.leave(owner)
    assert (desk.reason(owner), desk.reason(friend)) == ("quota_used", "quota_used")


@pytest.mark.parametrize(
    ("grant", "reason"),
    [
        ({"scopes": ("spend",)}, "not_eligible"),
        ({"until": NOON}, "not_eligible"),
        ({"from_": NOON + 1}, "not_eligible"),
        ({"from_": NOON, "until": NOON + 1}, "ok"),
        ({"max_pence": 0}, "ok"),
    ],
)
def test_a_delegation_holds_for_its_scope_and_time(opened: Open, grant: dict[str, Any], reason: str) -> None:
    council, _, friend = delegates(**grant)
    assert opened(council).reason(friend) == reason


def test_a_delegation_taken_back_opens_nothing_from_then_on(opened: Open) -> None:
    council, _, friend = delegates()
    desk = opened(council)
    assert desk.reason(friend) == "ok"
    counted.holder(council, friend)
    desk.listen()
    assert desk.reason(friend) == "not_eligible"


@pytest.mark.parametrize("state", [state for state in CardState if state is not CardState.ACTIVE])
def test_neither_a_lost_card_of_the_holder_nor_of_the_delegate_opens(opened: Open, state: CardState) -> None:
    council, owner, friend = delegates()
    desk = opened(council)
    council.put(owner, state)
    desk.listen()
    assert desk.reason(friend) == "not_eligible"
    council.put(owner, CardState.ACTIVE)
    council.put(friend, state, profile=1)
    desk.listen()
    assert desk.reason(friend) == f"card_{state.value}"


def test_a_card_that_took_the_index_of_the_holders_lends_nothing(opened: Open) -> None:
    council, owner, friend = delegates()
    desk = opened(council)
    wrong = Acting(index=owner.claims.index, tag=owner.tag ^ 1, grants=(ActingGrant(scopes=("collect",)),))
    counted.holder(council, friend, acts_for=(wrong,))
    desk.listen()
    assert desk.reason(friend) == "not_eligible"


def test_a_delegates_own_right_comes_first_and_takes_their_own_units(opened: Open) -> None:
    council, owner, friend = delegates()
    desk = opened(council)
    council.put(friend, CardState.ACTIVE)
    counted.holder(council, friend, acts_for=acting(owner))
    desk.listen()
    judgements = []
    for _ in range(3):
        tap, judgement = desk.release(friend)
        judgements.append(judgement.acting)
        desk.passed(tap, judgement)
        desk.leave(friend)
    assert judgements == [False, False, True], "when their own are used up, they still may fetch for the holder"


def test_the_first_of_several_holders_who_has_a_unit_left_is_taken(opened: Open) -> None:
    council, owner, friend = delegates()
    second = council.issue(in_snapshot=True)
    counted.holder(council, second, in_snapshot=True)
    desk = opened(council)
    counted.holder(council, friend, acts_for=acting(owner) + acting(second))
    counted.units(council, "person-0", 2)
    desk.listen()
    judgement = desk.judge(friend)
    assert judgement.decision.reason == "ok"
    assert judgement.party is not None
    assert judgement.party.index == second.claims.index


# -- presence --


def passback(scope: str = "person") -> Council:
    return counted.council_with(counted.document(presence={"anti_passback": scope, "reset": "local_midnight"}))


def test_who_is_inside_is_inside_on_a_renewed_card_too(opened: Open) -> None:
    council = passback()
    old = council.issue(in_snapshot=True)
    counted.holder(council, old, in_snapshot=True)
    desk = opened(council)
    assert desk.enter(old)[1] == "ok"
    council.put(old, CardState.REPLACED)
    new = council.issue()
    counted.holder(council, new, keys={"person": "person-0"})
    desk.listen()
    assert desk.reason(new) == "already_inside"
    desk.leave(new)
    assert desk.enter(new)[1] == "ok"
    desk.leave(old)  # found in a pocket on the way out
    assert desk.reason(new) == "ok"


async def test_a_visit_of_a_person_is_still_theirs_after_a_restart(opened: Open) -> None:
    council = passback()
    card = council.issue(in_snapshot=True)
    counted.holder(council, card, in_snapshot=True)
    desk = opened(council)
    desk.enter(card)
    await desk.presence.flush()
    again = opened(council)
    await again.presence.load(again.now * 1000)
    assert again.reason(card) == "already_inside"
    assert again.presence.count(None) == 0
    assert again.presence.count(again.place().zone) == 1, "one head, however many keys the visitor has"
    again.leave(card)
    assert again.reason(card) == "ok"


def test_a_permit_is_used_by_one_at_a_time_until_that_one_leaves(opened: Open) -> None:
    council = counted.council_with(counted.document(presence={"one_at_a_time": "permit"}))
    cards = [council.issue(in_snapshot=True) for _ in range(2)]
    for card in cards:
        keys = {"person": f"p{card.claims.index}"}
        counted.holder(council, card, in_snapshot=True, keys=keys, own={SWIM: {"permit": "m"}})
    desk = opened(council)
    assert [desk.enter(card)[1] for card in cards] == ["ok", "already_inside"]
    desk.leave(cards[1])
    assert desk.reason(cards[1]) == "already_inside", "somebody else leaving does not free it"
    desk.leave(cards[0])
    assert desk.reason(cards[1]) == "ok"


def test_a_missed_exit_is_forgiven_once_and_not_for_ever(opened: Open) -> None:
    council = passback()
    card = council.issue(in_snapshot=True)
    counted.holder(council, card, in_snapshot=True)
    desk = opened(council)
    assert desk.enter(card)[1] == "ok"
    desk.now += 86_400
    assert [desk.enter(card)[1] for _ in range(2)] == ["ok", "already_inside"]


# -- what a gate cannot ask --


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"limits": [{"balance": {"account": "money", "unit": "GBP"}}], "kind": "spend"}, "money"),
        ({"allow_only_items": ["soap"]}, "items"),
    ],
)
def test_what_a_lane_has_no_input_for_goes_to_staff_in_plain_words(
    opened: Open, members: dict[str, Any], words: str
) -> None:
    council = counted.council_with(counted.document(**members))
    card, stranger = council.issue(in_snapshot=True), council.issue(in_snapshot=True)
    council.put(stranger, CardState.ACTIVE, profile=1)
    desk = opened(council)
    judgement = desk.judge(card)
    assert (judgement.decision.outcome, judgement.decision.reason) == ("refer", "offline_staff_only")
    assert words in (judgement.detail or "")
    assert "limits." not in (judgement.detail or "")
    assert desk.reason(stranger) == "not_eligible"


def test_a_photograph_of_a_card_does_not_pass_for_a_live_one(opened: Open) -> None:
    council = counted.council_with(counted.document(requires=[{"presentation": ["live", "chip"]}]))
    card = council.issue(in_snapshot=True)
    desk = opened(council)
    assert desk.reason(card) == "presentation_not_accepted"
