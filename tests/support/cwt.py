"""A forger's and an issuer's workshop for CWT: messages that are wrong in exactly one way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2

from entitlements.credential import (
    KeySet,
    Refused,
    SigningKey,
    UnverifiedPresentation,
    VerifiedCard,
    VerifiedMemory,
    sign_card_cwt,
    verify_cwt,
    verify_cwt_cbor2,
    verify_presentation,
)
from entitlements.credential.base45 import b45_encode
from entitlements.credential.cose import parse_sign1, signature_input
from entitlements.credential.cwt import EXTERNAL_AAD, claims_to_map
from entitlements.credential.es256 import ORDER
from tests.support.cards import KEY, card_claims


def _presented(data: bytes, keys: KeySet, now: int, leeway: int = 120) -> VerifiedCard | Refused:
    presentation = UnverifiedPresentation(data=b"RP1:" + b45_encode(data), media="qr")
    memory = VerifiedMemory()
    first = verify_presentation(presentation, keys, now, memory, leeway)
    assert verify_presentation(presentation, keys, now, memory, leeway) == first
    return first


CWT_PATHS: dict[str, Callable[..., VerifiedCard | Refused]] = {
    "lean": verify_cwt,
    "cbor2": verify_cwt_cbor2,
    "presented": _presented,
}
"""Both ways of verifying, and the gate's entry point, shown the same card twice."""

HONEST = sign_card_cwt(card_claims(), KEY)
PROTECTED, PAYLOAD, SIGNATURE = parse_sign1(HONEST)[1:]


def members(**changes: Any) -> dict[Any, Any]:
    """The claims of an honest card by number; ``c4=...`` changes claim 4, ``None`` takes it out."""
    claims: dict[Any, Any] = dict(claims_to_map(card_claims()))
    for name, value in changes.items():
        claims[int(name[1:])] = value
    return {label: value for label, value in claims.items() if value is not None}


def encode(value: Any) -> bytes:
    """Deterministic CBOR of a value, with keys in the order of RFC 8949 section 4.2.1; bytes are left as they are."""
    return value if isinstance(value, bytes) else cbor2.dumps(_ordered(value))


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=cbor2.dumps)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def headers(**changes: Any) -> dict[Any, Any]:
    """The protected header of an honest card, changed in the same way (``h1`` is alg, ``h4`` is kid)."""
    found: dict[Any, Any] = {1: -7, 4: KEY.verification_key.cose_kid}
    found |= {int(name[1:]): value for name, value in changes.items()}
    return {label: value for label, value in found.items() if value is not None}


def cwt(
    payload: Any = PAYLOAD,
    protected: Any = PROTECTED,
    key: SigningKey = KEY,
    *,
    unprotected: bytes = b"\xa0",
    external: bytes = EXTERNAL_AAD,
    context: str = "Signature1",
) -> bytes:
    """Sign whatever is given, wise or not."""
    header, body = encode(protected), encode(payload)
    signed = signature_input(header, external, body)
    if context != "Signature1":
        signed = cbor2.dumps([context, header, external, body])
    return message(header, body, key.sign(signed), unprotected)


def message(protected: bytes, payload: bytes, signature: bytes, unprotected: bytes = b"\xa0") -> bytes:
    """A COSE_Sign1 of these parts."""
    return b"\x84" + cbor2.dumps(protected) + unprotected + cbor2.dumps(payload) + cbor2.dumps(signature)


def cwt_twin(data: bytes) -> bytes:
    """The same card with the other signature that is good for it, (r, n - s)."""
    s = ORDER - int.from_bytes(data[-32:], "big")
    return data[:-32] + s.to_bytes(32, "big")
