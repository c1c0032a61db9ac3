"""A card as CWT (RFC 8392) in an untagged COSE_Sign1 (RFC 9052 section 4.2), written as text ``RP1:`` + Base45.

Small enough for a QR code of version 7 at error correction M: 116 bytes for a council with a short id of four letters.
Each byte of that is spent knowingly:

* no CBOR tag: the text's prefix says what the bytes are (RFC 9052 section 2 needs a tag only where nothing else does);
* the kind of token is not in a header but in the signature, as ``external_aad`` (RFC 9052 section 4.4), which costs
  nothing and keeps any other COSE message of the same key from passing for a card;
* the key is named by 4 bytes of its thumbprint;
* the CWT id ``cti`` is made of card id, index and issue number: a claim of our own needs five bytes for its name alone;
* there is no address of the status list: a gate never asks there, and whoever wants it knows the issuer.
"""

from __future__ import annotations

from typing import Any, Final

import cbor2

from entitlements.credential.base45 import b45_encode
from entitlements.credential.claims import CardClaims, Channel
from entitlements.credential.cose import ALG_ES256, HEADER_ALG, HEADER_KID, signature_input
from entitlements.credential.errors import InvalidClaimsError
from entitlements.credential.keys import SigningKey

CARD_PREFIX: Final = b"RP1:"
"""Resident's paper card, first version; all characters are in the QR code's alphanumeric set."""
EXTERNAL_AAD: Final = b"rescard+cwt"
"""Signed beside the claims, so that no other CWT of the key is a card (explicit typing, RFC 8725 section 3.11)."""

CLAIM_ISS: Final = 1
CLAIM_EXP: Final = 4
CLAIM_IAT: Final = 6
CLAIM_CTI: Final = 7
CLAIM_CNF: Final = 8
"""RFC 8747 section 3.1."""
CLAIM_CHANNEL: Final = -65537
"""Private use (RFC 8392 section 9.1.1); left out of a static card."""
CNF_COSE_KEY: Final = 1
CHANNEL_NUMBERS: Final = {Channel.LIVE: 1, Channel.CHIP: 2}

INDEX_OCTETS: Final = (3, 4)
ISSUE_NUMBER_OCTETS: Final = (4, 8)
"""Octets of index and issue number in ``cti``: the first size that holds the value."""

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


def _octets(number: int, sizes: tuple[int, int]) -> bytes:
    small, large = sizes
    return number.to_bytes(small if number < 1 << 8 * small else large, "big")
