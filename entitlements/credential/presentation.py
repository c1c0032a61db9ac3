"""From unverified bytes to a verified card or a reason: the one entry point of a gate, and one for the service.

A presentation tells its form by its first characters. A regular visitor's card is remembered, so that a repeat visit
costs a hash and a dict look-up and no check of the council's signature; of a live code only the phone's signature is
checked then. Revocation is looked up every time, elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from entitlements.credential.base45 import b45_decode
from entitlements.credential.chip import CHIP_SCHEMES, NO_MASTERS, verify_chip
from entitlements.credential.claims import (
    BAD_SIGNATURE,
    CLOCK_LEEWAY,
    Channel,
    Refused,
    UnverifiedPresentation,
    VerifiedCard,
    refusal_by_time,
)
from entitlements.credential.cwt import CARD_PREFIX, CWT_START, MAX_CWT_BYTES, verify_cwt
from entitlements.credential.cwt_cbor2 import verify_cwt_cbor2
from entitlements.credential.errors import InvalidEncodingError
from entitlements.credential.jwt import MAX_CARD_CHARS, verify_card, verify_card_pyjwt
from entitlements.credential.keys import KeySet
from entitlements.credential.live import LIVE_PREFIX, verify_live
from entitlements.credential.memory import MEMORY_CARDS, VerifiedMemory
from entitlements.credential.sitesecrets import NO_SECRETS, SiteSecrets
from entitlements.credential.totp import NO_MASTER, TOTP_PREFIX, verify_totp
from entitlements.credential.uid import NO_NUMBERS, UID_PREFIX, UNKNOWN_NUMBER, verify_uid
from entitlements.model import Reason

__all__ = [
    "MEMORY_CARDS",
    "NOT_A_CARD",
    "SECRET_MISSING",
    "VerifiedMemory",
    "verify_at_till",
    "verify_presentation",
    "verify_static",
]

JWT_PREFIX: Final = b"eyJ"
"""Base64url of ``{"``, with which every compact JWT begins."""
MAX_CARD_TEXT_CHARS: Final = len(CARD_PREFIX) + MAX_CWT_BYTES * 3 // 2
"""Length cap of a card as ``RP1:`` text before anything is decoded."""

NOT_A_CARD: Final = Refused(reason=Reason.PRESENTATION_NOT_ACCEPTED, detail="not a card code")
CHIP_WITHOUT_CHIP: Final = Refused(
    reason=Reason.PRESENTATION_NOT_ACCEPTED, detail="the card of a chip, and the chip was not read"
)

SECRET_MISSING: Final = frozenset((NO_MASTERS, NO_MASTER, NO_NUMBERS, UNKNOWN_NUMBER))
"""Refusals that newer secrets of the site may turn into a card."""

_Verify = Callable[[bytes, KeySet, int, int], VerifiedCard | Refused]


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
    :param secrets: shared secrets of the site; without those of its issuer no rotating code, chip or serial number is
        accepted.
    """
    data = presentation.data
    if data.startswith(JWT_PREFIX):
        if memory is None or len(data) > MAX_CARD_CHARS:
            return _verify_jwt(data, keys, now, leeway)
        return _remembered(hashlib.sha256(data).digest(), data, _verify_jwt, keys, now, leeway, memory)
    if data.startswith(CARD_PREFIX):
        if memory is None or len(data) > MAX_CARD_TEXT_CHARS:
            return _verify_card_text(data, keys, now, leeway)
        return _remembered(hashlib.sha256(data).digest(), data, _verify_card_text, keys, now, leeway, memory)

    def judge_card(cwt: bytes, digest: bytes) -> VerifiedCard | Refused:
        # Texts of cards are remembered beside CWTs: one that is wrapped in a code must not be found as if it were one.
        if memory is None or len(cwt) > MAX_CWT_BYTES or not cwt.startswith(CWT_START):
            return verify_cwt(cwt, keys, now, leeway)
        return _remembered(digest, cwt, verify_cwt, keys, now, leeway, memory)

    if data.startswith(LIVE_PREFIX):
        return verify_live(data, judge_card, now, memory)
    if data.startswith(CHIP_SCHEMES):
        return verify_chip(data, presentation.media, judge_card, secrets)
    if data.startswith(TOTP_PREFIX):
        return verify_totp(data, secrets, now)
    if data.startswith(UID_PREFIX):
        return verify_uid(data, presentation.media, secrets, now, leeway)
    return NOT_A_CARD


def verify_static(data: bytes, keys: KeySet, now: int, leeway: int = CLOCK_LEEWAY) -> VerifiedCard | Refused:
    """Verify a static code with libraries that others maintain (PyJWT, cbor2), for the service, where a request costs a
    millisecond anyway. Says of a JWT and of ``RP1:`` what :func:`verify_presentation` says, and refuses all else: a
    one-time code belongs to the site that sees it first.

    :param data: the code's text; anything at all may be in it. The others as of :func:`verify_presentation`.
    """
    if data.startswith(JWT_PREFIX):
        return _with_its_chip(verify_card_pyjwt(data, keys, now, leeway))
    if data.startswith(CARD_PREFIX):
        return _verify_card_text(data, keys, now, leeway, verify_cwt_cbor2)
    return NOT_A_CARD


def verify_at_till(data: bytes, keys: KeySet, now: int, leeway: int = CLOCK_LEEWAY) -> VerifiedCard | Refused:
    """Verify what is shown where money is spent, which the service decides: a static code as :func:`verify_static`, or
    the live code of a phone. Chips and rotating codes are not taken: their counters are kept at the sites.

    A card with a ``sequence`` came by a one-time code. Whoever takes it must see that the number is greater than any
    before it of this card, where all who take codes see the same.

    :param data: the code's text; anything at all may be in it. The others as of :func:`verify_presentation`.
    """
    if data.startswith(LIVE_PREFIX):
        return verify_live(data, lambda cwt, _: verify_cwt_cbor2(cwt, keys, now, leeway), now, None)
    return verify_static(data, keys, now, leeway)


def _verify_jwt(data: bytes, keys: KeySet, now: int, leeway: int) -> VerifiedCard | Refused:
    """Verify a card as JWT, the lean way."""
    return _with_its_chip(verify_card(data, keys, now, leeway))


def _verify_card_text(
    data: bytes, keys: KeySet, now: int, leeway: int, verify: _Verify = verify_cwt
) -> VerifiedCard | Refused:
    """Verify a card as ``RP1:`` text."""
    if len(data) > MAX_CARD_TEXT_CHARS:
        return BAD_SIGNATURE
    try:
        cwt = b45_decode(data[len(CARD_PREFIX) :])
    except InvalidEncodingError:
        return BAD_SIGNATURE
    return _with_its_chip(verify(cwt, keys, now, leeway))


def _with_its_chip(card: VerifiedCard | Refused) -> VerifiedCard | Refused:
    """A card that was shown as text, in whatever form, unless it is a chip's: anybody reads that off the chip in
    passing, so without the chip it is worth less than a printed card.
    """
    if isinstance(card, VerifiedCard) and card.claims.channel is Channel.CHIP:
        return CHIP_WITHOUT_CHIP
    return card


def _remembered(
    digest: bytes, data: bytes, verify: _Verify, keys: KeySet, now: int, leeway: int, memory: VerifiedMemory
) -> VerifiedCard | Refused:
    """Verify a card unless these exact bytes, whose SHA-256 is ``digest``, were found good before."""
    known = memory.recall(digest, keys)
    if known is not None:
        refused = refusal_by_time(known.claims, now, leeway)
        if refused is None:
            return known
        memory.forget(digest)
        return refused
    result = verify(data, keys, now, leeway)
    if isinstance(result, VerifiedCard):
        key = keys.get(result.kid)
        if key is not None:
            memory.remember(digest, result, key)
    return result
