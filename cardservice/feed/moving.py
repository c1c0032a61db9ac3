"""Moves a council's horizon a day on, while cards are issued, changed and revoked.

First a short transaction says that from now on whoever is compiled is compiled for the new window. Then those for whom
the day makes a difference (:mod:`cardservice.feed.edges`), or everybody where lists or the compiler changed, are looked
at in slices without a lock; whose rows would differ is compiled again under the lock, a few at a time. The last short
transaction tells the feeds the new horizon: after every card change that it brought.

Whatever is changed meanwhile is compiled for the new window by whoever changes it, so it needs no second look. If the
process dies, the feeds still tell the old horizon, and the next one begins at it.

``python -m cardservice.feed.moving`` does it in a process of its own, for a council of many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from cardservice.background.aside import obey
from cardservice.catalogue.loading import Catalogue, load_catalogue
from cardservice.db import Connection, Database, queries
from cardservice.errors import StaleBasisError
from cardservice.feed.edges import edges_between
from cardservice.feed.pruning import prune_tenant
from cardservice.feed.recompile import differing, recompile
from cardservice.feed.telling import milliseconds
from cardservice.feed.window import as_horizon, window_of
from cardservice.feed.writer import Numbers, lock_tenant, tell_each
from cardservice.ledger.holders import with_delegates
from entitlements.compile import telling_birthdays
from entitlements.wire.feed import Horizon, HorizonChange

LOOKED_AT: Final = 500
"""People in a slice without a lock: a few tenths of a second, and some megabytes of facts."""
LOCKED: Final = 25
"""People compiled under the lock at once: some 10 ms, which a revocation may have to wait."""
ANEW: Final = 5
"""How often a move begins again because documents or lists changed meanwhile; then it is left for the next look."""

Rest = Callable[[], Awaitable[object]]
"""Waited for between slices."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Whose horizon to move."""

    database_url: str
    tenant: str
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Who is to be looked at, and what the areas' rows are compiled from."""

    rules: dict[str, str]
    people: Sequence[UUID]


async def give_way() -> None:
    """Let others have their turn of the event loop."""
    await asyncio.sleep(0)


async def move_horizon(
    db: Database, tenant: str, *, now: datetime, rest: Rest = give_way, at_once: int = LOOKED_AT
) -> Numbers | None:
    """Complete a tenant's rows for the window of today, and tell its feeds. The caller has the claim.

    Args:
        db: the service's database.
        tenant: whose feeds.
        now: the service's clock.
        rest: waited for between slices.
        at_once: people in a slice.

    Returns:
        The last number of each feed; ``None`` where nothing was to do.

    Raises:
        StaleBasisError: documents or lists changed again and again.
        DocumentError: a document in force names something that is no longer there.
    """
    for _ in range(ANEW):
        try:
            plan = await _begin(db, tenant, now)
            if plan is None:
                return None
            await _complete(db, tenant, plan, now, rest, at_once)
            numbers = await _end(db, tenant, plan, now)
        except StaleBasisError:
            continue
        await prune_tenant(db, tenant, now=now)
        return numbers
    raise StaleBasisError(tenant=tenant)


async def _begin(db: Database, tenant: str, now: datetime) -> _Plan | None:
    wanted = window_of(now)
    async with db.transaction(tenant) as conn:
        await lock_tenant(conn, tenant)
        feeds = [row async for row in queries().feed.feeds(conn, tenant=tenant, areas=None)]
        if all(feed["horizon_from"] >= wanted[0] for feed in feeds):
            return None
        await queries().feed.begin_move(conn, tenant=tenant, horizon_from=wanted[0], horizon_until=wanted[1])
        catalogue = await load_catalogue(conn, tenant)
        rules = {feed["area"]: catalogue.area(feed["area"]).rules for feed in feeds}
        doubtful = [feed["area"] for feed in feeds if feed["rules"] != rules[feed["area"]]]
        await queries().feed.keep_rules(
            conn, tenant=tenant, areas=doubtful, rules=[f"~{rules[area]}" for area in doubtful]
        )
    # From here on whoever changes a person compiles them for the new window.
    async with db.transaction(tenant, read_only=True) as conn:
        if doubtful:
            people = [row["person_id"] async for row in queries().jobs.card_holders(conn, tenant=tenant)]
        else:
            told = (min(feed["horizon_from"] for feed in feeds), min(feed["horizon_until"] for feed in feeds))
            people = await _with_edges(conn, catalogue, list(rules), told, wanted)
    return _Plan(rules=rules, people=people)


async def _with_edges(
    conn: Connection,
    catalogue: Catalogue,
    areas: Sequence[str],
    told: tuple[datetime, datetime],
    wanted: tuple[datetime, datetime],
) -> list[UUID]:
    services = [service for area in areas for service in catalogue.area(area).services]
    edges = edges_between(told, wanted, telling_birthdays(services))
    found = queries().feed.people_with_edges(
        conn,
        tenant=catalogue.tenant,
        firsts=[first for first, _ in edges.days],
        lasts=[last for _, last in edges.days],
        born_firsts=[first for first, _ in edges.born],
        born_lasts=[last for _, last in edges.born],
    )
    # Whoever may act for one of them has it in the record of their own card.
    return await with_delegates(conn, catalogue.tenant, [row["person_id"] async for row in found])


async def _complete(db: Database, tenant: str, plan: _Plan, now: datetime, rest: Rest, at_once: int) -> None:
    for first in range(0, len(plan.people), at_once):
        await rest()
        slice_ = plan.people[first : first + at_once]
        async with db.transaction(tenant, read_only=True) as conn:
            found = await differing(conn, tenant, slice_, rules=plan.rules, now=now)
        for start in range(0, len(found), LOCKED):
            async with db.transaction(tenant) as conn:
                issue_number = await lock_tenant(conn, tenant)
                some = found[start : start + LOCKED]
                await recompile(conn, tenant, issue_number=issue_number, now=now, people=some)


async def _end(db: Database, tenant: str, plan: _Plan, now: datetime) -> Numbers:
    span = as_horizon(*window_of(now))
    horizon = Horizon(begins=span.start, ends=span.end)
    async with db.transaction(tenant) as conn:
        issue_number = await lock_tenant(conn, tenant)
        catalogue = await load_catalogue(conn, tenant)
        feeds = [row async for row in queries().feed.feeds(conn, tenant=tenant, areas=None)]
        seen = {feed["area"]: catalogue.area(feed["area"]).rules for feed in feeds}
        kept = {feed["area"]: (feed["rules"] or "").removeprefix("~") for feed in feeds}
        if not plan.rules == seen == kept:
            raise StaleBasisError(tenant=tenant)
        await queries().feed.keep_rules(conn, tenant=tenant, areas=list(seen), rules=list(seen.values()))
        moved = [row["area"] async for row in queries().feed.end_move(conn, tenant=tenant)]
        return await tell_each(
            conn,
            tenant,
            issue_number,
            moved,
            lambda n, _: HorizonChange(n=n, tn=issue_number, at=milliseconds(now), horizon=horizon),
        )


async def move_aside(order: Order) -> dict[str, Any]:
    """The same in this process, for another one that has the claim."""
    db = Database(order.database_url, pool_size=1)
    await db.open()
    try:
        numbers = await move_horizon(db, order.tenant, now=order.now)
    finally:
        await db.close()
    return {"numbers": numbers}


if __name__ == "__main__":
    obey(Order, move_aside)
