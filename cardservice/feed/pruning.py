"""What a feed lets go of: old snapshots, old changes, profiles that no card has any more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cardservice.db import Connection, queries

KEEP: Final = 3
"""Snapshots of a feed: a reader that is fetching parts of one may finish while two newer ones are made."""
KEPT: Final = timedelta(days=30)
"""A reader away for longer takes a snapshot; it would have to anyway, as its horizon has nearly passed."""


async def prune_feed(conn: Connection, tenant: str, area: str, *, now: datetime) -> None:
    """Let go of a feed's old snapshots, and of old changes that every kept snapshot has."""
    named = {"tenant": tenant, "area": area, "before": now - KEPT}
    await queries().feed.prune_snapshots(conn, **named, keep=KEEP)
    await queries().feed.prune_changes(conn, **named)


async def prune_tenant(conn: Connection, tenant: str, *, now: datetime) -> None:
    """The same for all feeds of a tenant, and its profiles. The caller holds the tenant's row lock."""
    for area in [row["area"] async for row in queries().feed.feeds(conn, tenant=tenant, areas=None)]:
        await prune_feed(conn, tenant, area, now=now)
    await queries().feed.prune_profiles(conn, tenant=tenant)
