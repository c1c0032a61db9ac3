"""A card as CWT (RFC 8392) in an untagged COSE_Sign1 (RFC 9052 section 4.2), written as text ``RP1:`` + Base45.

Small enough for a QR code of version 7 at error correction M: 116 bytes for a council with a short id of four letters.
Each byte of that is spent knowingly:

* no CBOR tag: the text's prefix says what the bytes are (RFC 9052 section 2 needs a tag only where nothing else does);
* the kind of token is not in a header but in the signature, as ``external_aad`` (RFC 9052 section 4.4), which costs
  nothing and keeps any other COSE message of the same key from passing for a card;
* the key is named by 4 bytes of its thumbprint;
* the CWT id ``cti`` is made of card id, index and issue number: a claim of our own needs five bytes for its name alone;
* there is no address of the status list: a gate never asks there, and whoever wants it knows the issuer.

:func:`verify_cwt` is for the gate; :mod:`entitlements.credential.cwt_cbor2` is a second way of other parts, for the
service, and tests hold both to the same vectors. Both ignore a claim they do not know (RFC 8392 section 3), so that
next year's card opens this year's gate; ``nbf`` and ``aud`` would narrow a card and are never issued, so a card with
one is refused.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, Final

import cbor2

from entitlements.credential import cbor
from entitlements.credential.base45 import b45_encode
from entitlements.credential.claims import (
    BAD_CLAIMS,
    BAD_SIGNATURE,
    CARD_ID_BYTES,
    CLOCK_LEEWAY,
    UNKNOWN_KEY,
    CardClaims,
    CardForm,
    Channel,
    Refused,
    VerifiedCard,
    refusal_by_time,
)
from entitlements.credential.cose import (
    ALG_ES256,
    HEADER_ALG,
    HEADER_KID,
    SIGNED_CONTEXT,
    byte_string_head,
    parse_sign1,
    signature_input,
)
from entitlements.credential.errors import CredentialError, InvalidClaimsError, InvalidEncodingError
from entitlements.credential.es256 import verify_digest
from entitlements.credential.keys import KeySet, SigningKey, VerificationKey
from entitlements.model import CardId, CardIndex, Instant, TenantId

CARD_PREFIX: Final = b"RP1:"
"""Resident's paper card, first version; all characters are in the QR code's alphanumeric set."""
EXTERNAL_AAD: Final = b"rescard+cwt"
"""Signed beside the claims, so that no other CWT of the key is a card (explicit typing, RFC 8725 section 3.11)."""
MAX_CWT_BYTES: Final = 512
"""Length cap before anything is parsed: a card has 116 bytes, a live one some 170."""

CLAIM_ISS: Final = 1
CLAIM_AUD: Final = 3
CLAIM_EXP: Final = 4
CLAIM_NBF: Final = 5
CLAIM_IAT: Final = 6
CLAIM_CTI: Final = 7
CLAIM_CNF: Final = 8
"""RFC 8747 section 3.1."""
CLAIM_CHANNEL: Final = -65537
"""Private use (RFC 8392 section 9.1.1); left out of a static card."""
CNF_COSE_KEY: Final = 1
CHANNEL_NUMBERS: Final = {Channel.LIVE: 1, Channel.CHIP: 2}
_CHANNELS: Final = {number: channel for channel, number in CHANNEL_NUMBERS.items()}

INDEX_OCTETS: Final = (3, 4)
ISSUE_NUMBER_OCTETS: Final = (4, 8)
"""Octets of index and issue number in ``cti``: the first size that holds the value."""

CWT_START: Final = b"\x84"
"""An untagged array of four, with which every COSE_Sign1 here begins and no text of a card does."""
_OWN_START: Final = b"\x84\x49\xa2\x01\x26\x04\x44"
"""Array of four, protected header of 9 bytes: alg ES256 and a kid of 4 bytes, which is at 7 to 11."""
_OWN_MIDDLE: Final = b"\xa0\x58"
"""Nothing unprotected, and a payload whose length is one byte, at 13."""
_OWN_SIGNATURE: Final = b"\x58\x40"
_OWN_FRAME: Final = 80
"""Bytes of a card that are not its payload."""
_OWN_LEAST: Final = _OWN_FRAME + 24
"""A shorter payload has its length in another place."""
_OWN_SIGNED: Final = SIGNED_CONTEXT
_OWN_AAD: Final = byte_string_head(len(EXTERNAL_AAD)) + EXTERNAL_AAD

_OWN: Final = [struct.Struct(f">3s{letters}s2sI2sI2s8s3sI") for letters in range(1, 17)]
"""The payload of a static card by the length of its issuer's id."""
_OWN_BYTES: Final = _OWN[0].size - 1
_OWN_HEADS: Final = (b"\x04\x1a", b"\x06\x1a", b"\x07\x4f")
"""exp and iat are numbers of 4 octets, cti is a byte string of 15."""

KEY_KTY: Final = 1
KEY_CRV: Final = -1
KEY_X: Final = -2
KEY_Y: Final = -3
"""Labels of a COSE_Key for an elliptic curve (RFC 9053 section 7.1.1)."""
KTY_EC2: Final = 2
CRV_P256: Final = 1


def sign_card_cwt(claims: CardClaims, signing_key: SigningKey) -> bytes:
    """Sign a card as CWT. The same claims and key give the same bytes (RFC 6979, RFC 8949 section 4.2.1).

    ``claims.status_uri`` is left out.

    :raises InvalidClaimsError: if the key belongs to another issuer than the claims name.
    """
    if claims.issuer != signing_key.issuer:
        raise InvalidClaimsError("issuer", f"{claims.issuer} cannot be signed with a key of {signing_key.issuer}")
    kid = signing_key.verification_key.cose_kid
    protected = cbor2.dumps({HEADER_ALG: ALG_ES256, HEADER_KID: kid}, canonical=True)
    payload = cbor2.dumps(claims_to_map(claims), canonical=True)
    signature = signing_key.sign(signature_input(protected, EXTERNAL_AAD, payload))
    return cbor2.dumps([protected, {}, payload, signature], canonical=True)


def card_text(cwt: bytes) -> str:
    """The text of a card's code, of the QR code's alphanumeric characters only."""
    return (CARD_PREFIX + b45_encode(cwt)).decode("ascii")


def verify_cwt(data: bytes, keys: KeySet, now: int, leeway: int = CLOCK_LEEWAY) -> VerifiedCard | Refused:
    """Verify a card the lean way, for the gate.

    :param data: the CWT's bytes, out of Base45; anything at all may be in them.
    :param keys: the keys believed here.
    :param now: seconds since the epoch.
    :param leeway: seconds by which ``now`` may be behind the issuer's clock.
    """
    if len(data) > MAX_CWT_BYTES:
        return BAD_SIGNATURE
    try:
        kid, signed, payload, signature = _take_apart(data)
    except InvalidEncodingError:
        return BAD_SIGNATURE
    key = keys.by_cose_kid(kid)
    if key is None:
        return UNKNOWN_KEY
    digest = hashlib.sha256(signed).digest()
    if not verify_digest(key.public, digest, signature):
        return BAD_SIGNATURE
    try:
        claims = _read_own(payload) or claims_from_map(cbor.decode(payload))
    except CredentialError:
        return BAD_CLAIMS
    return judge(claims, key, digest, now, leeway)


def judge(claims: CardClaims, key: VerificationKey, digest: bytes, now: int, leeway: int) -> VerifiedCard | Refused:
    """What is left to see once the signature was found good: whose the key is, and the times."""
    if claims.issuer != key.issuer:
        return BAD_CLAIMS
    refused = refusal_by_time(claims, now, leeway)
    return refused or VerifiedCard(claims=claims, form=CardForm.CWT, kid=key.kid, digest=digest)


def claims_to_map(claims: CardClaims) -> dict[int, Any]:
    """Write the claims as the CBOR map that is signed."""
    index, issue_number = claims.index, claims.issue_number
    members: dict[int, Any] = {
        CLAIM_ISS: claims.issuer,
        CLAIM_EXP: claims.expires_at,
        CLAIM_IAT: claims.issued_at,
        CLAIM_CTI: claims.card_id + _octets(index, INDEX_OCTETS) + _octets(issue_number, ISSUE_NUMBER_OCTETS),
    }
    if claims.device_key is not None:
        sign, x = claims.device_key[0], claims.device_key[1:]
        members[CLAIM_CNF] = {CNF_COSE_KEY: {KEY_KTY: KTY_EC2, KEY_CRV: CRV_P256, KEY_X: x, KEY_Y: sign == 3}}
    if claims.channel is not Channel.STATIC:
        members[CLAIM_CHANNEL] = CHANNEL_NUMBERS[claims.channel]
    return members


def claims_from_map(members: object) -> CardClaims:
    """Read the claims from a CBOR map. Claims that are not known are ignored.

    :raises InvalidClaimsError: if a claim is missing, of the wrong type, out of range or one that narrows the card.
    """
    if type(members) is not dict:
        raise InvalidClaimsError("claims", "are not a CBOR map")
    for label, name in ((CLAIM_NBF, "nbf"), (CLAIM_AUD, "aud")):
        if label in members:
            raise InvalidClaimsError(name, "is never issued")
    card_id, index, issue_number = _read_cti(_member(members, CLAIM_CTI, bytes))
    channel = Channel.STATIC
    if CLAIM_CHANNEL in members:
        number = _member(members, CLAIM_CHANNEL, int)
        if number not in _CHANNELS:
            raise InvalidClaimsError("channel", "is not known")
        channel = _CHANNELS[number]
    return CardClaims(
        issuer=TenantId(_member(members, CLAIM_ISS, str)),
        card_id=CardId(card_id),
        index=CardIndex(index),
        issued_at=Instant(_member(members, CLAIM_IAT, int)),
        expires_at=Instant(_member(members, CLAIM_EXP, int)),
        issue_number=issue_number,
        channel=channel,
        device_key=_read_device_key(_member(members, CLAIM_CNF, dict)) if CLAIM_CNF in members else None,
    )


def _take_apart(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The kid, what is signed, the payload and the signature.

    A card of our own signer has its parts at fixed places, and what is signed is cut out of it as it stands.

    :raises InvalidEncodingError: as :func:`~entitlements.credential.cose.parse_sign1`.
    """
    if (
        len(data) >= _OWN_LEAST
        and data.startswith(_OWN_START)
        and data[11:13] == _OWN_MIDDLE
        and data[-66:-64] == _OWN_SIGNATURE
        and data[13] == len(data) - _OWN_FRAME
    ):
        return data[7:11], _OWN_SIGNED + data[1:11] + _OWN_AAD + data[12:-66], data[14:-66], data[-64:]
    message = parse_sign1(data)
    return message.kid, signature_input(message.protected, EXTERNAL_AAD, message.payload), *message[2:]


def _read_own(payload: bytes) -> CardClaims | None:
    """Read the claims of a plain static card by their places in :data:`_OWN`, or give ``None``.

    Only where this is the one encoding of these claims; every other card goes the long way.
    """
    letters = len(payload) - _OWN_BYTES
    if not 1 <= letters <= len(_OWN):
        return None
    head, iss, exp_head, exp, iat_head, iat, cti_head, card_id, index, issue_number = _OWN[letters - 1].unpack(payload)
    if (
        head != b"\xa4\x01" + bytes((0x60 | letters,))
        or (exp_head, iat_head, cti_head) != _OWN_HEADS
        or min(exp, iat) < 1 << 16  # has a shorter encoding
        or not iss.isascii()
    ):
        return None
    return CardClaims(
        issuer=TenantId(iss.decode()),
        card_id=CardId(card_id),
        index=CardIndex(int.from_bytes(index, "big")),
        issued_at=Instant(iat),
        expires_at=Instant(exp),
        issue_number=issue_number,
    )


def _read_cti(cti: bytes) -> tuple[bytes, int, int]:
    """Card id, index and issue number, each number in the fewest octets that are allowed for it."""
    numbers = len(cti) - CARD_ID_BYTES
    for index_octets in INDEX_OCTETS:
        for issue_number_octets in ISSUE_NUMBER_OCTETS:
            if numbers != index_octets + issue_number_octets:
                continue
            end = CARD_ID_BYTES + index_octets
            index, issue_number = int.from_bytes(cti[CARD_ID_BYTES:end], "big"), int.from_bytes(cti[end:], "big")
            if _octets(index, INDEX_OCTETS) + _octets(issue_number, ISSUE_NUMBER_OCTETS) == cti[CARD_ID_BYTES:]:
                return cti[:CARD_ID_BYTES], index, issue_number
    raise InvalidClaimsError("card_id", "cti is not card id, index and issue number in the fewest octets")


def _read_device_key(cnf: dict[Any, Any]) -> bytes:
    """The one form that is written here: a COSE_Key on P-256, compressed, and nothing else (RFC 8747 section 3.2)."""
    key = _member(cnf, CNF_COSE_KEY, dict)
    if len(cnf) != 1 or key.keys() != {KEY_KTY, KEY_CRV, KEY_X, KEY_Y}:
        raise InvalidClaimsError("device_key", "is not kty, crv, x and the sign of y")
    if _member(key, KEY_KTY, int) != KTY_EC2 or _member(key, KEY_CRV, int) != CRV_P256:
        raise InvalidClaimsError("device_key", "is not a key on P-256")
    x, sign = _member(key, KEY_X, bytes), _member(key, KEY_Y, bool)
    return (b"\x03" if sign else b"\x02") + bytes(x)


def _member(members: dict[Any, Any], label: int, kind: type[Any]) -> Any:
    value = members.get(label)
    if type(value) is not kind:  # exact: true is an int to isinstance
        raise InvalidClaimsError(f"claim {label}", f"is missing or not a CBOR {kind.__name__}")
    return value


def _octets(number: int, sizes: tuple[int, int]) -> bytes:
    small, large = sizes
    return number.to_bytes(small if number < 1 << 8 * small else large, "big")
