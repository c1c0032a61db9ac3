"""Keeps the grants of every feed complete for the weeks ahead: at start and once a day."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from cardservice.background.aside import run_aside
from cardservice.db import ALL_TENANTS, DATABASE_AWAY, Database, queries
from cardservice.errors import AsideError, StaleBasisError
from cardservice.feed.hub import Hub
from cardservice.feed.moving import Order, Rest, give_way, move_horizon
from cardservice.feed.window import window_of
from cardservice.feed.writer import Numbers
from cardservice.settings import Settings
from cardservice.tasks import end_tasks
from entitlements.errors import EntitlementsError

LOOK_SECONDS: Final = 900.0
"""How often a process looks whether a tenant's window is of an earlier day. The look is one small query."""
MOVE_SECONDS: Final = 3_600.0
"""An hour for what takes seconds, or a few minutes where everybody is looked at: beyond it something hangs."""

log = structlog.get_logger("feed.horizon")


class HorizonKeeper:
    """The daily work of all processes; whichever looks first does it. Opened and closed by ``cardservice.app``."""

    def __init__(self, db: Database, hub: Hub, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._hub = hub
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Look at once, and from then on."""
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Stop looking; what was not done yet is done by the next process that looks."""
        if self._task is not None:
            await end_tasks(self._task)

    async def _keep(self) -> None:
        while True:
            try:
                await advance_horizons(self._db, self._hub, now=datetime.now(UTC), settings=self._settings)
            except DATABASE_AWAY as error:
                log.warning("the horizon could not be looked after; trying again later", error=str(error))
            except Exception:  # one bad tenant must not end the daily work of all
                log.exception("the horizon could not be moved; trying again later")
            await asyncio.sleep(LOOK_SECONDS)


async def advance_horizons(
    db: Database, hub: Hub, *, now: datetime, settings: Settings | None = None, rest: Rest | None = None
) -> Sequence[tuple[str, Numbers]]:
    """Complete the grants of every tenant whose window is of an earlier day for today's.

    Args:
        db: the service's database.
        hub: is woken when feeds moved.
        now: the service's clock.
        settings: with them, a council of more than ``background_cards`` cards is done in a process of its own.
        rest: waited for between slices of people.

    Returns:
        The tenants that were moved, with the last number of each of their feeds.
    """
    begins, _ = window_of(now)
    async with db.transaction(ALL_TENANTS, read_only=True) as conn:
        stale = [row["tenant"] async for row in queries().feed.stale_horizons(conn, horizon_from=begins)]
    moved = []
    for tenant in stale:
        async with db.pool.acquire() as claim:
            if not await queries().feed.claim_horizon(claim, tenant=tenant):
                continue
            try:
                numbers = await _move(db, tenant, now, settings, rest)
            except (AsideError, EntitlementsError, StaleBasisError):
                log.exception("a tenant's horizon could not be moved; the others' go on", tenant=tenant)
                continue
            finally:
                if not claim.is_closed():
                    await queries().feed.unclaim_horizon(claim, tenant=tenant)
        if numbers is None:
            continue  # another process has moved it since
        hub.wake()
        log.info("the horizon moved", tenant=tenant, until=window_of(now)[1].isoformat(), feeds=dict(numbers))
        moved.append((tenant, numbers))
    return moved


async def _move(
    db: Database, tenant: str, now: datetime, settings: Settings | None, rest: Rest | None
) -> Numbers | None:
    if settings is not None:
        async with db.transaction(tenant, read_only=True) as conn:
            cards = await queries().jobs.cards_numbered(conn, tenant=tenant) or 0
        if cards > settings.background_cards:
            order = Order(database_url=settings.database_url, tenant=tenant, now=now)
            done = await run_aside("cardservice.feed.moving", order, seconds=MOVE_SECONDS)
            return None if done["numbers"] is None else [(area, number) for area, number in done["numbers"]]
    return await move_horizon(db, tenant, now=now, rest=rest or give_way)
