"""The index of a card."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardservice.cards.numbering import BLOCK, card_index

SECRETS = st.binary(min_size=16, max_size=64)


@settings(max_examples=25)
@given(SECRETS, st.integers(min_value=0, max_value=2_000_000))
def test_no_two_cards_of_a_council_share_a_cache_row(secret: bytes, block: int):
    first = block * BLOCK
    assert {card_index(first + offset, secret) for offset in range(BLOCK)} == set(range(first, first + BLOCK))


@given(SECRETS, st.integers(min_value=0, max_value=2**31 - 1))
def test_the_cache_stays_dense(secret: bytes, number: int):
    assert card_index(number, secret) // BLOCK == number // BLOCK


def test_the_index_does_not_tell_who_came_first():
    order = [card_index(number, b"a secret of the council") for number in range(BLOCK)]
    assert order != sorted(order)
    neighbours = sum(abs(one - other) == 1 for one, other in itertools.pairwise(order))
    assert neighbours < BLOCK // 20


def test_another_council_and_another_block_are_numbered_in_another_order():
    mine = [card_index(number, b"one secret, long enough") for number in range(BLOCK)]
    assert mine != [card_index(number, b"two secret, long enough") for number in range(BLOCK)]
    assert mine != [card_index(BLOCK + number, b"one secret, long enough") - BLOCK for number in range(BLOCK)]


def test_a_negative_number_is_a_fault():
    with pytest.raises(ValueError, match="from 0"):
        card_index(-1, b"secret")
