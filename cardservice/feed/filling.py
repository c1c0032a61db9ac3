"""The first rows of an area in which nothing is offered yet: all the same, but of people who may use nothing at all."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cardservice.catalogue.loading import Catalogue
from cardservice.db import Connection, Database, queries
from cardservice.feed.interning import EMPTY, Pool, number_profiles
from cardservice.feed.recompile import keep_rules, recompile
from entitlements.wire.rows import STATE_CODES

SPAN: Final = 20_000
"""Indexes of cards whose first rows are made in one transaction."""


async def prepare_area(db: Database, tenant: str, area: str) -> None:
    """Make most of an area's rows before it has a feed, in small transactions without the lock.

    Nobody reads them, and :func:`fill_area` puts right what changed since. An area that has a feed is left alone.
    """
    async with db.transaction(tenant, read_only=True) as conn:
        last = await queries().feed.last_card(conn, tenant=tenant)
        made = [row async for row in queries().feed.feeds(conn, tenant=tenant, areas=[area])]
    if made or last is None:
        return
    for first in range(0, last + 1, SPAN):
        async with db.transaction(tenant) as conn:
            await queries().feed.first_rows(
                conn,
                tenant=tenant,
                area=area,
                first=first,
                after=first + SPAN,
                states=[str(state) for state in STATE_CODES],
                codes=list(STATE_CODES.values()),
            )


async def fill_area(
    conn: Connection, tenant: str, area: str, catalogue: Catalogue, *, issue_number: int, now: datetime
) -> None:
    """A row for every card in one statement, where compiling hundreds of thousands takes minutes.

    Args:
        conn: a transaction of the tenant that holds its row lock and has just made the feed.
        tenant: whose cards.
        area: one without services.
        catalogue: as this transaction sees it.
        issue_number: the tenant's.
        now: the service's clock.
    """
    nothing = Pool().intern(EMPTY)
    numbers = await number_profiles(conn, tenant, [(area, nothing)])
    await queries().jobs.whole_tables(conn)  # nobody has counted yet the rows that were made a moment ago
    await queries().feed.fill_rows(
        conn,
        tenant=tenant,
        area=area,
        profile_id=numbers[area, nothing.digest],
        states=[str(state) for state in STATE_CODES],
        codes=list(STATE_CODES.values()),
    )
    await queries().jobs.single_rows(conn)
    await keep_rules(conn, tenant, [area], catalogue)
    blocked = [row["person_id"] async for row in queries().feed.wholly_blocked(conn, tenant=tenant)]
    if blocked:
        await recompile(conn, tenant, issue_number=issue_number, now=now, people=blocked, areas=[area], tell=False)
