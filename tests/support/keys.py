"""Signing keys in tests: published, rotated, and older than they are, without a wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg

from tests.support.service import Service

PATIENCE_SECONDS = 30.0


async def published_key(service: Service, *, purpose: str = "card") -> dict[str, Any]:
    """A new key that does not sign."""
    status, key = await service.call("POST", "/v1/keys", {"purpose": purpose})
    assert status == 201, key
    return dict(key)


async def rotated(service: Service, **body: Any) -> dict[str, Any]:
    """A new key on its way to sign."""
    status, key = await service.call("POST", "/v1/keys/rotate", body)
    assert status == 201, key
    return dict(key)


async def key_of(service: Service, kid: str) -> dict[str, Any]:
    """A key and how far it is."""
    status, key = await service.call("GET", f"/v1/keys/{kid}", roles="auditor")
    assert status == 200, key
    return dict(key)


async def until_key(service: Service, kid: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The key once it is as wanted; the background has no event that a caller could wait for."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not wanted(found := await key_of(service, kid)):
            pass
        return found


async def grown_up(service: Service, kid: str, *, tenant: str = "wcc") -> None:
    """Let a key have been published so long ago that nobody holds a key set without it."""
    conn = await asyncpg.connect(service.settings.database_url)
    try:
        await conn.execute(
            "UPDATE signing_key SET created_at = created_at - interval '1 hour' WHERE tenant = $1 AND kid = $2",
            tenant,
            kid,
        )
    finally:
        await conn.close()
