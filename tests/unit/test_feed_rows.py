"""The dense array of a snapshot: every card in its place, with its tag, state and profile, and nothing beside."""

from __future__ import annotations

import struct
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.feed import packing
from cardservice.feed.packing import RowPacker
from entitlements.model import CardState
from entitlements.wire.rows import MAX_PROFILE, STATE_CODES, unpack_row

Cards = dict[int, tuple[int, CardState, int]]
cards = st.dictionaries(
    st.integers(0, 300) | st.integers(0, 100_000),
    st.tuples(st.integers(0, (1 << 32) - 1), st.sampled_from(CardState), st.integers(0, MAX_PROFILE)),
    max_size=60,
)


def copied(given_cards: Cards) -> bytes:
    """As PostgreSQL's binary COPY writes it: header, rows of four fields, trailer."""
    rows = b"".join(
        struct.pack(">h iI i4s ih ii", 4, 4, index, 4, tag.to_bytes(4, "big"), 2, STATE_CODES[state], 4, profile)
        for index, (tag, state, profile) in sorted(given_cards.items())
    )
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows + b"\xff\xff"


async def pack(octets: bytes, pieces: int, block: int) -> RowPacker:
    packer = RowPacker()
    with mock.patch.object(packing, "BLOCK", block):
        for start in range(0, len(octets), pieces):
            await packer.write(octets[start : start + pieces])
    packer.finish()
    return packer


@given(cards, st.integers(1, 200), st.integers(1, 2000))
async def test_every_card_stands_at_its_index_however_the_copy_is_cut(made: Cards, pieces: int, block: int) -> None:
    packer = await pack(copied(made), pieces, block)
    assert packer.cards == len(made)
    assert packer.profiles == {profile for _, _, profile in made.values()}
    rows = struct.unpack(f"<{len(packer.rows) // 8}Q", packer.rows)
    assert len(rows) == (max(made) + 1 if made else 0)
    there = {index: row for index, row in enumerate(rows) if row}
    assert there.keys() == made.keys()
    for index, (tag, state, profile) in made.items():
        assert unpack_row(there[index]) == (tag, profile, state)


@pytest.mark.parametrize("wrong", [copied({})[:-2], copied({1: (2, CardState.ACTIVE, 3)})[:-1], copied({}) + b"x", b""])
async def test_a_copy_that_broke_off_is_never_taken_for_a_feed(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="did not end"):
        await pack(wrong, 7, 64)


async def test_rows_of_another_form_are_refused() -> None:
    octets = copied({1: (9, CardState.ACTIVE, 3)}).replace(struct.pack(">i", 2), struct.pack(">i", -1), 1)
    with pytest.raises(ValueError, match="not of the form"):
        await pack(octets, 1000, 64)
