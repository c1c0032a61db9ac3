"""Whether the parts that the service needs answer."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from cardservice.db import ALL_TENANTS, DATABASE_AWAY, queries
from cardservice.ops.models import PartState, Readiness
from cardservice.platform import Platform

ANSWER_SECONDS: Final = 2.0
"""Shorter than the time-out of a load balancer's check, longer than a busy database takes."""


async def readiness(platform: Platform) -> Readiness:
    """Ask each part. Only the database is needed: losing Valkey costs latency, never correctness."""
    database = await _database(platform)
    cache: PartState = "not used"
    if platform.settings.redis_url is not None:
        cache = "up" if platform.shared.connected else "down"
    return Readiness(ready=database == "up", parts={"database": database, "valkey": cache})


async def _database(platform: Platform) -> PartState:
    try:
        async with asyncio.timeout(ANSWER_SECONDS), platform.db.transaction(ALL_TENANTS, read_only=True) as conn:
            return "up" if await queries().api.answers(conn) else "down"
    except (*DATABASE_AWAY, asyncpg.PostgresError):
        return "down"
