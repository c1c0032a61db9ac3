"""Keeps the grants of every feed complete for the weeks ahead: at start and once a day."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from cardservice.db import ALL_TENANTS, DATABASE_AWAY, Database, queries
from cardservice.feed.hub import Hub
from cardservice.feed.window import window_of
from cardservice.feed.writer import Numbers, move_horizon
from cardservice.tasks import end_tasks
from entitlements.errors import EntitlementsError

LOOK_SECONDS: Final = 900.0
"""How often a process looks whether a tenant's window is of an earlier day. The look is one small query."""

log = structlog.get_logger("feed.horizon")


class HorizonKeeper:
    """The daily work of all processes; whichever looks first does it. Opened and closed by ``cardservice.app``."""

    def __init__(self, db: Database, hub: Hub) -> None:
        self._db = db
        self._hub = hub
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Look at once, and from then on."""
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Stop looking; what was being written is rolled back and done by the next process that looks."""
        if self._task is not None:
            await end_tasks(self._task)

    async def _keep(self) -> None:
        while True:
            try:
                await advance_horizons(self._db, self._hub, now=datetime.now(UTC))
            except DATABASE_AWAY as error:
                log.warning("the horizon could not be looked after; trying again later", error=str(error))
            except Exception:  # one bad tenant must not end the daily work of all
                log.exception("the horizon could not be moved; trying again later")
            await asyncio.sleep(LOOK_SECONDS)


async def advance_horizons(db: Database, hub: Hub, *, now: datetime) -> Sequence[tuple[str, Numbers]]:
    """Compile every tenant whose window is of an earlier day for today's, writing only the rows that changed.

    Returns:
        The tenants that were moved, with the last number of each of their feeds.
    """
    begins, _ = window_of(now)
    async with db.transaction(ALL_TENANTS, read_only=True) as conn:
        stale = [row["tenant"] async for row in queries().feed.stale_horizons(conn, horizon_from=begins)]
    moved = []
    for tenant in stale:
        try:
            async with db.transaction(tenant) as conn:
                mine = await queries().feed.try_horizon_lock(conn, tenant=tenant)
                # Looked at again under the lock: another process may have moved it since.
                if not mine or not [row async for row in queries().feed.stale_horizons(conn, horizon_from=begins)]:
                    continue
                numbers = await move_horizon(conn, tenant, now=now)
        except EntitlementsError:
            log.exception("a tenant's horizon could not be moved; the others' go on", tenant=tenant)
            continue
        hub.wake()
        log.info("the horizon moved", tenant=tenant, until=window_of(now)[1].isoformat(), feeds=dict(numbers))
        moved.append((tenant, numbers))
    return moved
