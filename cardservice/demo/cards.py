"""Cards for the story: of honest residents, and of the dishonest kind."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec

from cardservice.demo.client import Api
from cardservice.errors import DemoError
from entitlements.credential.jwt import claims_from_wire, sign_card
from entitlements.credential.keys import SigningKey
from entitlements.model import Instant, TenantId


def check_with_pyjwt(token: str, jwks: dict[str, Any]) -> dict[str, Any]:
    """The claims of a card, verified with nothing but PyJWT and the council's public keys.

    Raises:
        DemoError: it does not verify.
    """
    try:
        kid = jwt.get_unverified_header(token)["kid"]
        key = jwt.PyJWKSet.from_dict(jwks)[kid]
        claims: dict[str, Any] = jwt.decode(token, key=key, algorithms=["ES256"])
    except (jwt.PyJWTError, KeyError) as error:
        raise DemoError(what="card", detail=f"it does not verify: {error}") from error
    return claims


def forged_card(token: str) -> str:
    """The same claims under the same key id, signed by somebody else's key."""
    kid = jwt.get_unverified_header(token)["kid"]
    return resigned(token, SigningKey.of(TenantId("wcc"), SigningKey.generate(TenantId("wcc")).private, kid=kid))


def card_of_unknown_key(token: str) -> str:
    """The same claims, signed by a key that no council ever published."""
    return resigned(token, SigningKey.generate(TenantId("wcc")))


def expired_card(token: str, key: SigningKey) -> str:
    """A card of the council itself that ended a week ago."""
    claims = claims_from_wire(jwt.decode(token, options={"verify_signature": False}))
    now = int(datetime.now(UTC).timestamp())
    week = 7 * 86_400
    return sign_card(
        msgspec.structs.replace(claims, issued_at=Instant(now - 52 * week), expires_at=Instant(now - week)), key
    )


def resigned(token: str, key: SigningKey) -> str:
    """The same claims, signed by this key."""
    return sign_card(claims_from_wire(jwt.decode(token, options={"verify_signature": False})), key)


def random_bytes() -> bytes:
    """What a broken or curious device may send."""
    return secrets.token_bytes(200)


class Holder:
    """A resident of the story with a card."""

    def __init__(self, api: Api, person_id: str, card: dict[str, Any], token: str) -> None:
        self.api = api
        self.person_id = person_id
        self.card = card
        self.token = token

    @property
    def card_id(self) -> str:
        """The card's id, base64url."""
        return str(self.card["card_id"])

    async def picture(self) -> bytes:
        """The card's QR code as PNG."""
        png = await self.api.call("GET", f"/v1/cards/{self.card_id}/qr.png", tenant="wcc")
        if not isinstance(png, bytes):
            raise DemoError(what="service", detail="the QR code is not a picture")
        return png
