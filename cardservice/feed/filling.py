"""The first rows of an area in which nothing is offered yet: all the same, but of people who may use nothing at all."""

from __future__ import annotations

from datetime import datetime

from cardservice.catalogue.loading import Catalogue
from cardservice.db import Connection, queries
from cardservice.feed.interning import EMPTY, Pool, number_profiles
from cardservice.feed.recompile import keep_rules, recompile
from entitlements.wire.rows import STATE_CODES


async def fill_area(
    conn: Connection, tenant: str, area: str, catalogue: Catalogue, *, issue_number: int, now: datetime
) -> None:
    """A row for every card in one statement: a second or two for hundreds of thousands, where compiling takes minutes.

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
    await queries().feed.fill_rows(
        conn,
        tenant=tenant,
        area=area,
        profile_id=numbers[area, nothing.digest],
        states=[str(state) for state in STATE_CODES],
        codes=list(STATE_CODES.values()),
    )
    await keep_rules(conn, tenant, [area], catalogue)
    blocked = [row["person_id"] async for row in queries().feed.wholly_blocked(conn, tenant=tenant)]
    if blocked:
        await recompile(conn, tenant, issue_number=issue_number, now=now, people=blocked, areas=[area], tell=False)
