"""What a phone signs to show that it holds its key. Pure.

Both messages begin with words of their own, so that neither passes for the other, nor for a live code, which the same
key signs as ``RC1-presentation``. Numbers are big-endian. The signature is ECDSA with SHA-256 on P-256 as WebCrypto
makes it: r and s, 32 bytes each (RFC 7518 section 3.4).
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from cardservice.errors import ApiProblem
from entitlements.credential.encoding import b64url_decode
from entitlements.credential.errors import InvalidEncodingError, InvalidKeyError
from entitlements.credential.es256 import decompress, verify_digest

BIND_WORDS: Final = b"rescard phone bind 1\0"
CONTACT_WORDS: Final = b"rescard phone contact 1\0"
POINT_BYTES: Final = 33
SIGNATURE_BYTES: Final = 64
WINDOW_MS: Final = 60_000
"""A signed time may differ so much from ours. The page takes our time from our replies, not from its own clock."""


def bind_message(link: str, point: bytes, at: int) -> bytes:
    """What a new key signs: the link that it is bound by, itself and the time (ms since the epoch)."""
    return BIND_WORDS + hashlib.sha256(link.encode()).digest() + point + at.to_bytes(8, "big")


def contact_message(tenant: str, card_id: bytes, at: int) -> bytes:
    """What a bound key signs to ask for its card: whose card, which, and the time (ms since the epoch)."""
    return CONTACT_WORDS + tenant.encode() + b"\0" + card_id + at.to_bytes(8, "big")


def read_bytes(text: str, length: int, name: str) -> bytes:
    """Base64url of exactly ``length`` bytes.

    Raises:
        ApiProblem: 422 for anything else.
    """
    try:
        data = b64url_decode(text.encode("ascii"))
    except (UnicodeEncodeError, InvalidEncodingError):
        data = b""
    if len(data) != length:
        problem = f"it is not base64url of {length} bytes"
        raise ApiProblem(422, "wrong_values", f"{name}: {problem}.", fields=[{"at": f"/{name}", "problem": problem}])
    return data


def check_proof(point: bytes, message: bytes, signature: bytes, at: int, now: datetime) -> None:
    """Whether the key at this compressed point signed this message about now.

    Raises:
        ApiProblem: 401 ``proof_refused`` for a signature that is not good, ``proof_out_of_time`` for a time that is
            not ours; 422 for what is no point of P-256.
    """
    try:
        key = decompress(point)
    except InvalidKeyError as error:
        fields = [{"at": "/public_key", "problem": error.problem}]
        raise ApiProblem(422, "wrong_values", f"public_key: {error.problem}.", fields=fields) from None
    if not verify_digest(key, hashlib.sha256(message).digest(), signature):
        raise proof_refused()
    if abs(at - int(now.timestamp() * 1000)) > WINDOW_MS:
        raise ApiProblem(401, "proof_out_of_time", "The signed time is not about now; take ours from Rescard-Time.")


def proof_refused() -> ApiProblem:
    """One answer to an unknown card, a card without a phone and a wrong signature."""
    return ApiProblem(401, "proof_refused", "No phone with this key has this card.")
