"""What comes round by the clock: at start and then every hour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import asyncpg
import structlog

from cardservice.cards.expiry import expire_due_cards
from cardservice.db import ALL_TENANTS, DATABASE_AWAY, queries
from cardservice.platform import Platform
from cardservice.spends.budgets import expire_holds
from cardservice.tasks import end_tasks

EVERY_SECONDS: Final = 3600.0
"""Gates refuse expired cards by themselves, so an hour is soon enough for the register."""
MONTHS_AHEAD: Final = 2
"""Partitions of taps made before they are needed: a service whose upkeep stands still for a month stores taps all the
same, in the partition for everything else."""
RETRY_SECONDS: Final = 60.0
"""After a failure, which is mostly the database being away."""

log = structlog.get_logger("ops.upkeep")


@asynccontextmanager
async def upkeep(platform: Platform) -> AsyncIterator[None]:
    """Owns the task that does it; the task ends with the block."""
    task = asyncio.create_task(_rounds(platform), name="upkeep")
    try:
        yield
    finally:
        await end_tasks(task)


async def do_round(platform: Platform, now: datetime) -> None:
    """One round: cards and holds that are over, partitions of the coming months, what is kept for a while only."""
    await expire_due_cards(platform, now)
    await expire_holds(platform, now)
    async with platform.db.transaction(ALL_TENANTS) as conn:
        await queries().api.forget_idempotency_keys(conn)
        await queries().fleet.forget_applied(conn)
        await queries().taps.make_months(conn, now=now, months=MONTHS_AHEAD)


async def _rounds(platform: Platform) -> None:
    while True:
        try:
            await do_round(platform, datetime.now(UTC))
            rest = EVERY_SECONDS
        except (*DATABASE_AWAY, asyncpg.PostgresError) as error:
            log.warning("upkeep did not finish and is tried again", seconds=RETRY_SECONDS, error=str(error))
            rest = RETRY_SECONDS
        await asyncio.sleep(rest)
