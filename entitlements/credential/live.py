"""The live code of a phone (``RC1:``): the card's CWT, and a signature made seconds ago with the phone's own key.

::

    RC1:Base45( signature, 64 bytes r || s  ||  iat, 8 bytes big-endian, seconds since the epoch  ||  CWT of the card )

The phone signs ``"RC1-presentation" NUL SHA-256(CWT) iat`` with ES256. Nothing secret leaves it, so a photograph of the
code is good for seconds only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from entitlements.credential.base45 import b45_decode, b45_encode
from entitlements.credential.claims import BAD_SIGNATURE, CardForm, Channel, Refused, VerifiedCard
from entitlements.credential.cwt import MAX_CWT_BYTES
from entitlements.credential.errors import InvalidEncodingError
from entitlements.credential.es256 import SIGNATURE_BYTES, decompress, verify_digest
from entitlements.credential.memory import VerifiedMemory
from entitlements.model import Reason

LIVE_PREFIX: Final = b"RC1:"
IAT_BYTES: Final = 8
LIVE_MAX_AGE: Final = 30
"""Seconds for which a live code is good: two turns of the page, so that no one is refused for a slow camera."""
LIVE_MAX_AHEAD: Final = 10
"""Seconds by which a phone's clock may be ahead of the reader's."""
MAX_LIVE_CHARS: Final = len(LIVE_PREFIX) + (SIGNATURE_BYTES + IAT_BYTES + MAX_CWT_BYTES) * 3 // 2
"""Length cap before anything is decoded: a live code has some 360 characters."""

EXPIRED_CODE: Final = Refused(reason=Reason.EXPIRED_CODE, detail="the live code was made too long ago")
CODE_FROM_THE_FUTURE: Final = Refused(
    reason=Reason.EXPIRED_CODE, detail="the live code is dated ahead of this reader's clock: a clock is wrong"
)
_PURPOSE: Final = b"RC1-presentation\x00"
_CARD: Final = SIGNATURE_BYTES + IAT_BYTES
"""Where the card begins."""


def live_message(cwt: bytes, iat: int) -> bytes:
    """What the phone signs for this card at this second.

    :param cwt: the card as CWT, exactly the bytes that will be shown.
    :param iat: seconds since the epoch.
    """
    return _PURPOSE + hashlib.sha256(cwt).digest() + iat.to_bytes(IAT_BYTES, "big")


def live_text(cwt: bytes, iat: int, signature: bytes) -> str:
    """The text of a live code.

    :param signature: 64 bytes r || s over :func:`live_message`, as WebCrypto and :func:`sign_message` give it.
    :raises ValueError: if the signature has another length.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise ValueError(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    return (LIVE_PREFIX + b45_encode(signature + iat.to_bytes(IAT_BYTES, "big") + cwt)).decode("ascii")


def verify_live(
    data: bytes,
    verify_card: Callable[[bytes, bytes], VerifiedCard | Refused],
    now: int,
    memory: VerifiedMemory | None,
) -> VerifiedCard | Refused:
    """Verify a live code: its card, then the phone's signature, then its age.

    :param data: the text with its prefix; anything at all may be in it.
    :param verify_card: judges the card in the code: gets the bytes of its CWT and their SHA-256.
    :param now: seconds since the epoch.
    :param memory: keeps phones' keys ready; ``None`` to read each anew.
    """
    if len(data) > MAX_LIVE_CHARS:
        return BAD_SIGNATURE
    try:
        raw = b45_decode(data[len(LIVE_PREFIX) :])
    except InvalidEncodingError:
        return BAD_SIGNATURE
    signature, iat_octets, cwt = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:_CARD], raw[_CARD:]
    card_digest = hashlib.sha256(cwt).digest()
    card = verify_card(cwt, card_digest)
    if not isinstance(card, VerifiedCard):
        return card
    point = card.claims.device_key
    if point is None or card.claims.channel is not Channel.LIVE:
        return BAD_SIGNATURE  # anybody can wrap a card of another kind: nothing is proven
    device_key = decompress(point) if memory is None else memory.device_key(point)
    if not verify_digest(device_key, hashlib.sha256(_PURPOSE + card_digest + iat_octets).digest(), signature):
        return BAD_SIGNATURE
    iat = int.from_bytes(iat_octets, "big")
    # Told only to whoever holds the phone's key, or a picture of what it showed.
    if now - iat > LIVE_MAX_AGE:
        return EXPIRED_CODE
    if iat - now > LIVE_MAX_AHEAD:
        return CODE_FROM_THE_FUTURE
    return VerifiedCard(
        claims=card.claims,
        form=CardForm.LIVE,
        kid=card.kid,
        digest=card.digest,
        presentation=Channel.LIVE,
        sequence=iat,
    )
