"""A card as JWT (RFC 7519), ``typ: rescard+jwt``: signed with PyJWT, verified in two ways that must agree.

:func:`verify_card_pyjwt` is for the service: the library everybody knows, inside a wrapper that refuses what it
lets pass. :func:`verify_card` is for the gate, where a queue stands: no header is parsed that our own signer wrote,
and nothing but the signature costs more than a few microseconds. Tests hold both to the same vectors.

Both take a claim they do not know for granted and ignore it (RFC 7519 section 4), so that next year's card opens
this year's gate; ``nbf`` and ``aud`` would narrow a card and are never issued, so a card with one is refused.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import jwt as pyjwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential.claims import (
    BAD_CLAIMS,
    BAD_SIGNATURE,
    CARD_TYP,
    CLOCK_LEEWAY,
    UNKNOWN_KEY,
    CardClaims,
    CardForm,
    Channel,
    Refused,
    VerifiedCard,
    refusal_by_time,
)
from entitlements.credential.encoding import b64url_decode, b64url_encode, strict_object
from entitlements.credential.errors import CredentialError, InvalidClaimsError, InvalidEncodingError, InvalidKeyError
from entitlements.credential.es256 import (
    ALG,
    compress,
    decompress,
    public_key_from_jwk,
    public_key_to_jwk,
    sign_message,
    verify_digest,
)
from entitlements.credential.jws import read_kid, split_compact
from entitlements.credential.keys import KeySet, SigningKey, VerificationKey
from entitlements.model import CardId, CardIndex, Instant, TenantId

MAX_CARD_CHARS: Final = 1024
"""Length cap before anything is decoded: a card has some 400 characters, a live one some 560."""

_NARROWING: Final = ("nbf", "aud")
_CHANNELS: Final = {channel.value: channel for channel in Channel}
_PYJWT: Final = pyjwt.PyJWT()


class _SameEachTime(pyjwt.algorithms.ECAlgorithm):
    """ES256 with the nonce of RFC 6979: signing a card again gives the same bytes, so paper, screen and picture of a
    card are one code, and a gate that remembers one remembers all."""

    def sign(self, msg: bytes, key: Any) -> bytes:
        return sign_message(key, msg)


_SIGNER: Final = pyjwt.PyJWS()
_SIGNER.unregister_algorithm(ALG)
_SIGNER.register_algorithm(ALG, _SameEachTime(_SameEachTime.SHA256, ec.SECP256R1))
_PYJWT_OPTIONS: Final[Any] = {
    "verify_signature": True,
    "enforce_minimum_key_length": True,
    # PyJWT judges times by its own clock and coerces strings: claims are judged below, by the caller's clock.
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_sub": False,
    "verify_jti": False,
}


class _StatusList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    idx: int
    uri: str


class _Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status_list: _StatusList


class _StaticWire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The claims of a card without device key, in the order in which :func:`sign_card` writes them."""

    iss: str
    jti: str
    iat: int
    exp: int
    fn: int
    ch: Channel
    status: _Status


_DECODE: Final = msgspec.json.Decoder(_StaticWire).decode
_ENCODE: Final = msgspec.json.Encoder().encode


def sign_card(claims: CardClaims, signing_key: SigningKey) -> str:
    """Sign a card with PyJWT. The same claims and key give the same token (RFC 6979).

    :raises InvalidClaimsError: if the key belongs to another issuer than the claims name, or there is no status list.
    """
    if claims.status_uri is None:
        raise InvalidClaimsError("status_uri", "stands in every card that is a JWT")
    if claims.issuer != signing_key.issuer:
        raise InvalidClaimsError("issuer", f"{claims.issuer} cannot be signed with a key of {signing_key.issuer}")
    headers = {"typ": CARD_TYP, "kid": signing_key.kid}
    payload = json.dumps(claims_to_wire(claims), separators=(",", ":")).encode()
    return _SIGNER.encode(payload, signing_key.private, algorithm=ALG, headers=headers, sort_headers=True)


def verify_card(data: bytes, keys: KeySet, now: int, leeway: int = CLOCK_LEEWAY) -> VerifiedCard | Refused:
    """Verify a card the lean way, for the gate.

    :param data: the token's bytes; anything at all may be in them.
    :param keys: the keys believed here.
    :param now: seconds since the epoch.
    :param leeway: seconds by which ``now`` may be behind the issuer's clock.
    """
    if len(data) > MAX_CARD_CHARS or data.count(b".") != 2:
        return BAD_SIGNATURE
    signed, _, signature_text = data.rpartition(b".")
    header, _, payload_text = signed.partition(b".")
    try:
        key = keys.by_card_header(header) or keys.get(read_kid(header, CARD_TYP))
        if key is None:
            return UNKNOWN_KEY
        digest = hashlib.sha256(signed).digest()
        if not verify_digest(key.public, digest, b64url_decode(signature_text)):
            return BAD_SIGNATURE
        payload = b64url_decode(payload_text)
    except InvalidEncodingError:
        return BAD_SIGNATURE
    try:
        claims = _read_own(payload) or claims_from_wire(strict_object(payload))
    except CredentialError:
        return BAD_CLAIMS
    return _judge(claims, key, digest, now, leeway)


def verify_card_pyjwt(data: bytes, keys: KeySet, now: int, leeway: int = CLOCK_LEEWAY) -> VerifiedCard | Refused:
    """Verify a card with PyJWT inside the strict wrapper; arguments and answers as :func:`verify_card`."""
    try:
        parts = split_compact(data, MAX_CARD_CHARS)
        key = keys.get(read_kid(parts.header, CARD_TYP))
        if key is None:
            return UNKNOWN_KEY
        for part in parts:
            b64url_decode(part)
    except InvalidEncodingError:
        return BAD_SIGNATURE
    try:
        checked = _PYJWT.decode_complete(data, key.public, [ALG], _PYJWT_OPTIONS)
        claims = claims_from_wire(strict_object(b64url_decode(parts.payload)))
    except pyjwt.InvalidSignatureError:
        return BAD_SIGNATURE
    except (CredentialError, pyjwt.PyJWTError):  # the signature was good, what it covers is not
        return BAD_CLAIMS
    if checked["header"]["kid"] != key.kid or checked["payload"]["iss"] != claims.issuer:
        return BAD_CLAIMS
    return _judge(claims, key, hashlib.sha256(parts.signed).digest(), now, leeway)


def claims_to_wire(claims: CardClaims) -> dict[str, Any]:
    """Write the claims as the JSON object that is signed."""
    wire: dict[str, Any] = {
        "iss": claims.issuer,
        "jti": b64url_encode(claims.card_id).decode(),
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "fn": claims.issue_number,
        "ch": claims.channel.value,
        "status": {"status_list": {"idx": claims.index, "uri": claims.status_uri}},
    }
    if claims.device_key is not None:
        wire["cnf"] = {"jwk": public_key_to_jwk(decompress(claims.device_key))}
    return wire


def claims_from_wire(wire: dict[str, Any]) -> CardClaims:
    """Read the claims from a JSON object. Claims that are not known are ignored.

    :raises InvalidClaimsError: if a claim is missing, of the wrong type, out of range or one that narrows the card.
    """
    for name in _NARROWING:
        if name in wire:
            raise InvalidClaimsError(name, "is never issued")
    status_list = _member(_member(wire, "status", dict), "status_list", dict)
    channel = _CHANNELS.get(_member(wire, "ch", str))
    if channel is None:
        raise InvalidClaimsError("channel", "is not known")
    device_key = None
    if "cnf" in wire:
        try:
            device_key = compress(public_key_from_jwk(_member(_member(wire, "cnf", dict), "jwk", dict)))
        except InvalidKeyError as error:
            raise InvalidClaimsError("device_key", error.problem) from error
    return CardClaims(
        issuer=TenantId(_member(wire, "iss", str)),
        card_id=_card_id(_member(wire, "jti", str)),
        index=CardIndex(_member(status_list, "idx", int)),
        status_uri=_member(status_list, "uri", str),
        issued_at=Instant(_member(wire, "iat", int)),
        expires_at=Instant(_member(wire, "exp", int)),
        issue_number=_member(wire, "fn", int),
        channel=channel,
        device_key=device_key,
    )


def _read_own(payload: bytes) -> CardClaims | None:
    """Read claims written exactly as :func:`sign_card` writes them, or give ``None``.

    msgspec takes the last of two equal keys in silence. If writing the value anew gives the very same bytes, there
    was no second key, no unknown claim, no white space and no other way to write a number.
    """
    try:
        wire = _DECODE(payload)
        if _ENCODE(wire) != payload:
            return None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return CardClaims(
        issuer=TenantId(wire.iss),
        card_id=_card_id(wire.jti),
        index=CardIndex(wire.status.status_list.idx),
        status_uri=wire.status.status_list.uri,
        issued_at=Instant(wire.iat),
        expires_at=Instant(wire.exp),
        issue_number=wire.fn,
        channel=wire.ch,
    )


def _judge(claims: CardClaims, key: VerificationKey, digest: bytes, now: int, leeway: int) -> VerifiedCard | Refused:
    if claims.issuer != key.issuer:
        return BAD_CLAIMS
    refused = refusal_by_time(claims, now, leeway)
    return refused or VerifiedCard(claims=claims, form=CardForm.JWT, kid=key.kid, digest=digest)


def _member(wire: dict[str, Any], name: str, kind: type[Any]) -> Any:
    value = wire.get(name)
    if type(value) is not kind:  # exact: true is an int to isinstance
        raise InvalidClaimsError(name, f"is missing or not a JSON {kind.__name__}")
    return value


def _card_id(jti: str) -> CardId:
    try:
        return CardId(b64url_decode(jti.encode("ascii")))
    except (InvalidEncodingError, UnicodeEncodeError) as error:
        raise InvalidClaimsError("card_id", "is not canonical base64url") from error
