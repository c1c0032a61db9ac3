"""The dense array of a snapshot: every card in its place, with its tag, state and profile, and nothing beside."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from cardservice.feed.snapshot import COPY_HEADER, pack_rows
from entitlements.model import CardState
from entitlements.wire.rows import STATE_CODES, unpack_row

cards = st.dictionaries(
    st.integers(0, 5000),
    st.tuples(st.integers(0, (1 << 32) - 1), st.sampled_from(CardState), st.sampled_from([7, 11, 4096])),
    max_size=60,
)


def _copied(given_cards: dict[int, tuple[int, CardState, int]]) -> memoryview:
    """As PostgreSQL's binary COPY writes it: header, rows of four fields, trailer."""
    rows = b"".join(
        struct.pack(">h iI i4s ih ii", 4, 4, index, 4, tag.to_bytes(4, "big"), 2, STATE_CODES[state], 4, profile)
        for index, (tag, state, profile) in given_cards.items()
    )
    return memoryview(b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows + b"\xff\xff")


@given(cards)
def test_every_card_stands_at_its_index(made: dict[int, tuple[int, CardState, int]]) -> None:
    numbers = {7: 0, 11: 1, 4096: 2}
    count, octets = pack_rows(_copied(made), numbers)
    assert count == len(made)
    assert len(octets) == (8 * (max(made) + 1) if made else 0)
    for index, row in enumerate(struct.unpack(f"<{len(octets) // 8}Q", octets)):
        if index in made:
            tag, state, profile = made[index]
            assert unpack_row(row) == (tag, numbers[profile], state)
        else:
            assert row == 0


def test_the_header_is_as_long_as_postgresql_writes_it() -> None:
    assert len(_copied({})) == COPY_HEADER + 2
