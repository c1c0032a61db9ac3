"""If these fail, a lost card looks like a good one in the council's list, or the list is too short for a new card."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardservice.cards.numbering import BLOCK
from cardservice.cards.states import TRANSITIONS, next_state
from cardservice.status.array import BITS, STATUS_OF, STEP, changed, entries_for, grown
from entitlements.credential.statusbits import Status, packed_bytes, status_at
from entitlements.model import CardState

changes = st.lists(st.tuples(st.integers(0, 300), st.sampled_from(CardState)), max_size=40)
relaxed = settings(deadline=None)


def test_every_state_has_a_status_and_only_active_cards_are_valid():
    assert set(STATUS_OF) == set(CardState)
    assert [state for state, status in STATUS_OF.items() if status is Status.VALID] == [CardState.ACTIVE]


@pytest.mark.parametrize("event", TRANSITIONS)
def test_what_the_list_calls_final_is_final(event):
    for state in CardState:
        after = next_state(state, event)
        if after is not None and STATUS_OF[state] is Status.INVALID:
            assert STATUS_OF[after] is Status.INVALID


@given(before=changes, later=changes)
@relaxed
def test_the_list_says_what_each_card_became_last(before, later):
    packed = changed(changed(grown(b"", 200), before), later)
    became = dict(before) | dict(later)
    for index in range(301):
        status = status_at(packed, index, BITS)
        assert (status or Status.VALID) == STATUS_OF[became.get(index, CardState.ACTIVE)]
    assert changed(packed, became.items()) is packed, "nothing new, nothing to sign"


@given(numbered=st.integers(0, 2**24 - 3 * STEP))
@relaxed
def test_the_list_reaches_beyond_every_card_that_the_next_hours_may_bring(numbered):
    last_block_ends = (numbered // BLOCK + 1) * BLOCK
    assert entries_for(numbered) >= last_block_ends + STEP - BLOCK
    assert len(grown(b"", entries_for(numbered))) == packed_bytes(entries_for(numbered), BITS)
