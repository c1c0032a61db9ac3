"""Puts in force what was prepared: document, rows and records in one transaction, and a new epoch of the feeds.

Gates see the old or the new, never a mixture: a reader whose feed began a new epoch keeps its data until it has the
whole of the next snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cardservice.api.call import Errand
from cardservice.api.server import audit
from cardservice.background.preparing import Basis, feed_windows, intend_asked
from cardservice.catalogue.loading import load_catalogue
from cardservice.catalogue.models import ServicePublished
from cardservice.catalogue.services import Intent, Withdrawal, carry_out, settle
from cardservice.db import Connection, queries
from cardservice.errors import StaleBasisError, conflict
from cardservice.feed.interning import Interned, number_profiles
from cardservice.feed.recompile import keep_rules, recompile
from cardservice.feed.writer import as_tenant, lock_tenant, publish_world
from entitlements.wire.feed import feed_name

SPAN: Final = 100_000
"""Indexes of cards that one statement installs: some seconds, well under the longest that a statement may take."""


async def swap(work: Errand, job: Mapping[str, Any], basis: Basis) -> ServicePublished:
    """Put what a job prepared in force.

    Args:
        work: a transaction of the job's tenant.
        job: its row.
        basis: what the prepared rows rest on.

    Raises:
        StaleBasisError: that has changed meanwhile: prepare again.
        ApiProblem: 409 ``service_changed`` where another version came into force; 422 where the document no longer
            fits what it names.
    """
    asked = job["request"]
    wish = await intend_asked(work, job["service_id"], asked["document"], asked["shared_with"])
    if wish.before["version"] != asked["newest"]:
        raise conflict("service_changed", "Another version came into force while this one was being prepared.")
    await settle(work, wish)
    version = await carry_out(work, wish)
    feeds: dict[str, int] = {}
    for tenant in sorted(wish.tenants | wish.tenants_before):
        async with as_tenant(work.conn, tenant):
            await _install(work, job["job_id"], tenant, wish, basis, feeds)
    named = {"version": version, "job": str(job["job_id"])}
    if isinstance(wish, Withdrawal):
        await audit(work, "service.withdrawn", job["service_id"], **named)
    else:
        shared = list(wish.shared)
        await audit(work, "service.published", job["service_id"], area=wish.area, shared_with=shared, **named)
    return ServicePublished(service_id=job["service_id"], version=version, area=wish.area, changed=True, feeds=feeds)


async def _install(
    work: Errand, job_id: UUID, tenant: str, wish: Intent | Withdrawal, basis: Basis, feeds: dict[str, int]
) -> None:
    conn, now = work.conn, work.now
    areas = sorted(area for owner, area in wish.feeds if owner == tenant)
    await _refuse_stale(conn, tenant, areas, basis, now)
    issue_number = await lock_tenant(conn, tenant)
    for area in areas:
        begins, ends = basis.windows[tenant][area]
        await queries().feed.add_feed(conn, tenant=tenant, area=area, horizon_from=begins, horizon_until=ends)
    named = {"tenant": tenant, "job_id": job_id}
    staged = [
        (row["area"], Interned(digest=row["digest"], body=row["body"]))
        async for row in queries().jobs.staged_profiles(conn, **named)
    ]
    await number_profiles(conn, tenant, staged)
    await queries().jobs.whole_tables(conn)
    last = await queries().jobs.last_index(conn, **named)
    for first in range(0, 0 if last is None else last + 1, SPAN):
        await queries().jobs.change_rows(conn, **named, first=first, after=first + SPAN)
        await queries().jobs.new_rows(conn, **named, first=first, after=first + SPAN)
    await queries().jobs.remove_holders(conn, **named, areas=areas)
    await queries().jobs.install_holders(conn, **named)
    await queries().jobs.single_rows(conn)
    await keep_rules(conn, tenant, areas, await load_catalogue(conn, tenant))
    touched = [row["person_id"] async for row in queries().jobs.touched(conn, **named)]
    if touched:
        # What was prepared of them is of before their change; the lock is held, so nobody changes now.
        await recompile(conn, tenant, issue_number=issue_number, now=now, people=touched, areas=areas, tell=False)
    if (tenant in wish.tenants) != (tenant in wish.tenants_before) and tenant != work.tenant:
        await publish_world(conn, tenant, now=now)  # the owner's lists come and go with its service
    async for row in queries().feed.new_epoch(conn, tenant=tenant, areas=areas):
        feeds[feed_name(tenant, row["area"])] = row["number"]


async def _refuse_stale(conn: Connection, tenant: str, areas: Sequence[str], basis: Basis, now: datetime) -> None:
    catalogue = await load_catalogue(conn, tenant)
    windows = {
        feed["area"]: (feed["compile_from"], feed["compile_until"])
        for feed in await feed_windows(conn, tenant, areas, now)
    }
    seen = (basis.stamps[tenant], basis.days[tenant], basis.windows[tenant])
    if seen != (catalogue.stamp, catalogue.today(now), windows):
        raise StaleBasisError(tenant=tenant)
