"""Google Wallet's rotating code (``RG1:``): a card's reference and a time-based one-time password (RFC 6238).

::

    RG1:<issuer>.<index>.<card id, base64url>.<8 digits>

Google's app makes the digits, from a secret that the council gave it, and changes them every 15 seconds. Whoever can
check a code can make one, so it proves less than a signature: a reader holds the council's master only if a service at
its site accepts such cards, and only services of little risk should. Nothing else of the card is in the code; its
state, expiry and rights are looked up by index and card id as for every card.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from entitlements.credential.claims import (
    BAD_SIGNATURE,
    INSTANT_MAX,
    CardClaims,
    CardForm,
    Channel,
    Refused,
    VerifiedCard,
)
from entitlements.credential.encoding import b64url_decode, b64url_encode
from entitlements.credential.errors import CredentialError
from entitlements.credential.sitesecrets import SiteSecrets
from entitlements.model import CardId, CardIndex, Instant, Reason, TenantId

TOTP_PREFIX: Final = b"RG1:"
TOTP_PERIOD: Final = 15
"""Seconds of one step, as set in the pass (``periodMillis``)."""
TOTP_DIGITS: Final = 8
TOTP_SECRET_BYTES: Final = 20
"""As long as the hash, SHA-1, which RFC 4226 section 4 (R6) recommends and Google uses."""
INDEX_BYTES: Final = 4
STEPS_AROUND: Final = 1
"""Steps before and after the present one that are accepted: clocks differ, and a code is shown to its end."""
MAX_TOTP_CHARS: Final = 64
"""Length cap before anything is decoded: issuer 16, index 10, card id 11, digits 8, and what stands between."""

NO_MASTER: Final = Refused(
    reason=Reason.PRESENTATION_NOT_ACCEPTED, detail="a rotating code, of an issuer whose codes are not checked here"
)

WRONG_CODE: Final = Refused(reason=Reason.EXPIRED_CODE, detail="not the code that the card's pass shows now")
"""Of an old picture of the pass and of a guess alike: nothing tells them apart, and the first is what people do."""

_CODE = re.compile(rb"RG1:([a-z][a-z0-9-]{0,15})\.(0|[1-9][0-9]{0,9})\.([A-Za-z0-9_-]{11})\.([0-9]{8})")
_PURPOSE: Final = b"RG1 secret\x00"
_IDENTITY: Final = b"RG1 card\x00"


def hotp(secret: bytes, counter: int, digits: int = TOTP_DIGITS) -> str:
    """One-time password of a counter (RFC 4226 section 5.3): HMAC-SHA-1, dynamically truncated."""
    mac = hmac.digest(secret, counter.to_bytes(8, "big"), "sha1")
    begin = mac[-1] & 15
    number = int.from_bytes(mac[begin : begin + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}d}"


def totp_step(now: int) -> int:
    """Number of the time step (RFC 6238 section 4.2). :param now: seconds since the epoch."""
    return now // TOTP_PERIOD


def totp_secret(master: bytes, card_id: bytes, index: int) -> bytes:
    """The card's own secret, 20 bytes, which goes into its pass.

    It rests on the index too: otherwise the digits would prove the card id alone, and a revoked card could name the
    index, and with it the place in the status list, of another.

    :param master: the issuer's TOTP master, 32 bytes.
    """
    reference = card_id + index.to_bytes(INDEX_BYTES, "big")
    return hmac.digest(master, _PURPOSE + reference, "sha256")[:TOTP_SECRET_BYTES]


def totp_text(issuer: str, index: int, card_id: bytes, code: str) -> str:
    """The text of a rotating code; ``code`` is 8 digits, or what a pass has in their place (``{totp_value_0}``)."""
    return f"{TOTP_PREFIX.decode()}{issuer}.{index}.{b64url_encode(card_id).decode()}.{code}"


def verify_totp(data: bytes, secrets: SiteSecrets, now: int) -> VerifiedCard | Refused:
    """Verify a rotating code.

    The answer's claims hold what the code says (issuer, index, card id) and, as the code says nothing on times, the
    widest ones; ``sequence`` is the time step whose code it was.

    :param data: the text with its prefix; anything at all may be in it.
    :param now: seconds since the epoch.
    """
    match = _CODE.fullmatch(data) if len(data) <= MAX_TOTP_CHARS else None
    if match is None:
        return BAD_SIGNATURE
    issuer_text, index_text, id_text, digits = match.groups()
    issuer = TenantId(issuer_text.decode())
    masters = secrets.totp.get(issuer)
    if not masters:
        return NO_MASTER
    try:
        claims = CardClaims(
            issuer=issuer,
            card_id=CardId(b64url_decode(id_text)),
            index=CardIndex(int(index_text)),
            issued_at=Instant(0),
            expires_at=Instant(INSTANT_MAX),
            issue_number=0,
        )
    except CredentialError:
        return BAD_SIGNATURE
    step = _matching_step(masters, claims, digits, totp_step(now))
    if step is None:
        return WRONG_CODE
    return VerifiedCard(
        claims=claims,
        form=CardForm.TOTP,
        kid="",
        digest=hashlib.sha256(_IDENTITY + issuer_text + b"\x00" + claims.card_id).digest(),
        presentation=Channel.STATIC,
        sequence=step,
    )


def _matching_step(masters: tuple[bytes, ...], claims: CardClaims, digits: bytes, present: int) -> int | None:
    """The latest step whose code this is. All are compared in full: the time taken tells nothing of any code."""
    found = None
    for master in masters:
        secret = totp_secret(master, claims.card_id, claims.index)
        for step in range(max(0, present - STEPS_AROUND), present + STEPS_AROUND + 1):
            if hmac.compare_digest(hotp(secret, step).encode(), digits) and (found is None or step > found):
                found = step
    return found
