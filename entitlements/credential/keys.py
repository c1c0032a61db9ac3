"""Keys: what signs cards, and the set of keys a gate believes, matched by exact ``kid``.

One algorithm only, ES256. The algorithm belongs to the key, never to the token (RFC 8725 section 3.1). A key set is
refused as a whole if anything in it is doubtful: half a set would refuse honest cards without anybody noticing why.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential.claims import CARD_TYP
from entitlements.credential.encoding import b64url_encode, canonical_json, strict_object
from entitlements.credential.errors import InvalidEncodingError, InvalidKeyError
from entitlements.credential.es256 import (
    ALG,
    CURVE,
    generate_private_key,
    private_key_from_pem,
    private_key_to_pem,
    public_key_from_jwk,
    public_key_to_jwk,
    sign_message,
    thumbprint,
    thumbprint_digest,
    verify_digest,
)
from entitlements.model import TenantId

KID_THUMBPRINT_CHARS: Final = 8
"""48 bits of the thumbprint: short for the QR code. A clash is refused when the set is made, so no more is needed."""
COSE_KID_BYTES: Final = 4
"""The first bytes of the thumbprint, which name the key inside a CWT: each byte counts in a small QR code. Among
:data:`MAX_KEYS` keys two share them once in two million sets, and then the set is refused when it is made."""
MAX_KEYS: Final = 64
"""Keys in one set: far more than a tenant publishes in a card's life, and a bound on what a bad set can cost."""
MAX_JWKS_BYTES: Final = 64 * 1024

_KID = re.compile(r"[A-Za-z0-9._~:@-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """A public key and whose it is.

    :param issuer: the council that signs with it; a token of another issuer is refused even if the key verifies it.
    :param kid: 1-64 printable characters, matched exactly.
    :raises InvalidKeyError: if ``kid`` has other characters or the key is not on P-256.
    """

    issuer: TenantId
    kid: str
    public: ec.EllipticCurvePublicKey = field(repr=False, hash=False)

    def __post_init__(self) -> None:
        if _KID.fullmatch(self.kid) is None:
            raise InvalidKeyError("kid must be 1-64 characters of A-Z a-z 0-9 . _ ~ : @ -")
        if self.public.curve.name != CURVE.name:
            raise InvalidKeyError("must be a public key on P-256", self.kid)

    @classmethod
    def from_jwk(cls, issuer: TenantId, jwk: Mapping[str, Any]) -> Self:
        """Read one key of a JWKS (RFC 7517 section 4), which must state ``kid``, ``use: sig`` and ``alg: ES256``.

        :raises InvalidKeyError: if anything is missing, wrong or secret.
        """
        kid = jwk.get("kid")
        if not isinstance(kid, str):
            raise InvalidKeyError("kid is missing")
        if jwk.get("use") != "sig":
            raise InvalidKeyError("use must be sig", kid)
        if jwk.get("alg") != ALG:
            raise InvalidKeyError(f"alg must be {ALG}", kid)
        if "key_ops" in jwk and jwk["key_ops"] != ["verify"]:
            raise InvalidKeyError("key_ops must be verify alone", kid)
        return cls(issuer=issuer, kid=kid, public=public_key_from_jwk(jwk))

    def to_jwk(self) -> dict[str, str]:
        """Write the key as JWK with ``kid``, ``use`` and ``alg``."""
        return {**public_key_to_jwk(self.public), "kid": self.kid, "use": "sig", "alg": ALG}

    @property
    def cose_kid(self) -> bytes:
        """The name of the key in a CWT: the first 4 bytes of its SHA-256 thumbprint (RFC 7638)."""
        return make_cose_kid(self.public)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` (64 bytes, r || s) is one of this key over ``message``."""
        return verify_digest(self.public, hashlib.sha256(message).digest(), signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A council's private key. It shows itself in no ``repr``."""

    issuer: TenantId
    kid: str
    private: ec.EllipticCurvePrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        _ = self.verification_key  # validates kid and curve

    @classmethod
    def generate(cls, issuer: TenantId) -> Self:
        """Make a new key with the operating system's randomness."""
        return cls.of(issuer, generate_private_key())

    @classmethod
    def of(cls, issuer: TenantId, private: ec.EllipticCurvePrivateKey, kid: str | None = None) -> Self:
        """Name an existing key; without ``kid`` the name is made from the thumbprint."""
        return cls(issuer=issuer, kid=kid or make_kid(issuer, private.public_key()), private=private)

    @classmethod
    def from_pem(cls, issuer: TenantId, pem: bytes, *, password: bytes | None = None, kid: str | None = None) -> Self:
        """Read PKCS#8 PEM. :raises InvalidKeyError: if it is none, is no P-256 key or the password is wrong."""
        return cls.of(issuer, private_key_from_pem(pem, password), kid)

    def to_pem(self, password: bytes | None = None) -> bytes:
        """Write PKCS#8 PEM, encrypted if ``password`` is given."""
        return private_key_to_pem(self.private, password)

    @property
    def verification_key(self) -> VerificationKey:
        """The public half, for the key set."""
        return VerificationKey(issuer=self.issuer, kid=self.kid, public=self.private.public_key())

    def sign(self, message: bytes) -> bytes:
        """Sign with ES256: 64 bytes, r || s."""
        return sign_message(self.private, message)


class KeySet:
    """The keys a gate or service believes, by exact ``kid``. Immutable; a change is a new set.

    :param keys: of one or several issuers.
    :param most: keys that may be in it.
    :raises InvalidKeyError: if a ``kid`` stands twice, if two keys would have one name in a CWT, or for more keys than
        ``most``.
    """

    __slots__ = ("_by_cose_kid", "_by_header", "_by_kid")

    def __init__(self, keys: Iterable[VerificationKey] = (), *, most: int = MAX_KEYS) -> None:
        by_kid: dict[str, VerificationKey] = {}
        by_cose_kid: dict[bytes, VerificationKey] = {}
        for key in keys:
            if key.kid in by_kid:
                raise InvalidKeyError("the kid stands twice in the set", key.kid)
            by_kid[key.kid] = key
            if len(by_kid) > most:
                raise InvalidKeyError(f"more than {most} keys in one set")
            if by_cose_kid.setdefault(key.cose_kid, key) is not key:
                raise InvalidKeyError("its name in a CWT is that of another key of the set", key.kid)
        self._by_kid = by_kid
        self._by_cose_kid = by_cose_kid
        # The header our own signer writes for each key: the gate compares it and parses nothing.
        self._by_header = {protected_header(CARD_TYP, kid): key for kid, key in by_kid.items()}

    @classmethod
    def from_jwks(cls, issuer: TenantId, document: bytes | Mapping[str, Any]) -> Self:
        """Read a JWKS (RFC 7517 section 5), all or nothing.

        :param document: the JSON bytes (preferred: keys that stand twice are then seen) or the parsed object.
        :raises InvalidKeyError: if the document or any key in it is not in order.
        """
        if isinstance(document, bytes):
            if len(document) > MAX_JWKS_BYTES:
                raise InvalidKeyError(f"the key set has more than {MAX_JWKS_BYTES} bytes")
            try:
                document = strict_object(document)
            except InvalidEncodingError as error:
                raise InvalidKeyError(f"the key set is no strict JSON: {error}") from error
        members = document.get("keys")
        if not isinstance(members, list) or not all(isinstance(member, Mapping) for member in members):
            raise InvalidKeyError("the key set must have a list of objects named keys")
        return cls(VerificationKey.from_jwk(issuer, member) for member in members)

    def to_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Write the set as JWKS, in the order the keys were given."""
        return {"keys": [key.to_jwk() for key in self]}

    def get(self, kid: str) -> VerificationKey | None:
        """Find a key by exact ``kid``."""
        return self._by_kid.get(kid)

    def by_card_header(self, segment: bytes) -> VerificationKey | None:
        """Find the key whose card header is exactly this base64url text, as our own signer writes it."""
        return self._by_header.get(segment)

    def by_cose_kid(self, kid: bytes) -> VerificationKey | None:
        """Find a key by its name in a CWT, exactly those bytes."""
        return self._by_cose_kid.get(kid)

    def merged(self, other: KeySet) -> KeySet:
        """Both sets together, however many they are: each was bounded when it was made, and a council with many keys
        crowds out nobody's. :raises InvalidKeyError: if they share a ``kid`` or a name in a CWT.
        """
        return KeySet([*self, *other], most=len(self) + len(other))

    def without(self, kid: str) -> KeySet:
        """The set without one key, e.g. after it was revoked in an emergency."""
        return KeySet(key for key in self if key.kid != kid)

    def __iter__(self) -> Iterator[VerificationKey]:
        return iter(self._by_kid.values())

    def __len__(self) -> int:
        return len(self._by_kid)

    def __contains__(self, kid: object) -> bool:
        return kid in self._by_kid

    def __eq__(self, other: object) -> bool:
        return self._by_kid == other._by_kid if isinstance(other, KeySet) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._by_kid))

    def __repr__(self) -> str:
        return f"KeySet({', '.join(self._by_kid)})"


def make_kid(issuer: str, public: ec.EllipticCurvePublicKey) -> str:
    """Name a key after its owner and thumbprint, e.g. ``wcc-Ab3dE_9x``."""
    return f"{issuer}-{thumbprint(public)[:KID_THUMBPRINT_CHARS]}"


def make_cose_kid(public: ec.EllipticCurvePublicKey) -> bytes:
    """Name a key for a CWT, 4 bytes."""
    return thumbprint_digest(public)[:COSE_KID_BYTES]


def protected_header(typ: str | None, kid: str | None) -> bytes:
    """Base64url of the one header this project writes: ``alg``, ``kid``, ``typ`` in this order."""
    members = {"alg": ALG, "kid": kid, "typ": typ}
    return b64url_encode(canonical_json({name: value for name, value in members.items() if value is not None}))
