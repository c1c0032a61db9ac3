"""Residents' PINs, as the service would send their verifiers."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from entitlements.wire.secrets import PinVerifier, SecretsPage
from tests.unit.readers.kit import counted
from tests.unit.readers.kit.council import Card, Council

PIN = "4711"
WRONG = "1148"
OPEN_LIBRARY = "wcc.libraries.open"


def verifier(card: Card, pin: str = PIN, version: int = 1) -> PinVerifier:
    """A verifier that is cheap to check: what a check costs is another test's matter."""
    salt = hashlib.sha256(card.claims.card_id).digest()[:16]
    phc = Argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=16).derive_phc_encoded(pin.encode())
    return PinVerifier(tenant="wcc", index=card.claims.index, tag=card.tag, verifier=phc, version=version)


def page(*verifiers: PinVerifier, tag: str = "p-1") -> SecretsPage:
    """What the service sends to a site whose services ask for a PIN."""
    return SecretsPage(tag=tag, pins=list(verifiers), pin_tenants=["wcc"])


def pin_council(**members: object) -> Council:
    """A council with one service, which asks for a PIN."""
    requires = [{"factor": "pin"}]
    return counted.council_with(counted.document(OPEN_LIBRARY, requires=requires, **members))
