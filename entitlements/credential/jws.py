"""Compact JWS (RFC 7515 section 3.1) with ES256: the strict part that cards, assertions and documents share."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from entitlements.credential.encoding import b64url_decode, b64url_encode, strict_object
from entitlements.credential.errors import InvalidEncodingError, TokenError
from entitlements.credential.es256 import ALG, verify_digest
from entitlements.credential.keys import KeySet, SigningKey, protected_header
from entitlements.model import TenantId

MAX_DOCUMENT_CHARS: Final = 1024 * 1024
"""Length cap of a signed document before anything is decoded. A feed manifest has a few kB."""
MAX_HEADER_CHARS: Final = 512
"""Four times our longest header; a longer one carries something we refuse anyway."""

_MEMBERS_WITH_KID: Final = frozenset({"alg", "kid"})


class Parts(NamedTuple):
    """The three base64url texts of a compact token, not yet decoded."""

    header: bytes
    payload: bytes
    signature: bytes

    @property
    def signed(self) -> bytes:
        """What the signature covers."""
        return self.header + b"." + self.payload


def split_compact(token: bytes, max_chars: int) -> Parts:
    """Cut a token in its three parts. :raises InvalidEncodingError: if there are not three, or it is too long."""
    if len(token) > max_chars or token.count(b".") != 2:
        raise InvalidEncodingError("not three parts within the length allowed")
    return Parts(*token.split(b"."))


def read_kid(header: bytes, typ: str | None) -> str:
    """Check a protected header and give its ``kid``, the only thing in it that is a choice.

    Exactly ``alg: ES256``, ``kid`` and the ``typ`` asked for. So ``jwk``, ``jku``, ``x5u``, ``x5c``, ``crit``, ``b64``,
    ``zip`` and whatever comes to be invented are refused (RFC 8725 sections 3.1, 3.10, 3.11).

    :param typ: ``None`` if there must be no ``typ``.
    :raises InvalidEncodingError: if the header is any other.
    """
    if len(header) > MAX_HEADER_CHARS:
        raise InvalidEncodingError("the header is too long")
    members = strict_object(b64url_decode(header))
    expected = _MEMBERS_WITH_KID if typ is None else _MEMBERS_WITH_KID | {"typ"}
    if members.keys() != expected or members["alg"] != ALG or members.get("typ") != typ:
        raise InvalidEncodingError("the header is not the one of this kind of token")
    kid = members["kid"]
    if not isinstance(kid, str):
        raise InvalidEncodingError("kid is not a string")
    return kid


def sign_compact(payload: bytes, typ: str | None, key: SigningKey) -> str:
    """Sign a document, e.g. a feed manifest: compact JWS with ``alg``, ``kid`` and ``typ``.

    :param payload: the document's bytes, signed as they are.
    :param typ: kind of document, e.g. ``rescard-manifest+json``; the reader must ask for the same.
    """
    signed = protected_header(typ, key.kid) + b"." + b64url_encode(payload)
    return (signed + b"." + b64url_encode(key.sign(signed))).decode("ascii")


def verify_compact(
    token: str | bytes,
    keys: KeySet,
    typ: str | None,
    issuer: TenantId | None = None,
    *,
    max_chars: int = MAX_DOCUMENT_CHARS,
) -> bytes:
    """Give the payload of a document that one of ``keys`` signed.

    :param issuer: if given, only keys of this council count: needed where ``keys`` holds those of several.
    :param max_chars: length cap before anything is decoded, for a kind of document that is larger than most.

    :raises TokenError: with code ``document_unknown_key`` if the header is good but names a key that is not in the
        set (fetch the key set, then try once more), otherwise always ``document_bad_signature``.
    """
    bad = TokenError("document_bad_signature", "the document is not signed by a key known here")
    try:
        parts = split_compact(token.encode("ascii") if isinstance(token, str) else token, max_chars)
        kid = read_kid(parts.header, typ)
        key = keys.get(kid)
        if key is None or (issuer is not None and key.issuer != issuer):
            raise TokenError("document_unknown_key", "the document names a key that is not in the key set")
        signature = b64url_decode(parts.signature)
        if not verify_digest(key.public, hashlib.sha256(parts.signed).digest(), signature):
            raise bad
        return b64url_decode(parts.payload)
    except (InvalidEncodingError, UnicodeEncodeError):
        raise bad from None
