"""Index of a card: dense, but in no order that tells who came when.

The n-th card of a council gets index ``1024 * (n // 1024) + p(n % 1024)``, where ``p`` is a permutation of the block,
keyed by the council's secret. So the rows of a cache stay dense to within one block, while two indexes of one block do
not tell which card is older (Token Status List draft, section "Unlinkability": indices in no guessable order).

The permutation is a Feistel network on 10 bits: a bijection whatever its round function is.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from entitlements.model import CardIndex

BLOCK: Final = 1024
"""Cards numbered before the next block is begun: 8 kB of cache rows, a few days of a council's issues."""
_HALF_BITS: Final = 5
_HALF_MASK: Final = (1 << _HALF_BITS) - 1
ROUNDS: Final = 6
"""Four make a Feistel network a good permutation (Luby and Rackoff, 1988); halves of 5 bits get two more."""


def card_index(number: int, secret: bytes) -> CardIndex:
    """Index of the ``number``-th card (from 0) of the council with this secret.

    Raises:
        ValueError: the number is negative.
    """
    if number < 0:
        raise ValueError("cards are numbered from 0")
    block, offset = divmod(number, BLOCK)
    left, right = offset >> _HALF_BITS, offset & _HALF_MASK
    for turn in range(ROUNDS):
        left, right = right, left ^ _round(secret, block, turn, right)
    return CardIndex(block * BLOCK + (left << _HALF_BITS | right))


def _round(secret: bytes, block: int, turn: int, half: int) -> int:
    message = block.to_bytes(8, "big") + bytes((turn, half))
    return hmac.digest(secret, message, hashlib.sha256)[0] & _HALF_MASK
