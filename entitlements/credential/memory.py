"""Cards whose signature was found good before, so that a regular visitor costs no second signature check.

Revocation and entitlement are not remembered: they are looked up every time, elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential.claims import VerifiedCard
from entitlements.credential.es256 import decompress
from entitlements.credential.keys import KeySet, VerificationKey

MEMORY_CARDS: Final = 20_000
"""Cards remembered by one daemon: a large site's visitors of some weeks, about 14 MB."""
MEMORY_DEVICE_KEYS: Final = 4_000
"""Phones' keys kept ready: 2 kB each, 8 MB. Reading one anew costs a third of a signature check."""


class VerifiedMemory:
    """Cards whose signature was found good before, by the SHA-256 of their exact bytes; the least recently seen goes.

    An entry counts only as long as the very same key is in the key set, and its times are judged anew each time, so
    a key that is taken out or a card that expires is refused at once. Not shared between threads.

    :param capacity: cards remembered at most, at least 1.
    :raises ValueError: if ``capacity`` is less.
    """

    __slots__ = ("_cards", "_device_keys", "capacity")

    def __init__(self, capacity: int = MEMORY_CARDS) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self._cards: OrderedDict[bytes, tuple[VerifiedCard, VerificationKey]] = OrderedDict()
        self._device_keys: OrderedDict[bytes, ec.EllipticCurvePublicKey] = OrderedDict()

    def recall(self, token_digest: bytes, keys: KeySet) -> VerifiedCard | None:
        """Give the card that these exact bytes were verified as, if its key is still believed."""
        entry = self._cards.get(token_digest)
        if entry is None:
            return None
        card, key = entry
        believed = keys.get(card.kid)
        # A refetched set holds equal keys in new objects; identity is merely the quick way to see equality.
        if believed is not key and believed != key:
            del self._cards[token_digest]
            return None
        self._cards.move_to_end(token_digest)
        return card

    def remember(self, token_digest: bytes, card: VerifiedCard, key: VerificationKey) -> None:
        """Keep a verified card; ``token_digest`` is the SHA-256 of the exact bytes presented."""
        self._cards[token_digest] = (card, key)
        self._cards.move_to_end(token_digest)
        if len(self._cards) > self.capacity:
            self._cards.popitem(last=False)

    def forget(self, token_digest: bytes) -> None:
        """Drop a card that will not be good again."""
        self._cards.pop(token_digest, None)

    def device_key(self, point: bytes) -> ec.EllipticCurvePublicKey:
        """A phone's public key, ready to verify with.

        :param point: the compressed point of a card's claims, which were checked when they were made.
        """
        known = self._device_keys.get(point)
        if known is not None:
            self._device_keys.move_to_end(point)
            return known
        key = self._device_keys[point] = decompress(point)
        if len(self._device_keys) > min(self.capacity, MEMORY_DEVICE_KEYS):
            self._device_keys.popitem(last=False)
        return key

    def __len__(self) -> int:
        return len(self._cards)
