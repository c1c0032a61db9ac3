"""The life of a card, without a database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cardservice.cards.states import FINAL, TRANSITIONS, CardEvent, allowed_events, may_be_signed, next_state
from entitlements.model import CardState

EVENTS = st.lists(st.sampled_from(CardEvent), max_size=30)


def _live(events: list[CardEvent]) -> list[CardState]:
    """The states that a card goes through when refused events change nothing."""
    states = [CardState.ACTIVE]
    for event in events:
        states.append(next_state(states[-1], event) or states[-1])
    return states


@given(EVENTS)
def test_a_card_that_came_to_its_end_never_opens_a_gate_again(events: list[CardEvent]):
    states = _live(events)
    ended = next((at for at, state in enumerate(states) if state in FINAL), len(states))
    assert len(set(states[ended:])) <= 1
    assert not any(may_be_signed(state) for state in states[ended:])


@given(EVENTS)
def test_a_lost_card_that_a_finder_hands_in_stays_dead(events: list[CardEvent]):
    states = _live(events)
    if CardState.LOST in states:
        after = states[states.index(CardState.LOST) :]
        assert CardState.ACTIVE not in after
        assert CardState.SUSPENDED not in after


def test_final_states_are_those_that_no_event_leaves():
    assert {state for state in CardState if not allowed_events(state)} == FINAL


def test_only_an_active_card_is_ever_signed():
    assert {state for state in CardState if may_be_signed(state)} == {CardState.ACTIVE}


def test_a_hold_can_be_undone_and_nothing_else_brings_a_card_back():
    back = {event for event, table in TRANSITIONS.items() if CardState.ACTIVE in table.values()}
    assert back == {CardEvent.RESUME}
    assert next_state(CardState.SUSPENDED, CardEvent.RESUME) is CardState.ACTIVE


def test_a_suspension_cannot_be_walked_round_by_asking_for_a_new_card():
    for event in (CardEvent.RENEW, CardEvent.REPLACE, CardEvent.STEAL):
        assert next_state(CardState.SUSPENDED, event) is None


def test_every_card_that_still_lives_can_be_revoked_and_expires():
    for state in CardState:
        if state not in FINAL:
            assert next_state(state, CardEvent.REVOKE) is CardState.REVOKED
            assert next_state(state, CardEvent.EXPIRE) is CardState.EXPIRED
