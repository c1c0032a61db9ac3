"""The 8-byte cache row of one card in one feed, and how a card is matched to it.

A row is one little-endian 64-bit word at position ``index`` of a dense array::

    bits 63..32  tag      first four bytes of the card id: a reused or forged index does not match
    bits 31..8   profile  number of the interned profile (0 to 16,777,215)
    bits  7..4   flags    reserved, 0
    bits  3..0   state    0 = no card here, else CardState as in STATE_CODES
"""

from __future__ import annotations

from typing import Final

from entitlements.model import CardId, CardState

ROW_BYTES: Final = 8
MAX_PROFILE: Final = (1 << 24) - 1
EMPTY_ROW: Final = 0

STATE_CODES: Final[dict[CardState, int]] = {
    CardState.ACTIVE: 1,
    CardState.SUSPENDED: 2,
    CardState.LOST: 3,
    CardState.REPLACED: 4,
    CardState.EXPIRED: 5,
    CardState.REVOKED: 6,
}
STATES: Final[tuple[CardState | None, ...]] = (
    None,
    CardState.ACTIVE,
    CardState.SUSPENDED,
    CardState.LOST,
    CardState.REPLACED,
    CardState.EXPIRED,
    CardState.REVOKED,
    *([None] * 9),
)
"""State by code; ``None`` for no card and for codes this version does not know."""


def card_tag(card_id: CardId) -> int:
    """The 32-bit tag of an 8-byte card id. Ids are random, so their first bytes are as good as a hash."""
    return int.from_bytes(card_id[:4], "big")


def pack_row(*, tag: int, profile: int, state: CardState) -> int:
    """One row as an unsigned 64-bit integer.

    Raises:
        ValueError: the tag or profile number does not fit its field.
    """
    if not 0 <= tag < 1 << 32:
        raise ValueError(f"tag {tag} does not fit 32 bits")
    if not 0 <= profile <= MAX_PROFILE:
        raise ValueError(f"profile number {profile} does not fit 24 bits")
    return tag << 32 | profile << 8 | STATE_CODES[state]


def unpack_row(row: int) -> tuple[int, int, CardState | None]:
    """``(tag, profile, state)`` of a row; the state is ``None`` where there is no card."""
    return row >> 32, row >> 8 & MAX_PROFILE, STATES[row & 0xF]
