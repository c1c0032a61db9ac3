"""What a card says, and the types that keep the unchecked apart from the checked.

An :class:`UnverifiedPresentation` becomes a :class:`VerifiedCard` or a :class:`Refused`, and nothing else. The claims
are the same object whatever the encoding (JWT, CWT, live code). They hold no personal data and no entitlement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from entitlements.credential.errors import InvalidClaimsError, InvalidKeyError
from entitlements.credential.es256 import decompress
from entitlements.model import CardId, CardIndex, Instant, Outcome, Reason, TenantId

CARD_TYP: Final = "rescard+jwt"
"""``typ`` of a card as JWT, so that no other token of ours passes for a card (RFC 8725 section 3.11)."""

CARD_ID_BYTES: Final = 8
CLOCK_LEEWAY: Final = 120
"""Seconds: a reader's clock is trusted to drift by as much (see the clock rule of the decision)."""
INSTANT_MAX: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, the last second that ``datetime`` can hold."""
INDEX_LIMIT: Final = 2**32
"""The cache numbers its rows in 32 bits."""
ISSUE_NUMBER_LIMIT: Final = 2**63
"""The database keeps it in a signed 64-bit column."""
STATUS_URI_MAX_CHARS: Final = 120
"""A longer address would not leave a QR code that a gate's camera reads well."""

_ISSUER = re.compile(r"[a-z][a-z0-9-]{0,15}")
_STATUS_URI = re.compile(r"https?://[!#-\[\]-~]+")
"""Absolute, printable ASCII without quote and backslash, so that it has one JSON text only."""


class Channel(StrEnum):
    """What the card was issued for; on the wire ``ch``."""

    STATIC = "static"
    LIVE = "live"
    CHIP = "chip"


class CardForm(StrEnum):
    """Encoding in which a card was presented: compact JWT, static CWT (``RP1:``), live code (``RC1:``), Google's
    rotating code (``RG1:``), NFC chip with a message of its own, serial number of a legacy chip (``RU1:``).
    """

    JWT = "jwt"
    CWT = "cwt"
    LIVE = "live"
    TOTP = "totp"
    CHIP = "chip"
    UID = "uid"


class CardClaims(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Signed statements of a card, validated when made.

    :param issuer: short id of the council (``iss``), 1-16 of ``a-z 0-9 -``.
    :param card_id: 8 opaque bytes (``jti``, base64url, 11 characters).
    :param index: dense number of the card in the tenant (``status.status_list.idx``), 0 to 2**32 - 1.
    :param status_uri: address of the status list (``status.status_list.uri``, IETF Token Status List section 6.2);
        ``None`` in the small forms, which leave it out: a gate never asks there, and the service knows it anyway.
    :param issued_at: seconds since the epoch (``iat``).
    :param expires_at: first second in which the card is no longer good (``exp``, RFC 7519 section 4.1.4).
    :param issue_number: the tenant's issue number when it was signed (``fn``), by which a gate can tell "newer than
        my cache" from "unknown".
    :param channel: static, live or chip (``ch``).
    :param device_key: compressed P-256 point, 33 bytes (``cnf``, RFC 7800), only on live cards.
    :raises InvalidClaimsError: if a field is out of its range.
    """

    issuer: TenantId
    card_id: CardId
    index: CardIndex
    issued_at: Instant
    expires_at: Instant
    issue_number: int
    status_uri: str | None = None
    channel: Channel = Channel.STATIC
    device_key: bytes | None = None

    def __post_init__(self) -> None:
        # Types are checked too: the values come from JSON, where a number may be a string, a float or true.
        if type(self.issuer) is not str or _ISSUER.fullmatch(self.issuer) is None:
            raise InvalidClaimsError("issuer", "must be 1-16 characters of a-z, 0-9 and -, beginning with a letter")
        if type(self.card_id) is not bytes or len(self.card_id) != CARD_ID_BYTES:
            raise InvalidClaimsError("card_id", f"must be {CARD_ID_BYTES} bytes")
        if type(self.index) is not int or not 0 <= self.index < INDEX_LIMIT:
            raise InvalidClaimsError("index", f"must be a whole number below {INDEX_LIMIT}")
        if self.status_uri is not None:
            _check_status_uri(self.status_uri)
        if type(self.issued_at) is not int or not 0 <= self.issued_at <= INSTANT_MAX:
            raise InvalidClaimsError("issued_at", "must be whole seconds since the epoch, at most the year 9999")
        if type(self.expires_at) is not int or not self.issued_at < self.expires_at <= INSTANT_MAX:
            raise InvalidClaimsError("expires_at", "must be whole seconds after issued_at, at most the year 9999")
        if type(self.issue_number) is not int or not 0 <= self.issue_number < ISSUE_NUMBER_LIMIT:
            raise InvalidClaimsError("issue_number", "must be a whole number below 2**63")
        if type(self.channel) is not Channel:
            raise InvalidClaimsError("channel", "must be one of " + ", ".join(Channel))
        if self.device_key is not None:
            _check_device_key(self.device_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedPresentation:
    """Bytes as a reader received them. Nothing in them may be believed.

    :param data: the text of the code or of the NDEF record.
    :param media: the reader's word for how it came (``qr``, ``nfc-ndef``, ...). What only a chip may say is refused if
        it came another way; otherwise it decides nothing here.
    """

    data: bytes
    media: str


class VerifiedCard(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A card whose signature, form and times were found good. Revocation and entitlement are not looked at yet.

    :param digest: SHA-256 of the signed part. This, never the text of the token, is the card's identity for replay:
        an ECDSA signature (r, s) has a twin (r, n-s) that verifies as well.
    :param presentation: what was proven now, for services that demand a kind. A photograph of a live card's JWT is
        ``static``, whatever ``claims.channel`` says it was issued for.
    :param kid: the council's key that signed the card; empty where no signature of the council was presented (TOTP,
        serial number).
    :param sequence: of a one-time presentation, a number that must strictly increase for this card at a site (live:
        the second it was signed in; TOTP: the time step; chip: the SUN counter); ``None`` for static forms.
    """

    claims: CardClaims
    form: CardForm
    kid: str
    digest: bytes
    presentation: Channel = Channel.STATIC
    sequence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why a presentation is no card here.

    :param reason: for the decision and the public display.
    :param detail: for staff and the log; never anything that the presentation itself said.
    """

    reason: Reason
    detail: str

    @property
    def outcome(self) -> Outcome:
        """``refer`` where our own clock is in doubt, otherwise ``deny``."""
        return Outcome.REFER if self.reason is Reason.CLOCK_UNTRUSTED else Outcome.DENY


BAD_SIGNATURE: Final = Refused(reason=Reason.BAD_SIGNATURE, detail="bad signature")
"""The one answer to every malformed or wrongly signed token, so that a forger learns nothing."""
UNKNOWN_KEY: Final = Refused(reason=Reason.BAD_SIGNATURE, detail="unknown key")
"""In public the same; staff see that a key may be missing from the reader's set."""
BAD_CLAIMS: Final = Refused(reason=Reason.BAD_SIGNATURE, detail="signed, but not a card")
"""Only a holder of a council's key can bring this about: a fault of the issuer."""
EXPIRED: Final = Refused(reason=Reason.CARD_EXPIRED, detail="the card's last day is over")
FROM_THE_FUTURE: Final = Refused(
    reason=Reason.CLOCK_UNTRUSTED, detail="the card was issued after the time this reader's clock shows"
)


def refusal_by_time(claims: CardClaims, now: int, leeway: int) -> Refused | None:
    """Judge the card's times.

    :param now: seconds since the epoch.
    :param leeway: seconds by which ``now`` may be behind the issuer's clock. The expiry gets none: cards live for
        months, and a last second that depends on settings helps nobody.
    """
    if now >= claims.expires_at:
        return EXPIRED
    if claims.issued_at > now + leeway:
        return FROM_THE_FUTURE
    return None


def _check_status_uri(uri: object) -> None:
    if type(uri) is not str or len(uri) > STATUS_URI_MAX_CHARS or _STATUS_URI.fullmatch(uri) is None:
        raise InvalidClaimsError(
            "status_uri", f"must be an http(s) address of at most {STATUS_URI_MAX_CHARS} characters"
        )


def _check_device_key(point: bytes) -> None:
    if type(point) is not bytes:
        raise InvalidClaimsError("device_key", "must be bytes")
    try:
        decompress(point)
    except InvalidKeyError as error:
        raise InvalidClaimsError("device_key", error.problem) from error
