"""How far a published key has come: which gates would refuse a card that it signs.

A key is told in each feed of its council under a number (``key_publication``). A reader knows it once it has reported
that number, or any number of a later epoch, which begins with a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cardservice.api.models import ApiModel
from cardservice.db import Connection, queries

MAX_NAMED = 3
"""Readers named in a sentence; the rest are counted."""


class AwaitedFeed(ApiModel):
    """A feed in which the key waits for a reader. ``has`` is the last number that it reported, if any."""

    area: str
    needs: int | None
    has: int | None


class AwaitedReader(ApiModel):
    """A reader that does not know the key. ``absent`` readers were not heard of for days and hold nothing up."""

    tenant: str
    reader_id: UUID
    name: str
    site: str
    last_seen_at: datetime | None
    seconds: int | None
    absent: bool
    feeds: list[AwaitedFeed]


async def readers_without(
    conn: Connection, *, tenant: str, kid: str, absent_after: timedelta, now: datetime
) -> Sequence[AwaitedReader]:
    """Readers of any council that carry the tenant's feeds and have not applied the change that told the key.

    Args:
        conn: a transaction of the tenant.
        absent_after: a reader not heard of for longer is absent.
    """
    rows = [row async for row in queries().keys.readers_without(conn, tenant=tenant, kid=kid)]
    by_reader: dict[UUID, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_reader.setdefault(row["reader_id"], []).append(row)
    return [_reader(mine, absent_after, now) for mine in by_reader.values()]


def awaited(readers: Sequence[AwaitedReader]) -> Sequence[AwaitedReader]:
    """Those that hold the key up."""
    return [reader for reader in readers if not reader.absent]


def names(readers: Sequence[AwaitedReader]) -> str:
    """A few of them by name, for a sentence."""
    told = [f"{reader.name} at {reader.site}" for reader in readers[:MAX_NAMED]]
    if len(readers) > MAX_NAMED:
        told.append(f"{len(readers) - MAX_NAMED} more")
    return ", ".join(told)


def _reader(rows: Sequence[Mapping[str, Any]], absent_after: timedelta, now: datetime) -> AwaitedReader:
    first = rows[0]
    seen = first["last_seen_at"]
    return AwaitedReader(
        tenant=first["tenant"],
        reader_id=first["reader_id"],
        name=first["name"],
        site=first["site_name"] or first["site_id"],
        last_seen_at=seen,
        seconds=None if seen is None else max(0, round((now - seen).total_seconds())),
        absent=seen is None or now - seen > absent_after,
        feeds=[AwaitedFeed(area=row["area"], needs=row["needs"], has=row["has"]) for row in rows],
    )
