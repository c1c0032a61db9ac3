"""What the service does to whole feeds now and then, done on purpose in the middle of everything else.

It is the service's own code, in a transaction of its own, as a background process would run it. Nobody is woken: the
service processes must find out.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from cardservice.db import DATABASE_AWAY, TRY_AGAIN, Connection, Database, queries
from cardservice.errors import DatabaseRefusedError
from cardservice.feed.moving import move_horizon
from cardservice.feed.pruning import KEPT, prune_feed
from cardservice.feed.writer import recompile_tenant
from tests.faults.plan import Overhaul

AGAIN_SECONDS: Final = 0.02


class Clerk:
    """Does what it is told until it has committed; while the database is away it waits."""

    def __init__(self, url: str) -> None:
        self.problems: list[str] = []
        self._url = url
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, what: Overhaul) -> None:
        """Begin; does not wait."""
        task = asyncio.create_task(self._do(what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def done(self) -> None:
        """Wait until everything begun so far has committed."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Give up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _do(self, what: Overhaul) -> None:
        while True:
            database = Database(self._url, pool_size=2)
            try:
                await database.open()
                async with database.transaction("wcc") as conn:
                    await _overhaul(conn, what)
                if what.what == "horizon":
                    await _move_on(database)
            except (*DATABASE_AWAY, *TRY_AGAIN, DatabaseRefusedError):
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception as error:  # noqa: BLE001 -- told at the end with all other problems
                self.problems.append(f"{what} failed: {error!r}")
                return
            else:
                return
            finally:
                await database.close()


async def _overhaul(conn: Connection, what: Overhaul) -> None:
    now = datetime.now(UTC)
    if what.what == "epoch":
        await recompile_tenant(conn, "wcc", what.area, emit_changes=False, now=now)
    elif what.what == "prune":
        # As if it were so much later: nothing that was told so far is kept, and no snapshot.
        await prune_feed(conn, "wcc", what.area, now=now + 2 * KEPT)
    else:
        back = timedelta(days=what.days)
        await conn.execute(
            "UPDATE feed SET horizon_from = horizon_from - $1::interval, horizon_until = horizon_until - $1::interval",
            back,
        )


async def _move_on(database: Database) -> None:
    """The daily move, as one of the services makes it; whichever comes first has the claim."""
    async with database.pool.acquire() as claim:
        while not await queries().feed.claim_horizon(claim, tenant="wcc"):  # noqa: ASYNC110 -- another process has it
            await asyncio.sleep(AGAIN_SECONDS)
        try:
            await move_horizon(database, "wcc", now=datetime.now(UTC))
        finally:
            if not claim.is_closed():
                await queries().feed.unclaim_horizon(claim, tenant="wcc")
