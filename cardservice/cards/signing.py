"""From a card's row to its signed code."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from entitlements.credential.claims import CardClaims, Channel
from entitlements.credential.cwt import card_text as cwt_text
from entitlements.credential.cwt import sign_card_cwt
from entitlements.credential.encoding import b64url_encode
from entitlements.credential.jwt import sign_card
from entitlements.credential.keys import SigningKey
from entitlements.model import CardId, CardIndex, Instant, TenantId


class CodeForm(StrEnum):
    """Encoding of a card's code; the claims are the same."""

    JWT = "jwt"
    """Compact JWT (RFC 7519): any JWT library can check it."""
    RP1 = "rp1"
    """CWT as ``RP1:`` text: a small QR code, for paper, plastic and passes."""


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


def sign_code(card: Mapping[str, Any], key: SigningKey, public_url: str, form: CodeForm = CodeForm.JWT) -> str:
    """The card as text in the form asked for. The caller has seen that the card is active."""
    claims = claims_of(card, public_url)
    return sign_card(claims, key) if form is CodeForm.JWT else cwt_text(sign_card_cwt(claims, key))
