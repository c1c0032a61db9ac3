"""The public status list as a relying party reads it, with nothing of ours but what is published."""

from __future__ import annotations

import base64
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import jwt

from tests.support.service import Service

VALID, INVALID, SUSPENDED = 0, 1, 2


async def fetch(service: Service, tenant: str = "wcc", query: str = "", **headers: str) -> tuple[int, bytes, Any]:
    """Status, body as it came over the wire, and headers."""
    asked = {"Accept-Encoding": "identity"} | {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{service.url}/v1/tenants/{tenant}/status{query}"
    async with service.http.get(url, headers=asked) as response:
        return response.status, await response.read(), response.headers.copy()


async def keys_of(service: Service, tenant: str = "wcc") -> dict[str, Any]:
    async with service.http.get(f"{service.url}/v1/tenants/{tenant}/jwks.json?purpose=status") as response:
        return dict(await response.json())


async def claims_of(service: Service, tenant: str = "wcc", body: bytes | None = None) -> dict[str, Any]:
    """The list's claims, verified by PyJWT and the published keys alone."""
    if body is None:
        status, body, _ = await fetch(service, tenant)
        assert status == 200, body
    header = jwt.get_unverified_header(body)
    assert header["typ"] == "statuslist+jwt"
    keys = jwt.PyJWKSet.from_dict(await keys_of(service, tenant))
    return dict(jwt.decode(body, key=keys[header["kid"]], algorithms=["ES256"]))


def bits_at(claims: Mapping[str, Any], index: int) -> int:
    """A status, read by nothing of ours: the draft's rules in five lines."""
    lst, bits = claims["status_list"]["lst"], claims["status_list"]["bits"]
    octets = zlib.decompress(base64.urlsafe_b64decode(lst + "=" * (-len(lst) % 4)))
    text = "".join(f"{octet:08b}"[::-1] for octet in octets[: (index + 1) * bits // 8 + 1])
    return int(text[index * bits : (index + 1) * bits][::-1], 2)


async def told(service: Service, card: Mapping[str, Any], tenant: str = "wcc") -> int:
    """What the list says of a card now."""
    return bits_at(await claims_of(service, tenant), card["index"])


async def happens(service: Service, card: Mapping[str, Any], event: str, tenant: str = "wcc") -> Any:
    status, answer = await service.call("POST", f"/v1/cards/{card['card_id']}/{event}", tenant=tenant)
    assert status in (200, 201), answer
    return answer


def status_claim(card: Mapping[str, Any]) -> dict[str, Any]:
    """Where the signed card itself says that its status stands."""
    decoded = jwt.decode(card["token"], options={"verify_signature": False})
    return dict(decoded["status"]["status_list"])


@asynccontextmanager
async def owner(service: Service) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(service.settings.database_url)
    try:
        yield conn
    finally:
        await conn.close()
