"""A phone without a browser: its own key, and signed requests as the page makes them."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from cardservice.phone.proof import bind_message, contact_message
from entitlements.credential.encoding import b64url_decode, b64url_encode
from entitlements.credential.es256 import compress, generate_private_key, sign_message
from entitlements.credential.keys import KeySet
from entitlements.credential.live import live_message, live_text
from entitlements.model import TenantId
from tests.support.service import Service
from tests.support.state import post


def now_ms() -> int:
    return int(time.time() * 1000)


async def link_for(service: Service, person_id: str, *, tenant: str = "wcc", **more: Any) -> str:
    """A link to a card for a person: what stands behind ``/card/l/``."""
    reply = await post(service, f"/v1/people/{person_id}/phone-links", more or None, tenant=tenant, roles="desk")
    return str(reply["url"]).rpartition("/")[2]


async def link_in_place_of(service: Service, card_id: str, *, tenant: str = "wcc") -> str:
    """A link to a card that takes the place of another."""
    reply = await post(service, f"/v1/cards/{card_id}/phone-link", tenant=tenant, roles="desk")
    return str(reply["url"]).rpartition("/")[2]


async def card_keys(service: Service, tenant: str = "wcc") -> KeySet:
    """The keys that sign the council's cards, as anybody may read them."""
    async with service.http.get(f"{service.url}/v1/tenants/{tenant}/jwks.json?purpose=card") as response:
        return KeySet.from_jwks(TenantId(tenant), await response.read())


@dataclass
class FakePhone:
    """Signs what it is told to send. Status and JSON come back; nothing is raised for a refusal."""

    service: Service
    key: ec.EllipticCurvePrivateKey = field(default_factory=generate_private_key)
    card: dict[str, Any] = field(default_factory=dict)
    asked_ms: int = 0

    @property
    def point(self) -> bytes:
        """Its public key, compressed."""
        return compress(self.key.public_key())

    def _now(self) -> int:
        """Now, and later than ever before."""
        self.asked_ms = max(now_ms(), self.asked_ms + 1)
        return self.asked_ms

    async def send(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        async with self.service.http.post(self.service.url + path, json=body) as response:
            return response.status, await response.json()

    def binding(self, link: str, **changes: Any) -> dict[str, Any]:
        at = changes.pop("at", None) or self._now()
        return {
            "link": link,
            "public_key": b64url_encode(self.point).decode(),
            "at": at,
            "signature": b64url_encode(sign_message(self.key, bind_message(link, self.point, at))).decode(),
        } | changes

    async def bind(self, link: str, **changes: Any) -> tuple[int, Any]:
        """Get a card by a link; the phone keeps what it is given."""
        status, answer = await self.send("/v1/phone/bind", self.binding(link, **changes))
        if status == 201:
            self.card = answer
        return status, answer

    def asking(self, **changes: Any) -> dict[str, Any]:
        at = changes.pop("at", None) or self._now()
        tenant, card_id = self.card["tenant"], self.card["card_id"]
        message = contact_message(tenant, b64url_decode(card_id.encode()), at)
        signature = b64url_encode(sign_message(self.key, message)).decode()
        return {"tenant": tenant, "card_id": card_id, "at": at, "signature": signature} | changes

    async def ask(self, **changes: Any) -> tuple[int, Any]:
        """How the card stands."""
        return await self.send("/v1/phone/card", self.asking(**changes))

    def live_code(self, iat: int) -> bytes:
        """The live code of its card at a second."""
        cwt = b64url_decode(self.card["cwt"].encode())
        return live_text(cwt, iat, sign_message(self.key, live_message(cwt, iat))).encode()


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
