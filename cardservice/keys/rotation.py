"""Moves keys on when their time has come: published ones sign once every gate has them, retired ones end.

What is to be done is in the database, so it survives a process that is killed at any moment: a key is published,
or it is active, and nothing lies in between. Every process looks; the tenant's row lock lets one do it.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import structlog

from cardservice.api.call import Actor, Errand
from cardservice.db import ALL_TENANTS, DATABASE_AWAY, Connection, Database, queries
from cardservice.errors import ApiProblem
from cardservice.feed.hub import Hub
from cardservice.keys.lifecycle import KeyEvent, activate_key, change_key, wait_of
from cardservice.settings import Settings
from cardservice.tasks import end_tasks

LOOK_SECONDS: Final = 5.0
"""How often a process looks whether another was asked for a rotation. The look is one small query."""
AWAIT_SECONDS: Final = 0.25
"""How often it looks while a key is on its way: readers report within a moment of what they apply."""
SLOW_AFTER_SECONDS: Final = 60.0
"""A key that is still awaited after so long waits for a gate that is off: looking every few seconds is enough."""
END_SECONDS: Final = 3600.0
"""How often retired keys are looked at. Cards end by the day."""
RETRY_SECONDS: Final = 5.0
"""After a failure, which is mostly the database being away."""

log = structlog.get_logger("keys.rotation")


class Rotations:
    """The clock of keys. Made, opened and closed by ``cardservice.app``."""

    def __init__(self, db: Database, hub: Hub, settings: Settings) -> None:
        self._db = db
        self._hub = hub
        self._settings = settings
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ended_at: float | None = None

    async def open(self) -> None:
        """Look at once, and from then on."""
        self._task = asyncio.create_task(self._keep(), name="key rotation")

    async def close(self) -> None:
        """Stop looking; whatever was not committed is done by whoever looks next."""
        if self._task is not None:
            await end_tasks(self._task)

    def wake(self) -> None:
        """A rotation was asked for."""
        self._sooner.set()

    async def _keep(self) -> None:
        while True:
            self._sooner.clear()
            try:
                rest = await self._round(datetime.now(UTC))
            except (*DATABASE_AWAY, asyncpg.PostgresError) as error:
                log.warning("keys wait for the database", error=str(error))
                rest = RETRY_SECONDS
            except Exception:  # one bad key must not end the rotation of all
                log.exception("a key could not be moved on; trying again later")
                rest = RETRY_SECONDS
            try:
                async with asyncio.timeout(rest):
                    await self._sooner.wait()
            except TimeoutError:
                pass

    async def _round(self, now: datetime) -> float:
        """Move on what is due; seconds until the next look."""
        if self._ended_at is None or time.monotonic() - self._ended_at >= END_SECONDS:
            await end_keys(self._db, self._hub, now)
            self._ended_at = time.monotonic()
        async with self._db.transaction(ALL_TENANTS, read_only=True) as conn:
            rotating = [dict(row) async for row in queries().keys.rotating(conn)]
        rest = LOOK_SECONDS
        for key in rotating:
            earliest = await self._try(key, now)
            if earliest is None:
                continue
            due = (earliest - datetime.now(UTC)).total_seconds()
            if due > -SLOW_AFTER_SECONDS:
                rest = min(rest, max(AWAIT_SECONDS, due))
        return rest

    async def _try(self, key: dict[str, Any], now: datetime) -> datetime | None:
        """Activate a key if every gate has it; else since when it might have signed."""
        async with self._db.transaction(key["tenant"], read_only=True) as conn:
            wait = await wait_of(conn, self._settings, key, now)
        if not wait.over(now):
            return wait.earliest
        try:
            async with self._db.transaction(key["tenant"]) as conn:
                await activate_key(_errand(conn, key, now), self._settings, key["kid"])
        except ApiProblem as problem:
            # Between the look and the lock another process did it, it was retired, or a reader was enrolled.
            log.info("a key is not activated now", tenant=key["tenant"], kid=key["kid"], problem=problem.detail)
            return wait.earliest
        self._hub.wake()
        log.info("every gate has the key: it signs from now on", tenant=key["tenant"], kid=key["kid"])
        return None


async def end_keys(db: Database, hub: Hub, now: datetime) -> int:
    """End retired keys whose last card is over; gives how many."""
    async with db.transaction(ALL_TENANTS, read_only=True) as conn:
        over = [dict(row) async for row in queries().keys.over(conn, now=now)]
    ended = 0
    for key in over:
        try:
            async with db.transaction(key["tenant"]) as conn:
                await change_key(_errand(conn, key, now), key["kid"], KeyEvent.END)
        except ApiProblem:
            continue  # another process was quicker, or it was revoked
        hub.wake()
        ended += 1
        log.info("the last card of a retired key is over: it is believed no more", **key)
    return ended


def _errand(conn: Connection, key: dict[str, Any], now: datetime) -> Errand:
    """The clock acts for whoever asked for the rotation."""
    asked_by = key.get("rotation_by")
    name = f"rotation for {asked_by}" if asked_by else "rotation"
    return Errand(conn=conn, actor=Actor(name=name, tenant=key["tenant"]), now=now)
