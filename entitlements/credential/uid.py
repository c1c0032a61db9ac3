"""Legacy cards known by nothing but their chip's serial number (``RU1:``): anybody can copy one, and it is said so.

Such a card proves no more than knowing a number that any reader in passing gets. It exists because libraries have such
cards in people's pockets; only a service whose document names ``uid`` takes it. Which card a number stands for is in a
table that a site holds if such a service is offered there, keyed by a hash under the council's key, so that the table
by itself is no list of numbers to copy.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

from entitlements.credential.claims import (
    BAD_SIGNATURE,
    CLOCK_LEEWAY,
    CardClaims,
    CardForm,
    Channel,
    Refused,
    VerifiedCard,
    refusal_by_time,
)
from entitlements.credential.sitesecrets import SiteSecrets
from entitlements.model import Reason

UID_PREFIX: Final = b"RU1:"
UID_MEDIA: Final = "nfc-uid"
"""The one way in which a number may come: read from a chip by the reader itself. A picture of it is nothing at all."""

_NUMBER = re.compile(rb"RU1:((?:[0-9A-F]{2}){4}|(?:[0-9A-F]{2}){7}|(?:[0-9A-F]{2}){10})")
_IDENTITY: Final = b"RU1 card\x00"
_RANDOM: Final = 0x08
_CASCADE_TAG: Final = 0x88
_NOT_UNIQUE: Final = 0x0F

UNKNOWN_NUMBER: Final = Refused(reason=Reason.UNKNOWN_CARD, detail="a serial number that no card is registered for")
NO_NUMBERS: Final = Refused(
    reason=Reason.PRESENTATION_NOT_ACCEPTED, detail="no service of this site takes cards by their serial number"
)
NOT_READ_FROM_A_CHIP: Final = Refused(
    reason=Reason.PRESENTATION_NOT_ACCEPTED, detail="what only a chip may say, and not read from a chip"
)


def names_a_chip(uid: bytes) -> bool:
    """Whether a serial number stays with one chip (ISO/IEC 14443-3:2018, 6.5.4).

    Not so: 4 bytes that are random (first byte 08) or shared (first byte xF), and a cascade tag in front.
    """
    if len(uid) not in (4, 7, 10) or uid[0] == _CASCADE_TAG:
        return False
    return len(uid) > 4 or (uid[0] != _RANDOM and uid[0] & 0x0F != _NOT_UNIQUE)


def uid_hash(key: bytes, uid: bytes) -> bytes:
    """What stands for a serial number in tables: HMAC-SHA256 under a key of the council, 32 bytes.

    :param key: 32 bytes.
    :param uid: 4, 7 or 10 bytes.
    """
    return hmac.digest(key, uid, "sha256")


def verify_uid(
    data: bytes, media: str, secrets: SiteSecrets, now: int, leeway: int = CLOCK_LEEWAY
) -> VerifiedCard | Refused:
    """Find the card of a serial number. Never raises, whatever the bytes are.

    The answer says ``form`` UID; nothing was proven, so ``presentation`` is static, and there is no ``sequence``.

    :param data: ``RU1:`` and the number in capital hex digits.
    :param media: how the reader got it; anything but :data:`UID_MEDIA` is refused.
    :param secrets: with the table of numbers.
    :param now: seconds since the epoch.
    """
    if media != UID_MEDIA:
        return NOT_READ_FROM_A_CHIP
    match = _NUMBER.fullmatch(data)
    if match is None:
        return BAD_SIGNATURE
    uid = bytes.fromhex(match[1].decode())
    if not names_a_chip(uid):
        return BAD_SIGNATURE
    if not secrets.uid_keys:
        return NO_NUMBERS
    found = _find(uid, secrets.uid_keys, secrets.uids)
    if found is None:
        return UNKNOWN_NUMBER
    claims, hashed = found
    refused = refusal_by_time(claims, now, leeway)
    if refused is not None:
        return refused
    return VerifiedCard(
        claims=claims,
        form=CardForm.UID,
        kid="",
        digest=hashlib.sha256(_IDENTITY + hashed).digest(),
        presentation=Channel.STATIC,
    )


def _find(
    uid: bytes, keys: Mapping[str, tuple[bytes, ...]], cards: Mapping[bytes, CardClaims]
) -> tuple[CardClaims, bytes] | None:
    for tenant, of_tenant in keys.items():
        for key in of_tenant:
            hashed = uid_hash(key, uid)
            claims = cards.get(hashed)
            if claims is not None and claims.issuer == tenant:
                return claims, hashed
    return None
