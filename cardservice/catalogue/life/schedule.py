"""Publishes what is due: at start, at the time itself, and every few seconds. What is scheduled is in the database, so
it survives restarts; a row lock that others skip lets one process publish each draft.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from cardservice.api.call import Actor, Errand
from cardservice.background.publications import Publications
from cardservice.catalogue.life.drafts import move, note
from cardservice.catalogue.life.publication import publish_draft
from cardservice.catalogue.life.states import DraftStep
from cardservice.db import ALL_TENANTS, DATABASE_AWAY, Connection, Database, queries
from cardservice.errors import ApiProblem
from cardservice.feed.hub import Hub
from cardservice.settings import Settings
from cardservice.tasks import end_tasks

LOOK_SECONDS: Final = 3.0
"""How often a process looks for drafts that another process scheduled. The look is one query of a small index."""
LEAST_SECONDS: Final = 0.05
"""Rest between two looks, whatever is due."""
RETRY_SECONDS: Final = 5.0
"""After a failure, which is mostly the database being away."""
BATCH: Final = 20
"""Drafts looked at in one round."""

log = structlog.get_logger("catalogue.schedule")


class Scheduler:
    """The clock of scheduled publications. Made, opened and closed by ``cardservice.app``."""

    def __init__(self, db: Database, hub: Hub, publications: Publications, settings: Settings) -> None:
        self._db = db
        self._hub = hub
        self._publications = publications
        self._settings = settings
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Look at once, and from then on."""
        self._task = asyncio.create_task(self._keep(), name="schedule")

    async def close(self) -> None:
        """Stop looking; what was being published is rolled back and done by whoever looks next."""
        if self._task is not None:
            await end_tasks(self._task)

    def wake(self) -> None:
        """Something was scheduled: look when the next is due."""
        self._sooner.set()

    async def _keep(self) -> None:
        while True:
            self._sooner.clear()
            try:
                rest = await self._publish_due(datetime.now(UTC))
            except DATABASE_AWAY as error:
                log.warning("scheduled publications wait for the database", error=str(error))
                rest = RETRY_SECONDS
            except Exception:  # one bad draft must not end the schedule of all
                log.exception("a scheduled publication failed; trying again later")
                rest = RETRY_SECONDS
            try:
                async with asyncio.timeout(rest):
                    await self._sooner.wait()
            except TimeoutError:
                pass

    async def _publish_due(self, now: datetime) -> float:
        """Publish what is due; seconds until the next look."""
        async with self._db.transaction(ALL_TENANTS, read_only=True) as conn:
            due = [
                (row["tenant"], row["draft_id"]) async for row in queries().life.due_drafts(conn, now=now, limit=BATCH)
            ]
        for tenant, draft_id in due:
            await self._publish(tenant, draft_id, now)
        async with self._db.transaction(ALL_TENANTS, read_only=True) as conn:
            following = await queries().life.next_due(conn)
        if following is None:
            return LOOK_SECONDS
        wait: float = (following - datetime.now(UTC)).total_seconds()
        return min(LOOK_SECONDS, max(LEAST_SECONDS, wait))

    async def _publish(self, tenant: str, draft_id: Any, now: datetime) -> None:
        try:
            async with self._db.transaction(tenant) as conn:
                row = await _mine(conn, tenant, draft_id, now)
                if row is None:
                    return
                moved = await publish_draft(_errand(conn, row), self._settings, draft_id, "scheduled")
        except ApiProblem as problem:
            await self._give_up(tenant, draft_id, now, problem)
            return
        self._hub.wake()
        self._publications.wake()
        log.info(
            "a scheduled draft is published", tenant=tenant, draft=str(draft_id), version=moved["published_version"]
        )

    async def _give_up(self, tenant: str, draft_id: Any, now: datetime, problem: ApiProblem) -> None:
        """What it names changed since it was approved: it stays approved, and says why it is not in force."""
        async with self._db.transaction(tenant) as conn:
            row = await _mine(conn, tenant, draft_id, now)
            if row is None:
                return
            errand = _errand(conn, row)
            moved = await move(errand, row, DraftStep.FAIL)
            await note(errand, moved, "publication failed", problem.detail, code=problem.code)
        log.warning(
            "a scheduled draft could not be published", tenant=tenant, draft=str(draft_id), problem=problem.detail
        )


async def _mine(conn: Connection, tenant: str, draft_id: Any, now: datetime) -> dict[str, Any] | None:
    row = await queries().life.lock_due(conn, tenant=tenant, draft_id=draft_id, now=now)
    return None if row is None else dict(row)


def _errand(conn: Connection, row: dict[str, Any]) -> Errand:
    """The clock acts for whoever left it the work."""
    return Errand(conn=conn, actor=Actor(name=f"schedule for {row['scheduled_by']}", tenant=row["tenant"]))
