"""Reader request assertions: each request of a reader carries a short-lived proof, signed with the reader's own key.

A JWT, ``typ: reader-assertion+jwt``, in the manner of RFC 7523 (who asks) and RFC 9449 (bound to method and path), so
that a copied header opens nothing else and nothing later. The service keeps each ``jti`` until it expires and refuses
it the second time; it must key on ``jti``, never on the token's text, as an ECDSA signature has a twin.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential.claims import INSTANT_MAX
from entitlements.credential.encoding import b64url_decode, b64url_encode, canonical_json, strict_object
from entitlements.credential.errors import AssertionRefused, InvalidEncodingError
from entitlements.credential.es256 import sign_message, verify_digest
from entitlements.credential.jws import Parts, read_kid, split_compact
from entitlements.credential.keys import protected_header

ASSERTION_TYP: Final = "reader-assertion+jwt"
MAX_ASSERTION_CHARS: Final = 2048
MAX_LIFETIME: Final = 60
"""Seconds from ``iat`` to ``exp``: long enough for a slow link, short enough that ``jti`` are few to keep."""
DEFAULT_LIFETIME: Final = 30
CLOCK_SKEW: Final = 30
"""Seconds by which reader and service clocks may differ before the reader is told so."""
JTI_BYTES: Final = 12
"""96 random bits: a reader of 100 requests a second meets no clash in its life."""
MAX_TEXT: Final = 512
"""Characters of one claim."""
_INSTANTS: Final = frozenset({"iat", "exp"})
_TEXTS: Final = frozenset({"iss", "aud", "jti", "htm", "htu"})


class AssertionCode(StrEnum):
    """Why an assertion is refused, for the answer to the reader."""

    BAD_SIGNATURE = "assertion_bad_signature"
    """Malformed, of another kind or wrongly signed: one code for all."""
    TIME = "assertion_time"
    """Well signed, but too old or from the future: the reader's clock is wrong, or the request was held up."""
    REQUEST = "assertion_request"
    """Well signed, but for another method, path or audience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionClaims:
    """What a verified assertion says.

    :param request_id: ``jti``; to be refused if it is seen again before :attr:`forget_after`.
    """

    reader_id: str
    audience: str
    issued_at: int
    expires_at: int
    request_id: str
    method: str
    path: str

    @property
    def forget_after(self) -> int:
        """Instant from which the assertion is refused for its age anyway, so that ``request_id`` need not be kept."""
        return self.expires_at + CLOCK_SKEW


def sign_assertion(
    *,
    reader_id: str,
    key: ec.EllipticCurvePrivateKey,
    method: str,
    path: str,
    audience: str,
    now: int,
    lifetime: int = DEFAULT_LIFETIME,
) -> str:
    """Make the assertion for one request.

    :param reader_id: the id given at enrolment; it is ``iss`` and the header's ``kid``.
    :param method: upper-case HTTP method.
    :param path: path of the request as sent, from the first ``/``, without query (RFC 9449 section 4.2).
    :param audience: the service's name, as both sides are set to.
    :param now: seconds since the epoch by the reader's corrected clock.
    :param lifetime: seconds, 1 to :data:`MAX_LIFETIME`.
    :raises ValueError: if an argument is out of range.
    """
    if not 1 <= lifetime <= MAX_LIFETIME:
        raise ValueError(f"lifetime must be 1 to {MAX_LIFETIME} seconds, not {lifetime}")
    if not path.startswith("/") or "?" in path or "#" in path:
        raise ValueError("path must begin with / and have no query")
    claims: dict[str, Any] = {
        "iss": reader_id,
        "aud": audience,
        "iat": int(now),
        "exp": int(now) + lifetime,
        "jti": b64url_encode(secrets.token_bytes(JTI_BYTES)).decode(),
        "htm": method,
        "htu": path,
    }
    try:
        _read(claims)
    except AssertionRefused:
        raise ValueError(f"reader_id, audience, method and path must have 1 to {MAX_TEXT} characters") from None
    signed = protected_header(ASSERTION_TYP, reader_id) + b"." + b64url_encode(canonical_json(claims))
    return (signed + b"." + b64url_encode(sign_message(key, signed))).decode("ascii")


def unverified_reader_id(token: str | bytes) -> str:
    """Give the reader id that a token claims, to look up that reader's key. It may not be believed yet.

    :raises AssertionRefused: with code ``assertion_bad_signature`` if the token is no assertion.
    """
    return _open(token)[1]


def verify_assertion(
    token: str | bytes, key: ec.EllipticCurvePublicKey, method: str, path: str, audience: str, now: int
) -> AssertionClaims:
    """Verify the assertion of one request.

    :param key: the public key of the reader that :func:`unverified_reader_id` named.
    :param method: method of the request received; ``path`` its path without query; ``audience`` our own name.
    :param now: seconds since the epoch.
    :raises AssertionRefused: with a code of :class:`AssertionCode`. Time and request are judged after the signature.
    """
    parts, kid = _open(token)
    try:
        signature = b64url_decode(parts.signature)
        if not verify_digest(key, hashlib.sha256(parts.signed).digest(), signature):
            raise _bad()
        claims = _read(strict_object(b64url_decode(parts.payload)))
    except InvalidEncodingError:
        raise _bad() from None
    if claims.reader_id != kid:
        raise _bad()
    if not claims.issued_at - CLOCK_SKEW <= now < claims.forget_after:
        raise AssertionRefused(
            AssertionCode.TIME,
            "the assertion's times do not fit this service's clock",
            clock_offset=claims.issued_at - now,
        )
    if (claims.method, claims.path, claims.audience) != (method, path, audience):
        raise AssertionRefused(AssertionCode.REQUEST, "the assertion was made for another request")
    return claims


def _open(token: str | bytes) -> tuple[Parts, str]:
    try:
        raw = token.encode("ascii") if isinstance(token, str) else token
        parts = split_compact(raw, MAX_ASSERTION_CHARS)
        return parts, read_kid(parts.header, ASSERTION_TYP)
    except (InvalidEncodingError, UnicodeEncodeError):
        raise _bad() from None


def _read(wire: dict[str, Any]) -> AssertionClaims:
    if wire.keys() != _INSTANTS | _TEXTS:
        raise _bad()
    for name, value in wire.items():
        if name in _INSTANTS:
            if type(value) is not int:
                raise _bad()
        elif type(value) is not str or not 0 < len(value) <= MAX_TEXT:
            raise _bad()
    if not 0 <= wire["iat"] < wire["exp"] <= min(wire["iat"] + MAX_LIFETIME, INSTANT_MAX):
        raise _bad()
    return AssertionClaims(
        reader_id=wire["iss"],
        audience=wire["aud"],
        issued_at=wire["iat"],
        expires_at=wire["exp"],
        request_id=wire["jti"],
        method=wire["htm"],
        path=wire["htu"],
    )


def _bad() -> AssertionRefused:
    return AssertionRefused(AssertionCode.BAD_SIGNATURE, "not an assertion signed by this reader's key")
