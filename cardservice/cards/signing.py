"""From a card's row to its signed code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entitlements.credential.claims import CardClaims, Channel
from entitlements.credential.encoding import b64url_encode
from entitlements.credential.jwt import sign_card
from entitlements.credential.keys import SigningKey
from entitlements.model import CardId, CardIndex, Instant, TenantId


def card_text(card_id: bytes) -> str:
    """A card id as people and URLs see it: base64url, 11 characters."""
    return b64url_encode(card_id).decode()


def status_uri(public_url: str, tenant: str) -> str:
    """Address of the council's status list, as its cards carry it (IETF Token Status List section 6.2)."""
    return f"{public_url}/v1/tenants/{tenant}/status"


def claims_of(card: Mapping[str, Any], public_url: str) -> CardClaims:
    """What the card of this row says."""
    return CardClaims(
        issuer=TenantId(card["tenant"]),
        card_id=CardId(bytes(card["card_id"])),
        index=CardIndex(card["card_index"]),
        status_uri=status_uri(public_url, card["tenant"]),
        issued_at=Instant(int(card["issued_at"].timestamp())),
        expires_at=Instant(int(card["expires_at"].timestamp())),
        issue_number=card["issue_number"],
        channel=Channel(card["channel"]),
        device_key=None if card["device_key"] is None else bytes(card["device_key"]),
    )


def sign_code(card: Mapping[str, Any], key: SigningKey, public_url: str) -> str:
    """The card as compact JWT (RFC 7519). The caller has seen that the card is active."""
    return sign_card(claims_of(card, public_url), key)
