"""What a reader's site must keep secret, and only where its services need it: ``GET /v1/reader/secrets``.

Masters of rotating codes and of chips, verifiers of PINs, and the keyed hashes of legacy chips' serial numbers. A site
whose services ask for none of it gets an empty page. Nothing here is ever part of a feed: a feed is kept in the clear
on a gate's disk, this is not. Octets are base64url without padding; a value that does not hold is refused whole, so
that a reader keeps the last good page.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from entitlements.credential.encoding import b64url_decode
from entitlements.credential.errors import InvalidEncodingError

TOTP_MASTER_BYTES: Final = 32
"""HMAC-SHA256 key from which each card's TOTP secret is derived."""
CHIP_MASTER_BYTES: Final = 16
"""AES-128 master of chips, diversified for each chip (NXP AN10922 section 2.2)."""
UID_KEY_BYTES: Final = 32
UID_HASH_BYTES: Final = 32
"""HMAC-SHA256 of a serial number under the council's key: a stolen page is no list of serial numbers."""
CARD_ID_BYTES: Final = 8
MAX_VERIFIER_CHARS: Final = 160
MAX_MEMORY_KIB: Final = 65_536
MAX_PASSES: Final = 16
MAX_LANES: Final = 4
"""Bounds on what a verifier may ask of a gate: 64 MiB and well under a second, whatever the page says."""

_PHC: Final = re.compile(
    r"\$argon2id\$v=19\$m=([1-9][0-9]{0,6}),t=([1-9][0-9]?),p=([1-9])\$[A-Za-z0-9+/]{11,44}\$[A-Za-z0-9+/]{43}"
)
"""The PHC string of argon2id (RFC 9106) with a tag of 32 bytes, as ``cryptography`` writes it."""
_TENANT: Final = re.compile(r"[a-z][a-z0-9-]{0,15}")


class PinVerifier(msgspec.Struct, frozen=True, kw_only=True):
    """By what a gate checks the PIN of one card, validated when made.

    ``index`` and ``tag`` are the card's (:func:`entitlements.wire.rows.card_tag`); ``verifier`` is argon2id in PHC form
    over the PIN's ASCII digits; ``version`` grows with every change of the PIN and every unlocking at the desk, by
    which a reader knows that attempts begin anew.
    """

    tenant: str
    index: int
    tag: int
    verifier: str
    version: int

    def __post_init__(self) -> None:
        _check_card(self.tenant, self.index, self.tag)
        check_verifier(self.verifier)
        if self.version < 1:
            raise ValueError("version counts from 1")

    def __repr__(self) -> str:
        # A four-digit PIN can be found from its verifier by trying: it does not go into a log.
        return f"PinVerifier({self.tenant!r}, index={self.index}, version={self.version})"


class UidCard(msgspec.Struct, frozen=True, kw_only=True):
    """A card known by nothing but its chip's serial number, which anybody can copy (legacy), validated when made.

    ``uid_hash`` is HMAC-SHA256 of the serial number under one of the council's ``uid_keys``; ``card`` the card id;
    times are seconds since the epoch, as in the claims of a signed card.
    """

    tenant: str
    uid_hash: str
    index: int
    card: str
    issued_at: int
    expires_at: int
    issue_number: int

    def __post_init__(self) -> None:
        octets(self.uid_hash, UID_HASH_BYTES)
        _check_card(self.tenant, self.index, self.tag)
        if not 0 <= self.issued_at < self.expires_at or self.issue_number < 0:
            raise ValueError("times or issue number out of range")

    @property
    def card_id(self) -> bytes:
        """The 8 octets of the card id."""
        return octets(self.card, CARD_ID_BYTES)

    @property
    def tag(self) -> int:
        """The card's tag, as in its row."""
        return int.from_bytes(self.card_id[:4], "big")


class SecretsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of ``GET /v1/reader/secrets``, validated when made; unknown fields are ignored, later versions add some.

    ``tag`` names this content (also the ETag, and ``secrets`` of the stream's beat). Masters and keys by tenant, newest
    first: an older one stays until nothing that it made is in use any more. ``pin_tenants`` are the councils whose
    verifiers are here complete: a card of theirs that has none has no PIN, while nothing is known of other councils'.
    """

    tag: str
    totp: dict[str, list[str]] = {}
    chip: dict[str, list[str]] = {}
    pins: list[PinVerifier] = []
    pin_tenants: list[str] = []
    uids: list[UidCard] = []
    uid_keys: dict[str, list[str]] = {}

    def __post_init__(self) -> None:
        for keys, size in (
            (self.totp, TOTP_MASTER_BYTES),
            (self.chip, CHIP_MASTER_BYTES),
            (self.uid_keys, UID_KEY_BYTES),
        ):
            masters(keys, size)
        for tenant in self.pin_tenants:
            _check_tenant(tenant)

    def __repr__(self) -> str:
        return f"SecretsPage({self.tag!r}, {len(self.pins)} verifiers, {len(self.uids)} serial numbers)"

    @property
    def empty(self) -> bool:
        """Whether the site needs no secret at all."""
        return not (self.totp or self.chip or self.pins or self.pin_tenants or self.uids or self.uid_keys)

    def totp_masters(self) -> dict[str, tuple[bytes, ...]]:
        """32 octets each, by issuer, newest first."""
        return masters(self.totp, TOTP_MASTER_BYTES)

    def chip_masters(self) -> dict[str, tuple[bytes, ...]]:
        """16 octets each, by issuer, newest first."""
        return masters(self.chip, CHIP_MASTER_BYTES)

    def uid_masters(self) -> dict[str, tuple[bytes, ...]]:
        """32 octets each, by issuer, newest first."""
        return masters(self.uid_keys, UID_KEY_BYTES)


_decoder: msgspec.json.Decoder[SecretsPage] = msgspec.json.Decoder(SecretsPage)


def decode_secrets(data: bytes | str) -> SecretsPage:
    """A page from its JSON.

    Raises:
        msgspec.DecodeError: not JSON, of the wrong shape, or a value that does not hold. The message names no value.
    """
    return _decoder.decode(data)


def check_verifier(text: str) -> None:
    """Let only an argon2id verifier pass that a gate can afford to check.

    Raises:
        ValueError: not in PHC form, or asking for more memory or time than :data:`MAX_MEMORY_KIB` and its kin.
    """
    match = _PHC.fullmatch(text) if len(text) <= MAX_VERIFIER_CHARS else None
    if match is None:
        raise ValueError("a verifier is argon2id in PHC form")
    memory, passes, lanes = (int(number) for number in match.groups())
    # RFC 9106 section 3.1: at least 8 blocks of 1 KiB a lane.
    if not (8 * lanes <= memory <= MAX_MEMORY_KIB and passes <= MAX_PASSES and lanes <= MAX_LANES):
        raise ValueError("a verifier asks for more than a gate gives")


def masters(keys: dict[str, list[str]], size: int) -> dict[str, tuple[bytes, ...]]:
    """Masters by tenant as octets.

    Raises:
        ValueError: a tenant's name, or a key that is not ``size`` octets in base64url.
    """
    for tenant in keys:
        _check_tenant(tenant)
    return {tenant: tuple(octets(text, size) for text in texts) for tenant, texts in keys.items()}


def octets(text: str, size: int) -> bytes:
    """Octets of canonical base64url.

    Raises:
        ValueError: anything else, or another number of octets.
    """
    try:
        raw = b64url_decode(text.encode())
    except (InvalidEncodingError, UnicodeEncodeError) as error:
        raise ValueError("not base64url") from error
    if len(raw) != size:
        raise ValueError(f"not {size} octets")
    return raw


def _check_tenant(tenant: str) -> None:
    if _TENANT.fullmatch(tenant) is None:
        raise ValueError("not the short id of a council")


def _check_card(tenant: str, index: int, tag: int) -> None:
    _check_tenant(tenant)
    if not (0 <= index < 1 << 32 and 0 <= tag < 1 << 32):
        raise ValueError("index and tag have 32 bits")
