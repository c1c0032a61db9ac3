"""Signing keys in tests: older than they are, without a wait."""

from __future__ import annotations

from cardservice.app import PLATFORM
from tests.support.service import Service


async def grown_up(service: Service, kid: str, *, tenant: str = "wcc") -> None:
    """Let a key have been published so long ago that nobody holds a key set without it."""
    async with service.app[PLATFORM].db.transaction(tenant) as conn:
        await conn.execute(
            "UPDATE signing_key SET created_at = created_at - interval '1 hour' WHERE tenant = $1 AND kid = $2",
            tenant,
            kid,
        )
