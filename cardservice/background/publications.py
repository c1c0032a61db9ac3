"""Publications for many people: asked for in a request, prepared in the background, swapped in at the end.

A job is claimed by a lock of a database session: when the process that holds it dies, PostgreSQL gives the job to the
next process that looks, which begins it anew. Until the swap commits nothing of it is in force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from cardservice.api.call import Actor, Errand
from cardservice.background.aside import run_aside
from cardservice.background.endings import finish, give_up
from cardservice.background.preparing import CHUNK, Order, Prepared
from cardservice.background.swap import swap
from cardservice.catalogue.services import lock_tenants
from cardservice.db import ALL_TENANTS, DATABASE_AWAY, Connection, Database, queries
from cardservice.errors import ApiProblem, AsideError, StaleBasisError, conflict
from cardservice.feed.access import FeedRef
from cardservice.feed.hub import Hub
from cardservice.feed.snapshot import Snapshots
from cardservice.settings import Settings
from cardservice.tasks import end_tasks

LOOK_SECONDS: Final = 5.0
"""How often a process looks for jobs that another process was asked for, or left."""
RETRY_SECONDS: Final = 5.0
"""After a failure, which is mostly the database being away."""
PREPARE_SECONDS: Final = 3_600.0
"""An hour for what takes a minute or two: beyond it something hangs."""
ATTEMPTS: Final = 3
"""How often a job may die before it is given up: a document that kills its process would do so for ever."""
BITE: Final = 20_000
"""Prepared rows forgotten in one statement."""
ANEW: Final = 5
"""How often one attempt prepares again because something else was published meanwhile."""

log = structlog.get_logger("background.publications")


class Publications:
    """Does the jobs, one at a time in this process. Made, opened and closed by ``cardservice.app``."""

    def __init__(self, db: Database, hub: Hub, snapshots: Snapshots, settings: Settings) -> None:
        self.chunk = CHUNK
        self._db = db
        self._hub = hub
        self._snapshots = snapshots
        self._settings = settings
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Look at once, and from then on."""
        self._task = asyncio.create_task(self._keep(), name="publications")

    async def close(self) -> None:
        """Stop; what is being prepared is begun anew by whoever looks next."""
        if self._task is not None:
            await end_tasks(self._task)

    def wake(self) -> None:
        """There is a new job."""
        self._sooner.set()

    async def _keep(self) -> None:
        while True:
            self._sooner.clear()
            rest = LOOK_SECONDS
            try:
                await self._round()
            except DATABASE_AWAY as error:
                log.warning("publications wait for the database", error=str(error))
                rest = RETRY_SECONDS
            except Exception:  # one bad job must not end the work of all
                log.exception("a publication failed; trying again later")
                rest = RETRY_SECONDS
            try:
                async with asyncio.timeout(rest):
                    await self._sooner.wait()
            except TimeoutError:
                pass

    async def _round(self) -> None:
        async with self._db.transaction(ALL_TENANTS, read_only=True) as conn:
            waiting = [(row["tenant"], row["job_id"]) async for row in queries().jobs.open_jobs(conn)]
            over = [row async for row in queries().jobs.leftovers(conn)]
        for job in over:
            await self._clear(job)
        for tenant, job_id in waiting:
            async with self._db.pool.acquire() as claim:
                if not await queries().jobs.try_claim(claim, job_id=str(job_id)):
                    continue
                try:
                    await self._do(tenant, job_id)
                finally:
                    if not claim.is_closed():
                        await queries().jobs.unclaim(claim, job_id=str(job_id))

    async def _do(self, tenant: str, job_id: UUID) -> None:
        try:
            for anew in range(ANEW):
                job = await self._start(tenant, job_id, attempt=0 if anew else 1)
                if job is None:
                    return  # done by another process between the look and the claim
                if job["attempts"] > ATTEMPTS:
                    raise AsideError(module="preparing", detail=f"it died {ATTEMPTS} times")
                prepared = await self._prepare(job)
                try:
                    await self._swap(job, prepared)
                except StaleBasisError as error:
                    log.info("something else changed meanwhile; preparing again", job=str(job_id), tenant=error.tenant)
                    continue
                await self._clear(job)
                return
            raise conflict("catalogue_restless", "The catalogue changed again and again while this was prepared.")
        except ApiProblem as problem:
            await self._give_up(tenant, job_id, problem.detail)
        except AsideError as error:
            log.exception("a preparation ended without a result", job=str(job_id))
            async with self._db.transaction(tenant, read_only=True) as conn:
                job = await queries().jobs.get(conn, tenant=tenant, job_id=job_id)
            if job["attempts"] >= ATTEMPTS:
                await self._give_up(tenant, job_id, f"It could not be prepared: {error.detail}")
            else:
                self._sooner.set()

    async def _start(self, tenant: str, job_id: UUID, *, attempt: int) -> Mapping[str, Any] | None:
        async with self._db.transaction(tenant) as conn:
            job = await queries().jobs.get(conn, tenant=tenant, job_id=job_id)
        if job is None or job["state"] not in ("waiting", "running"):
            return None
        await self._clear(job)
        async with self._db.transaction(tenant) as conn:
            # Whoever writes facts or cards holds one of these locks: from here on each change is noted.
            await lock_tenants(conn, job["tenants"])
            started = await queries().jobs.start(conn, tenant=tenant, job_id=job_id, step="compiling", attempt=attempt)
        return None if started is None else dict(started)

    async def _prepare(self, job: Mapping[str, Any]) -> Prepared:
        order = Order(
            database_url=self._settings.database_url,
            tenant=job["tenant"],
            job_id=job["job_id"],
            service_id=job["service_id"],
            document=job["request"]["document"],
            shared_with=job["request"]["shared_with"],
            chunk=self.chunk,
        )
        done = await run_aside("cardservice.background.preparing", order, seconds=PREPARE_SECONDS)
        return msgspec.convert(done, Prepared)

    async def _swap(self, job: Mapping[str, Any], prepared: Prepared) -> None:
        started = asyncio.get_running_loop().time()
        async with self._db.transaction(job["tenant"]) as conn:
            work = _errand(conn, job)
            done = await swap(work, job, prepared.basis)
            seconds = asyncio.get_running_loop().time() - started
            told = {"people": prepared.people, "prepared_in": prepared.seconds, "peak_mib": prepared.peak_mib}
            await finish(work, job, done, told | {"swapped_in": seconds})
        self._hub.wake()
        named = {"kind": job["kind"], "service": job["service_id"], "version": done.version}
        log.info("a change for many people is in force", **named, **told)
        for name in done.feeds:
            tenant, _, area = name.partition("/")
            # Before the first reader asks for it.
            await self._snapshots.manifest(FeedRef(tenant=tenant, area=area), datetime.now(UTC))

    async def _give_up(self, tenant: str, job_id: UUID, problem: str) -> None:
        async with self._db.transaction(tenant) as conn:
            job = await queries().jobs.get(conn, tenant=tenant, job_id=job_id)
            await give_up(_errand(conn, job), job, problem)
        await self._clear(job)
        log.warning("a change for many people was given up", job=str(job_id), problem=problem)

    async def _clear(self, job: Mapping[str, Any]) -> None:
        """Forget what was prepared, in bites: nothing waits for it, and no statement may take long."""
        ask = queries().jobs
        for tenant in sorted(job["tenants"]):
            named = {"tenant": tenant, "job_id": job["job_id"]}
            for bite in (ask.clear_rows, ask.clear_holders):
                gone = BITE
                while gone == BITE:
                    async with self._db.transaction(tenant) as conn:
                        gone = await bite(conn, **named, limit=BITE)
            async with self._db.transaction(tenant) as conn:
                await ask.clear_profiles(conn, **named)
                await ask.clear_touched(conn, **named)


def _errand(conn: Connection, job: Mapping[str, Any]) -> Errand:
    """The background acts for whoever asked for it."""
    return Errand(conn=conn, actor=Actor(name=job["asked_by"], tenant=job["tenant"]))
