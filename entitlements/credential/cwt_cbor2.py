"""The second way to verify a card as CWT, for the service: cbor2 reads, ``cryptography`` checks the signature.

It shares the meaning of claims with :mod:`entitlements.credential.cwt` and none of its parsing. What cbor2 lets pass is
found by writing the value anew: what does not give the very same bytes was not the one encoding.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from entitlements.credential.cbor import MAX_DEPTH
from entitlements.credential.claims import (
    BAD_CLAIMS,
    BAD_SIGNATURE,
    CLOCK_LEEWAY,
    UNKNOWN_KEY,
    Refused,
    VerifiedCard,
)
from entitlements.credential.cose import ALG_ES256, HEADER_ALG, HEADER_KID, MAX_KID_BYTES
from entitlements.credential.cwt import EXTERNAL_AAD, MAX_CWT_BYTES, claims_from_map, judge
from entitlements.credential.errors import CredentialError, InvalidEncodingError
from entitlements.credential.es256 import COORDINATE_BYTES, SIGNATURE_BYTES
from entitlements.credential.keys import KeySet

_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_INT_LIMIT: Final = 1 << 64
"""Larger numbers are tagged big numbers (RFC 8949 section 3.4.3), which a card has not."""


def verify_cwt_cbor2(data: bytes, keys: KeySet, now: int, leeway: int = CLOCK_LEEWAY) -> VerifiedCard | Refused:
    """Verify a card with cbor2; arguments and answers as :func:`~entitlements.credential.cwt.verify_cwt`."""
    if len(data) > MAX_CWT_BYTES:
        return BAD_SIGNATURE
    try:
        protected, kid, payload, signature = _parts(_load(data))
    except InvalidEncodingError:
        return BAD_SIGNATURE
    key = keys.by_cose_kid(kid)
    if key is None:
        return UNKNOWN_KEY
    signed = cbor2.dumps(["Signature1", protected, EXTERNAL_AAD, payload])
    if not good_signature(key.public, signed, signature):
        return BAD_SIGNATURE
    try:
        claims = claims_from_map(_load(payload))
    except CredentialError:
        return BAD_CLAIMS
    return judge(claims, key, hashlib.sha256(signed).digest(), now, leeway)


def good_signature(public: ec.EllipticCurvePublicKey, signed: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes, r || s) is good over ``signed``, all of it by ``cryptography``."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    r, s = (int.from_bytes(part, "big") for part in (signature[:COORDINATE_BYTES], signature[COORDINATE_BYTES:]))
    try:
        public.verify(encode_dss_signature(r, s), signed, _ECDSA)
    except InvalidSignature:
        return False
    return True


def _parts(message: Any) -> tuple[bytes, bytes, bytes, bytes]:
    """Protected header, kid, payload and signature of a COSE_Sign1 of the form in which cards are signed."""
    if type(message) is not list or len(message) != 4:
        raise InvalidEncodingError("not a COSE_Sign1")
    protected, unprotected, payload, signature = message
    if type(unprotected) is not dict or unprotected or {type(protected), type(payload), type(signature)} != {bytes}:
        raise InvalidEncodingError("not a COSE_Sign1 with nothing unprotected")
    headers = _load(protected)
    if type(headers) is not dict or headers.keys() != {HEADER_ALG, HEADER_KID} or headers[HEADER_ALG] != ALG_ES256:
        raise InvalidEncodingError("the protected header is not alg ES256 and kid")
    kid = headers[HEADER_KID]
    if type(kid) is not bytes or len(kid) > MAX_KID_BYTES:
        raise InvalidEncodingError("kid is not a short byte string")
    return protected, kid, payload, signature


def _load(raw: bytes) -> Any:
    """Read CBOR with cbor2 and refuse what is not the one encoding of a plain value."""
    try:
        value = cbor2.loads(raw, max_depth=MAX_DEPTH + 1, allow_indefinite=False, allow_duplicate_keys=False)
        _check_plain(value, MAX_DEPTH)
        if cbor2.dumps(value) != raw:
            raise InvalidEncodingError("not the one encoding of the value")
    except (cbor2.CBORDecodeError, cbor2.CBOREncodeError) as error:
        raise InvalidEncodingError("not CBOR") from error
    return value


def _check_plain(value: Any, depth: int) -> None:
    kind = type(value)
    if value is None or kind in (bool, bytes, str):
        return
    if kind is int:
        if not -_INT_LIMIT <= value < _INT_LIMIT:
            raise InvalidEncodingError("a number of more than 64 bits")
        return
    if kind not in (list, dict) or depth == 0:
        raise InvalidEncodingError("a tag, a float, or nested too deep")
    if kind is dict:
        names = list(value)
        if any(type(name) not in (int, bytes, str) for name in names):
            raise InvalidEncodingError("a key of a map is no number, bytes or text")
        # cbor2's canonical order is the older one, shorter keys first (RFC 7049); RFC 8949 compares the bytes.
        written = [cbor2.dumps(name) for name in names]
        if written != sorted(written):
            raise InvalidEncodingError("the keys of a map are not in order")
        for name in names:
            _check_plain(name, depth - 1)
    for item in value.values() if kind is dict else value:
        _check_plain(item, depth - 1)
