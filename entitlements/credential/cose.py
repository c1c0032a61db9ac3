"""COSE_Sign1 with ES256 (RFC 9052 section 4.2, RFC 9053 section 2.1)."""

from __future__ import annotations

from typing import Final

HEADER_ALG: Final = 1
HEADER_KID: Final = 4
"""Labels of common headers (RFC 9052 section 3.1)."""
ALG_ES256: Final = -7

_CONTEXT: Final = b"\x84\x6aSignature1"
"""Array of four, and the first of them (RFC 9052 section 4.4)."""


def signature_input(protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    """The Sig_structure that a COSE_Sign1 signature covers (RFC 9052 section 4.4).

    :param protected: the encoded map of protected headers, without its byte string's head.
    :param external_aad: data that is signed, but not carried.
    """
    return (
        _CONTEXT
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
