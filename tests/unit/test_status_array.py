"""If these fail, a lost card looks like a good one in the council's list, or the list is too short for a new card."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardservice.cards.numbering import BLOCK
from cardservice.cards.states import TRANSITIONS, next_state
from cardservice.status.array import BITS, STATUS_OF, STEP, changed, entries_for, grown
from entitlements.credential.status import StatusList, read_status_list, sign_status_list
from entitlements.credential.statusbits import Status, packed_bytes, status_at
from entitlements.model import CardState, Instant
from tests.support.cards import KEY, KEYS, NOW

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


TEN_MILLION = 10_000_000
URI = "https://cards.example/v1/tenants/wcc/status"


def test_ten_million_cards_built_change_by_change_are_the_list_made_at_once_and_can_be_read():
    dice = random.Random(10)
    became: dict[int, CardState] = {}
    packed = b""
    for numbered in range(TEN_MILLION // 20, TEN_MILLION + 1, TEN_MILLION // 20):
        some = {dice.randrange(numbered): dice.choice(list(CardState)) for _ in range(1000)}
        packed = changed(grown(packed, entries_for(numbered)), some.items())
        became |= some
    assert packed == changed(grown(b"", entries_for(TEN_MILLION)), became.items())
    made = StatusList(
        uri=URI, issued_at=Instant(NOW), expires_at=Instant(NOW + 86_400), ttl=300, bits=BITS, packed=packed
    )
    read = read_status_list(sign_status_list(made, KEY, quick=True), KEYS, NOW, uri=URI)
    assert read == made
    assert made.entries >= TEN_MILLION
    for index, state in dice.sample(sorted(became.items()), 50):
        assert status_at(packed, index, BITS) == STATUS_OF[state]
