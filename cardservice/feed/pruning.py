"""What a feed lets go of: old snapshots, old changes, profiles that no card has any more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cardservice.db import Connection, Database, queries

KEEP: Final = 3
"""Snapshots of a feed: a reader that is fetching parts of one may finish while two newer ones are made."""
KEPT: Final = timedelta(days=30)
"""A reader away for longer takes a snapshot; it would have to anyway, as its horizon has nearly passed."""

LOOKS: Final = 5
"""How often unused profiles are looked up in a feed that is busy; else they go another day."""


async def prune_feed(conn: Connection, tenant: str, area: str, *, now: datetime) -> None:
    """Let go of a feed's old snapshots, and of old changes that every kept snapshot has."""
    named = {"tenant": tenant, "area": area, "before": now - KEPT}
    await queries().feed.prune_snapshots(conn, **named, keep=KEEP)
    await queries().feed.prune_changes(conn, **named)


async def prune_tenant(db: Database, tenant: str, *, now: datetime) -> None:
    """The same for all feeds of a tenant, and its profiles."""
    async with db.transaction(tenant, read_only=True) as conn:
        areas = [row["area"] async for row in queries().feed.feeds(conn, tenant=tenant, areas=None)]
    for area in areas:
        async with db.transaction(tenant) as conn:
            await prune_feed(conn, tenant, area, now=now)
        for _ in range(LOOKS):
            if await _prune_profiles(db, tenant, area):
                break


async def _prune_profiles(db: Database, tenant: str, area: str) -> bool:
    """Let go of an area's profiles that no card has; False where one of them may have come into use meanwhile.

    Which ones they are takes a pass over all rows, so it is looked up without the lock. Whatever gives a card another
    profile takes a number of the feed: as long as the number is the same, nothing came into use.
    """
    named = {"tenant": tenant, "area": area}
    async with db.transaction(tenant, read_only=True) as conn:
        found = await queries().feed.unused_profiles(conn, **named)
    if not found["unused"]:
        return True
    async with db.transaction(tenant) as conn:
        await queries().feed.lock_tenant(conn, tenant=tenant)
        done = await queries().feed.drop_profiles(conn, **named, number=found["number"], unused=found["unused"])
    return bool(done != "DELETE 0")
