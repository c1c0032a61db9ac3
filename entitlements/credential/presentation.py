"""From unverified bytes to a verified card or a reason: the one entry point of a gate.

A presentation tells its form by its first characters. A regular visitor's static card is remembered, so that a repeat
visit costs a hash and a dict look-up and no signature check; revocation is looked up every time, elsewhere.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from entitlements.credential.claims import Refused, UnverifiedPresentation, VerifiedCard, refusal_by_time
from entitlements.credential.jwt import CLOCK_LEEWAY, MAX_CARD_CHARS, verify_card
from entitlements.credential.keys import KeySet, VerificationKey
from entitlements.credential.sitesecrets import NO_SECRETS, SiteSecrets
from entitlements.model import Reason

JWT_PREFIX: Final = b"eyJ"
"""Base64url of ``{"``, with which every compact JWT begins."""
OTHER_PREFIXES: Final = (b"RP1:", b"RC1:", b"RG1:")
"""Card forms that exist but are not read here: paper CWT, live code, Google's rotating code."""
MEMORY_CARDS: Final = 20_000
"""Cards remembered by one daemon: a large site's visitors of some weeks, about 14 MB."""

NOT_A_CARD: Final = Refused(reason=Reason.PRESENTATION_NOT_ACCEPTED, detail="not a card code")
OTHER_FORM: Final = Refused(reason=Reason.PRESENTATION_NOT_ACCEPTED, detail="a form of card that is not read here")


class VerifiedMemory:
    """Cards whose signature was found good before, by the SHA-256 of their exact bytes; the least recently seen goes.

    An entry counts only as long as the very same key is in the key set, and its times are judged anew each time, so
    a key that is taken out or a card that expires is refused at once. Not shared between threads.

    :param capacity: cards remembered at most, at least 1.
    :raises ValueError: if ``capacity`` is less.
    """

    __slots__ = ("_cards", "capacity")

    def __init__(self, capacity: int = MEMORY_CARDS) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self._cards: OrderedDict[bytes, tuple[VerifiedCard, VerificationKey]] = OrderedDict()

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

    def __len__(self) -> int:
        return len(self._cards)


def verify_presentation(
    presentation: UnverifiedPresentation,
    keys: KeySet,
    now: int,
    memory: VerifiedMemory | None = None,
    leeway: int = CLOCK_LEEWAY,
    secrets: SiteSecrets = NO_SECRETS,
) -> VerifiedCard | Refused:
    """Turn what a reader received into a verified card or a reason. Never raises, whatever the bytes are.

    :param presentation: as received.
    :param keys: the keys believed here.
    :param now: seconds since the epoch.
    :param memory: where verified cards are remembered; ``None`` to verify every time.
    :param leeway: seconds by which ``now`` may be behind the issuer's clock.
    :param secrets: shared secrets of the site; without those of its issuer a rotating code is not accepted.
    """
    data = presentation.data
    if not data.startswith(JWT_PREFIX):
        return OTHER_FORM if data.startswith(OTHER_PREFIXES) else NOT_A_CARD
    if memory is None or len(data) > MAX_CARD_CHARS:
        return verify_card(data, keys, now, leeway)
    token_digest = hashlib.sha256(data).digest()
    known = memory.recall(token_digest, keys)
    if known is not None:
        refused = refusal_by_time(known.claims, now, leeway)
        if refused is None:
            return known
        memory.forget(token_digest)
        return refused
    result = verify_card(data, keys, now, leeway)
    if isinstance(result, VerifiedCard):
        key = keys.get(result.kid)
        if key is not None:
            memory.remember(token_digest, result, key)
    return result
