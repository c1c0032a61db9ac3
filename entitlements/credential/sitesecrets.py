"""What a reader's site must keep secret to read the forms of card that rest on a shared secret.

Google's rotating code (``RG1:``) and the NTAG 424 DNA chip are checked with symmetric keys: whoever can check can also
forge; and a legacy chip's serial number is a secret in itself, if a poor one. So a reader holds them only if a service
offered at its site accepts such a card, and a site that needs none holds :data:`NO_SECRETS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from entitlements.credential.claims import CardClaims
from entitlements.credential.errors import InvalidKeyError

TOTP_MASTER_BYTES: Final = 32
"""Each card's TOTP secret is derived from it by HMAC-SHA256, so it has the length of that hash."""
CHIP_MASTER_BYTES: Final = 16
"""AES-128, the one cipher of the NTAG 424 DNA (NXP AN10922 section 2.2)."""
UID_KEY_BYTES: Final = 32
UID_HASH_BYTES: Final = 32
"""HMAC-SHA256 of a legacy chip's serial number."""
MAX_MASTERS: Final = 8
"""Masters of one issuer and kind in use at once; bounds what one wrong code costs to refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSecrets:
    """Shared secrets by issuer, the newest first. They show in no ``repr``.

    :param totp: issuer to masters of 32 bytes, for Google's rotating code.
    :param chip: issuer to AES masters of 16 bytes, from which each chip's keys are diversified (NXP AN10922).
    :param uid_keys: issuer to HMAC keys of 32 bytes, for the serial numbers of legacy chips.
    :param uids: hash of a serial number under one of those keys, 32 bytes, to the card that it stands for.
    :raises InvalidKeyError: if a master has another length, or an issuer more than :data:`MAX_MASTERS` of a kind.
    """

    totp: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    chip: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    uid_keys: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    uids: Mapping[bytes, CardClaims] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for kind, masters_by_issuer, length in (
            ("TOTP", self.totp, TOTP_MASTER_BYTES),
            ("chip", self.chip, CHIP_MASTER_BYTES),
            ("serial number", self.uid_keys, UID_KEY_BYTES),
        ):
            for masters in masters_by_issuer.values():
                if len(masters) > MAX_MASTERS:
                    raise InvalidKeyError(f"more than {MAX_MASTERS} {kind} masters of one issuer")
                if any(type(master) is not bytes or len(master) != length for master in masters):
                    raise InvalidKeyError(f"a {kind} master has {length} bytes")
        if any(type(hashed) is not bytes or len(hashed) != UID_HASH_BYTES for hashed in self.uids):
            raise InvalidKeyError(f"the hash of a serial number has {UID_HASH_BYTES} bytes")


NO_SECRETS: Final = SiteSecrets()
"""Of a site that accepts no card which needs a shared secret."""
