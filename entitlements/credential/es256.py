"""ES256 (RFC 7518 section 3.4): ECDSA on P-256 with SHA-256, and the forms in which its keys are written.

The only algorithm of cards, readers and documents. Signatures are r || s, 64 bytes; keys are JWK, PEM or compressed
points.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature

from entitlements.credential.encoding import b64url_decode, b64url_encode, canonical_json
from entitlements.credential.errors import InvalidEncodingError, InvalidKeyError

ALG: Final = "ES256"
CURVE: Final = ec.SECP256R1()
COORDINATE_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
POINT_BYTES: Final = 33
"""A compressed point (SEC 1 section 2.3.3)."""
ORDER: Final = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
"""n of P-256 (SEC 2 section 2.4.2)."""

_SIGN: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_VERIFY_DIGEST: Final = ec.ECDSA(Prehashed(hashes.SHA256()))
_SECRET_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv")
"""Private and symmetric parameters of all registered key types (RFC 7518 section 6, RFC 8037)."""


def generate_private_key() -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key with the operating system's randomness."""
    return ec.generate_private_key(CURVE)


def private_key_from_pem(pem: bytes, password: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Read a P-256 private key. :raises InvalidKeyError: if it is none or the password is wrong."""
    try:
        private = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidKeyError("no private key could be read from the PEM text with this password") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != CURVE.name:
        raise InvalidKeyError("the PEM text holds no key on P-256")
    return private


def private_key_to_pem(private: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """Write PKCS#8 PEM (RFC 5958), encrypted if ``password`` is given."""
    lock: serialization.KeySerializationEncryption = (
        serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    )
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def public_key_from_jwk(jwk: Mapping[str, Any]) -> ec.EllipticCurvePublicKey:
    """Read a bare public key: ``kty: EC``, ``crv: P-256``, ``x`` and ``y`` of exactly 32 bytes (RFC 7518 section 6.2).

    :raises InvalidKeyError: for anything else, for secret members and for a point that is not on the curve.
    """
    for member in _SECRET_MEMBERS:
        if member in jwk:
            raise InvalidKeyError(f"a public key must not carry the secret member {member}")
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256":
        raise InvalidKeyError("kty must be EC and crv must be P-256")
    point = b"\x04" + _coordinate(jwk, "x") + _coordinate(jwk, "y")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point)
    except ValueError as error:
        raise InvalidKeyError("x and y are not a point of P-256") from error


def public_key_to_jwk(public: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """Write the four required members, in the order of RFC 7638 (lexicographic)."""
    numbers = public.public_numbers()
    x, y = (b64url_encode(part.to_bytes(COORDINATE_BYTES, "big")).decode() for part in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def thumbprint(public: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 thumbprint of the key (RFC 7638), base64url, 43 characters."""
    return b64url_encode(thumbprint_digest(public)).decode()


def thumbprint_digest(public: ec.EllipticCurvePublicKey) -> bytes:
    """SHA-256 thumbprint of the key (RFC 7638), 32 bytes."""
    return hashlib.sha256(canonical_json(public_key_to_jwk(public))).digest()


def sign_message(private: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Sign with ES256: 64 bytes, r || s, each 32 bytes big-endian (RFC 7518 section 3.4)."""
    r, s = decode_dss_signature(private.sign(message, _SIGN))
    return r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")


def verify_digest(public: ec.EllipticCurvePublicKey, digest: bytes, signature: bytes) -> bool:
    """Tell whether ``signature`` (64 bytes, r || s) is good over the SHA-256 ``digest`` (32 bytes)."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    r = int.from_bytes(signature[:COORDINATE_BYTES], "big")
    s = int.from_bytes(signature[COORDINATE_BYTES:], "big")
    if not (0 < r < ORDER and 0 < s < ORDER):
        return False
    try:
        public.verify(encode_dss_signature(r, s), digest, _VERIFY_DIGEST)
    except InvalidSignature:
        return False
    return True


def compress(public: ec.EllipticCurvePublicKey) -> bytes:
    """Write a public key as a compressed point of 33 bytes, as device keys are kept in a card's claims."""
    return public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def decompress(point: bytes) -> ec.EllipticCurvePublicKey:
    """Read a compressed point.

    :raises InvalidKeyError: if it is not 33 bytes, or no point of the curve.
    """
    if len(point) != POINT_BYTES:
        raise InvalidKeyError(f"a compressed point has {POINT_BYTES} bytes")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point)
    except ValueError as error:
        raise InvalidKeyError("the bytes are not a point of P-256") from error


def _coordinate(jwk: Mapping[str, Any], name: str) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str) or not text.isascii():
        raise InvalidKeyError(f"{name} must be base64url")
    try:
        raw = b64url_decode(text.encode())
    except InvalidEncodingError as error:
        raise InvalidKeyError(f"{name} must be base64url") from error
    if len(raw) != COORDINATE_BYTES:
        raise InvalidKeyError(f"{name} must be {COORDINATE_BYTES} bytes")
    return raw
