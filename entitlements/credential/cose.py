"""COSE_Sign1 with ES256 (RFC 9052 section 4.2, RFC 9053 section 2.1), the strict way.

The message has one shape: the protected header is ``alg: ES256`` and ``kid``, the unprotected one is empty, every
length is written in the fewest bytes. So ``crit``, ``x5chain``, a key in the message, a second ``alg``, a ``kid`` that
nobody signed and whatever comes to be invented are refused, and nothing outside the signature can be changed but the
signature itself (which has a twin, see :class:`~entitlements.credential.claims.VerifiedCard`).
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from entitlements.credential.errors import InvalidEncodingError

HEADER_ALG: Final = 1
HEADER_KID: Final = 4
"""Labels of common headers (RFC 9052 section 3.1)."""
ALG_ES256: Final = -7

MAX_KID_BYTES: Final = 23
"""Longest kid whose CBOR head is one byte; ours has 4, those of others 8."""

_TAG_SIGN1: Final = 0xD2
"""Tag 18 (RFC 9052 section 4.2)."""
_FOUR: Final = 0x84
_NOTHING_UNPROTECTED: Final = b"\xa0"
_BYTES_1: Final = 0x58
_BYTES_2: Final = 0x59
_ALG_AND_KID: Final = b"\xa2\x01\x26\x04"
"""A map of two: alg (1) is ES256 (-7), kid (4) is what follows."""
SIGNED_CONTEXT: Final = b"\x84\x6aSignature1"
"""Array of four, and the first of them (RFC 9052 section 4.4)."""


class Sign1(NamedTuple):
    """A COSE_Sign1 whose form is good and whose signature nobody has looked at yet.

    :param kid: as the message names its key.
    :param protected: the encoded protected header, which is signed.
    :param signature: as it stands there, of any length.
    """

    kid: bytes
    protected: bytes
    payload: bytes
    signature: bytes

    def digest(self, external_aad: bytes = b"") -> bytes:
        """SHA-256 of what the signature covers: the identity of the message, whichever twin its signature is."""
        return hashlib.sha256(signature_input(self.protected, external_aad, self.payload)).digest()


def parse_sign1(data: bytes, *, tagged: bool = False) -> Sign1:
    """Take a message apart. Cap its length first.

    :param tagged: whether the message must begin with the tag of COSE_Sign1 or must not.
    :raises InvalidEncodingError: if it is any other than the one shape of the module's description.
    """
    start = 1 if tagged else 0
    if len(data) < start + 2 or data[start] != _FOUR or (tagged and data[0] != _TAG_SIGN1):
        raise InvalidEncodingError("not a COSE_Sign1 of the form asked for")
    protected, place = _byte_string(data, start + 1)
    if data[place : place + 1] != _NOTHING_UNPROTECTED:
        raise InvalidEncodingError("the unprotected header is not empty")
    payload, place = _byte_string(data, place + 1)
    signature, place = _byte_string(data, place)
    if place != len(data):
        raise InvalidEncodingError("bytes are left over after the COSE_Sign1")
    kid = protected[5:]
    if protected[:4] != _ALG_AND_KID or len(kid) > MAX_KID_BYTES or protected[4:5] != bytes((0x40 | len(kid),)):
        raise InvalidEncodingError("the protected header is not alg ES256 and kid")
    return Sign1(kid, protected, payload, signature)


def signature_input(protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    """The Sig_structure that a COSE_Sign1 signature covers (RFC 9052 section 4.4).

    :param protected: the encoded map of protected headers, without its byte string's head.
    :param external_aad: data that is signed, but not carried.
    """
    return (
        SIGNED_CONTEXT
        + byte_string_head(len(protected))
        + protected
        + byte_string_head(len(external_aad))
        + external_aad
        + byte_string_head(len(payload))
        + payload
    )


def byte_string_head(length: int) -> bytes:
    """The shortest head of a CBOR byte string of ``length`` bytes (RFC 8949 sections 3 and 4.2.1)."""
    if length < 24:
        return bytes((0x40 | length,))
    if length < 256:
        return bytes((0x58, length))
    if length < 65536:
        return b"\x59" + length.to_bytes(2, "big")
    return b"\x5a" + length.to_bytes(4, "big")


def _byte_string(data: bytes, place: int) -> tuple[bytes, int]:
    """Read a byte string of at most 65535 bytes; give it and the place after it."""
    head = data[place] if place < len(data) else -1
    if 0x40 <= head < _BYTES_1:
        begin, length = place + 1, head & 31
    elif head == _BYTES_1:
        begin, length = place + 2, int.from_bytes(data[place + 1 : place + 2], "big")
    elif head == _BYTES_2:
        begin, length = place + 3, int.from_bytes(data[place + 1 : place + 3], "big")
    else:
        raise InvalidEncodingError("not a CBOR byte string")
    end = begin + length
    if end > len(data) or (head == _BYTES_1 and length < 24) or (head == _BYTES_2 and length < 256):
        raise InvalidEncodingError("a CBOR byte string is cut off or its length is not the shortest")
    return data[begin:end], end
