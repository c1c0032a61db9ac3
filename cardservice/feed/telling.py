"""Numbers of feeds, taken gaplessly, and changes written under them. The caller holds the tenant's row lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from cardservice.db import Connection, queries
from entitlements.wire.feed import AnyChange, encode

Make = Callable[[int, int, int], AnyChange]
"""A change from its number, the tenant's issue number and the time in ms since the epoch."""
Wanted = tuple[str, Make]
"""The area whose feed shall tell a change."""


async def take_numbers(conn: Connection, tenant: str, counts: Mapping[str, int]) -> dict[str, int]:
    """The last of so many new numbers of each area's feed; an area without a feed gets none."""
    taken = queries().feed.take_numbers(conn, tenant=tenant, areas=list(counts), counts=list(counts.values()))
    return {row["area"]: row["number"] async for row in taken}


def milliseconds(at: datetime) -> int:
    """Milliseconds since the epoch."""
    return int(at.timestamp() * 1000)


async def tell_all(
    conn: Connection, tenant: str, wanted: Sequence[Wanted], *, issue_number: int, now: datetime
) -> dict[str, int]:
    """Write changes, in their order, into the feeds of their areas.

    Args:
        conn: a transaction of the tenant that holds its row lock.
        wanted: area and change; what is for an area without a feed is left out, as nobody reads it.

    Returns:
        The last number of each feed that got some.
    """
    counts: dict[str, int] = {}
    for area, _ in wanted:
        counts[area] = counts.get(area, 0) + 1
    if not counts:
        return {}
    last = await take_numbers(conn, tenant, counts)
    following = {area: number - counts[area] for area, number in last.items()}
    at = milliseconds(now)
    areas, numbers, bodies = [], [], []
    for area, make in wanted:
        if area not in following:
            continue
        following[area] += 1
        areas.append(area)
        numbers.append(following[area])
        bodies.append(encode(make(following[area], issue_number, at)))
    await queries().feed.add_changes(
        conn,
        tenant=tenant,
        issue_number=issue_number,
        areas=areas,
        numbers=numbers,
        bodies=bodies,
        card_ids=[None] * len(areas),
    )
    return last
