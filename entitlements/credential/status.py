"""Status lists: what became of each card of a council, as one signed token that anybody may fetch.

IETF Token Status List (draft-ietf-oauth-status-list), JWT form. The service signs with :func:`sign_status_list`; a
relying party that has verified a card asks :func:`status_of`, or keeps what :func:`read_status_list` gave. A gate does
neither: it has its feed, which is faster and knows more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from entitlements.credential.claims import CLOCK_LEEWAY, INSTANT_MAX, STATUS_URI_MAX_CHARS
from entitlements.credential.encoding import b64url_decode, b64url_encode, canonical_json, strict_object
from entitlements.credential.errors import InvalidEncodingError, TokenError
from entitlements.credential.jws import sign_compact, split_compact, verify_compact
from entitlements.credential.keys import KeySet, SigningKey
from entitlements.credential.statusbits import MAX_ENTRIES, SIZES, deflate, inflate, packed_bytes, status_at
from entitlements.model import Instant, TenantId

STATUS_TYP: Final = "statuslist+jwt"
"""``typ`` of a status list (section "Status List Token in JWT Format")."""
STATUS_MEDIA_TYPE: Final = f"application/{STATUS_TYP}"
MAX_TOKEN_CHARS: Final = 8 * 1024 * 1024
"""Length cap before anything is decoded: the largest list of 2 bits, were it incompressible, in base64url twice."""

_URI = re.compile(r"https?://[!#-\[\]-~]+")


class StatusRefusal(StrEnum):
    """Why nothing can be said of a card's status. The draft then wants the card refused."""

    BAD_SIGNATURE = "bad_signature"
    """Not a status list that a key known here has signed."""
    UNKNOWN_KEY = "unknown_key"
    """Signed with a key that is not in the set: fetch the set and try once more."""
    MALFORMED = "malformed"
    """Signed, but not a status list."""
    TOO_LARGE = "too_large"
    """It has more entries than :data:`~entitlements.credential.statusbits.MAX_ENTRIES`."""
    OTHER_LIST = "other_list"
    """Its subject is not the address that the card names."""
    EXPIRED = "expired"
    FROM_THE_FUTURE = "from_the_future"
    """Issued after the time shown by our own clock."""
    OUT_OF_BOUNDS = "out_of_bounds"
    """It ends before the card's index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusList:
    """What a status list says.

    :param uri: its own address (``sub``), which every card on it names.
    :param issued_at: seconds since the epoch (``iat``).
    :param expires_at: first second in which it is no longer good (``exp``); ``None`` where it does not say.
    :param ttl: seconds for which it may be kept before a fresh one is fetched; ``None`` where it does not say.
    :param bits: of one status: 1, 2, 4 or 8.
    :param packed: the statuses, as :mod:`~entitlements.credential.statusbits` packs them.
    :raises ValueError: a value is out of its range; names it.
    """

    uri: str
    issued_at: Instant
    expires_at: Instant | None
    ttl: int | None
    bits: int
    packed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        # Types too: the values may come from JSON, where a number may be a string, a float or true.
        if type(self.uri) is not str or len(self.uri) > STATUS_URI_MAX_CHARS or _URI.fullmatch(self.uri) is None:
            raise ValueError(f"uri: must be an http(s) address of at most {STATUS_URI_MAX_CHARS} characters")
        if type(self.issued_at) is not int or not 0 <= self.issued_at <= INSTANT_MAX:
            raise ValueError("issued_at: must be whole seconds since the epoch, at most the year 9999")
        if self.expires_at is not None and (
            type(self.expires_at) is not int or not self.issued_at < self.expires_at <= INSTANT_MAX
        ):
            raise ValueError("expires_at: must be whole seconds after issued_at, at most the year 9999")
        if self.ttl is not None and (type(self.ttl) is not int or not 0 < self.ttl <= INSTANT_MAX):
            raise ValueError("ttl: must be whole seconds, at least 1")
        if type(self.bits) is not int or self.bits not in SIZES:
            raise ValueError("bits: must be 1, 2, 4 or 8")
        if len(self.packed) > packed_bytes(MAX_ENTRIES, self.bits):
            raise ValueError(f"packed: has more than {MAX_ENTRIES} entries")

    @property
    def entries(self) -> int:
        """How many statuses there are."""
        return len(self.packed) * 8 // self.bits

    def status(self, index: int) -> int | None:
        """The status of the card with this index; ``None`` where the list ends before it."""
        return status_at(self.packed, index, self.bits)


def sign_status_list(listing: StatusList, key: SigningKey, *, quick: bool = False) -> str:
    """Sign a status list as compact JWT.

    :param key: of the council's purpose ``status``.
    :param quick: compress for speed, see :func:`~entitlements.credential.statusbits.deflate`.
    """
    members: dict[str, Any] = {
        "sub": listing.uri,
        "iat": listing.issued_at,
        "exp": listing.expires_at,
        "ttl": listing.ttl,
        "status_list": {
            "bits": listing.bits,
            "lst": b64url_encode(deflate(listing.packed, quick=quick)).decode("ascii"),
        },
    }
    stated = {name: value for name, value in members.items() if value is not None}
    return sign_compact(canonical_json(stated), STATUS_TYP, key)


def read_status_list(
    token: str | bytes,
    keys: KeySet,
    now: int,
    *,
    uri: str,
    issuer: TenantId | None = None,
    leeway: int = CLOCK_LEEWAY,
) -> StatusList | StatusRefusal:
    """Verify a fetched list (section "Validation Rules", steps 3 to 5).

    :param keys: the council's keys of purpose ``status``.
    :param now: seconds since the epoch.
    :param uri: the address that the verified card names.
    :param issuer: the card's council; needed where ``keys`` holds those of several.
    :param leeway: seconds by which ``now`` may be behind the issuer's clock.
    """
    try:
        payload = verify_compact(token, keys, STATUS_TYP, issuer, max_chars=MAX_TOKEN_CHARS)
    except TokenError as error:
        unknown = error.code == "document_unknown_key"
        return StatusRefusal.UNKNOWN_KEY if unknown else StatusRefusal.BAD_SIGNATURE
    listing = _parse(payload)
    if isinstance(listing, StatusRefusal):
        return listing
    if listing.uri != uri:
        return StatusRefusal.OTHER_LIST
    if listing.expires_at is not None and now >= listing.expires_at:
        return StatusRefusal.EXPIRED
    if listing.issued_at > now + leeway:
        return StatusRefusal.FROM_THE_FUTURE
    return listing


def status_of(
    token: str | bytes,
    keys: KeySet,
    index: int,
    now: int,
    *,
    uri: str,
    issuer: TenantId | None = None,
    leeway: int = CLOCK_LEEWAY,
) -> int | StatusRefusal:
    """The status of one verified card by a fetched list: a :class:`~entitlements.credential.statusbits.Status`, or
    another council's own value. Arguments as :func:`read_status_list`.

    :param index: of the card (``status.status_list.idx``).
    """
    listing = read_status_list(token, keys, now, uri=uri, issuer=issuer, leeway=leeway)
    if isinstance(listing, StatusRefusal):
        return listing
    status = listing.status(index)
    return StatusRefusal.OUT_OF_BOUNDS if status is None else status


def unverified_status_list(token: str) -> StatusList | StatusRefusal:
    """What a token says, without a look at its signature: for the service, of tokens that it keeps itself."""
    try:
        payload = b64url_decode(split_compact(token.encode("ascii"), MAX_TOKEN_CHARS).payload)
    except (InvalidEncodingError, UnicodeEncodeError):
        return StatusRefusal.MALFORMED
    return _parse(payload)


def _parse(payload: bytes) -> StatusList | StatusRefusal:
    """The claims; further ones are allowed and mean nothing here (draft: "the JWT MAY contain other claims")."""
    try:
        members = strict_object(payload)
        inner = members["status_list"]
        bits, lst = inner["bits"], inner["lst"]
        if type(bits) is not int or bits not in SIZES or type(lst) is not str:
            return StatusRefusal.MALFORMED
        packed = inflate(b64url_decode(lst.encode("ascii")), packed_bytes(MAX_ENTRIES, bits))
        if packed is None:
            return StatusRefusal.TOO_LARGE
        return StatusList(
            uri=members["sub"],
            issued_at=members["iat"],
            expires_at=_stated(members, "exp"),
            ttl=_stated(members, "ttl"),
            bits=bits,
            packed=packed,
        )
    except (KeyError, TypeError, ValueError):  # a claim is missing, of another type, or out of its range
        return StatusRefusal.MALFORMED


def _stated(members: dict[str, Any], name: str) -> Any:
    """An optional claim. ``null`` is not the same as leaving it out (RFC 7519 section 4.1.4: a number)."""
    if name in members and members[name] is None:
        raise ValueError(f"{name}: is null")
    return members.get(name)
