"""From the states of cards to the array of a status list. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from entitlements.credential.statusbits import Status, packed_bytes, status_at, with_statuses
from entitlements.model import CardState

BITS: Final = 2
"""Three statuses need two bits."""
STEP: Final = 2**16
"""The list grows by so many entries at a time. Unissued indexes look like valid cards, so its length does not tell how
many cards there are (draft, section "Linkability Mitigation"), and 16 kB of zeros cost some 20 bytes on the wire."""

STATUS_OF: Final[Mapping[CardState, Status]] = {
    CardState.ACTIVE: Status.VALID,
    CardState.SUSPENDED: Status.SUSPENDED,
    CardState.LOST: Status.INVALID,
    CardState.REPLACED: Status.INVALID,
    CardState.EXPIRED: Status.INVALID,
    CardState.REVOKED: Status.INVALID,
}
"""``INVALID`` is for good, and no event brings a lost, replaced, expired or revoked card back. The status of an expired
card is not asked for (draft, section "Validation Rules"), so either would do: as ``INVALID`` it also stops at a relying
party that forgot to look at ``exp``, and old stretches of the list become uniform, which is what compresses best."""


def entries_for(cards_numbered: int) -> int:
    """How long the list is: with room for a whole step of cards that are issued while somebody keeps it."""
    return (cards_numbered // STEP + 2) * STEP


def grown(packed: bytes, entries: int) -> bytes:
    """The array with at least so many entries, the new ones valid; the very same where it has them."""
    size = packed_bytes(entries, BITS)
    return packed if len(packed) >= size else packed.ljust(size, b"\0")


def changed(packed: bytes, changes: Iterable[tuple[int, CardState]]) -> bytes:
    """The array after some cards changed; the very same where it says so already.

    :param changes: index and present state of each card. The array grows where one lies beyond it.
    """
    wanted = {index: int(STATUS_OF[state]) for index, state in changes}
    news = {index: status for index, status in wanted.items() if status_at(packed, index, BITS) != status}
    if not news:
        return packed
    highest = max(news)
    if packed_bytes(highest + 1, BITS) > len(packed):
        packed = grown(packed, entries_for(highest + 1))
    return with_statuses(packed, news.items(), BITS)
