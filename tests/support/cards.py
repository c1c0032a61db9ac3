"""A forger's and an issuer's workshop for tests: honest cards, and tokens that are wrong in exactly one way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential import (
    CardClaims,
    KeySet,
    Refused,
    SigningKey,
    VerifiedCard,
    live_message,
    live_text,
    verify_card,
    verify_card_pyjwt,
)
from entitlements.credential.encoding import b64url_decode, b64url_encode
from entitlements.credential.es256 import ORDER, compress, sign_message
from entitlements.credential.jwt import claims_to_wire
from entitlements.model import CardId, CardIndex, Instant, TenantId

NOW = 1_800_000_000
"""2027-01-15T08:00:00Z"""
WCC = TenantId("wcc")
RBKC = TenantId("rbkc")


def fixed_key(issuer: TenantId, secret: int, kid: str | None = None) -> SigningKey:
    """The same key in every process: test ids that show a key must be equal on all workers of pytest-xdist."""
    return SigningKey.of(issuer, ec.derive_private_key(secret, ec.SECP256R1()), kid)


KEY = fixed_key(WCC, 0x1111)
NEIGHBOUR = fixed_key(RBKC, 0x2222)
STRANGER = fixed_key(WCC, 0x3333)
"""Says it is of wcc, but nobody published it."""
COUNCILS = (KEY, NEIGHBOUR)
PHONE = fixed_key(WCC, 0x4444).private
"""The key of a resident's phone."""
PHONE_KEY = compress(PHONE.public_key())
LAST_INDEX = 2**24 - 1
LAST_ISSUE_NUMBER = 2**32 - 1
"""The largest numbers that a council of this size reaches, which make the largest code."""
KEYS = KeySet([KEY.verification_key, NEIGHBOUR.verification_key])

Verifier = Callable[[bytes, KeySet, int], VerifiedCard | Refused]
BOTH_PATHS: dict[str, Verifier] = {"lean": verify_card, "pyjwt": verify_card_pyjwt}


def card_claims(**changes: Any) -> CardClaims:
    """Claims of an honest static card, issued an hour ago and good for a year."""
    fields: dict[str, Any] = {
        "issuer": WCC,
        "card_id": CardId(bytes.fromhex("0102030405060708")),
        "index": CardIndex(4711),
        "status_uri": "https://cards.wcc.example/s/1",
        "issued_at": Instant(NOW - 3600),
        "expires_at": Instant(NOW + 365 * 86400),
        "issue_number": 42,
    }
    return CardClaims(**fields | changes)


def wire(**changes: Any) -> dict[str, Any]:
    """The JSON object of an honest card, with some members changed; ``None`` takes a member out."""
    members = claims_to_wire(card_claims()) | changes
    return {name: value for name, value in members.items() if value is not None}


def header(**changes: Any) -> dict[str, Any]:
    """The protected header of an honest card, changed in the same way."""
    members = {"alg": "ES256", "kid": KEY.kid, "typ": "rescard+jwt"} | changes
    return {name: value for name, value in members.items() if value is not None}


def token(head: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, key: SigningKey = KEY) -> bytes:
    """Sign whatever is given with ES256, wise or not."""
    return sign_texts(b64url_encode(as_bytes(head)), b64url_encode(as_bytes(payload)), key)


def sign_texts(head: bytes, payload: bytes, key: SigningKey = KEY) -> bytes:
    """Sign two texts that may be no base64url at all."""
    signed = head + b"." + payload
    return signed + b"." + b64url_encode(key.sign(signed))


def as_bytes(value: dict[str, Any] | bytes) -> bytes:
    """JSON without white space, or the bytes as they are."""
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


def live_code(cwt: bytes, iat: int, phone: ec.EllipticCurvePrivateKey = PHONE) -> str:
    """The code that a phone shows at this second."""
    return live_text(cwt, iat, sign_message(phone, live_message(cwt, iat)))


def twin(data: bytes) -> bytes:
    """The same token with the other signature that is good for it, (r, n - s)."""
    signed, _, text = data.rpartition(b".")
    signature = b64url_decode(text)
    s = ORDER - int.from_bytes(signature[32:], "big")
    return signed + b"." + b64url_encode(signature[:32] + s.to_bytes(32, "big"))
