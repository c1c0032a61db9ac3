"""Writing feeds. Every function works in the caller's transaction and takes the tenant's row lock first.

The lock serialises a tenant's writers, so issue numbers and feed numbers commit in their order and nobody deadlocks:
within a tenant there is one lock, and who needs several tenants takes them in the order of their names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cardservice.catalogue.loading import load_catalogue
from cardservice.db import Connection, queries
from cardservice.feed.filling import fill_area
from cardservice.feed.recompile import recompile, unchanged_rules
from cardservice.feed.telling import milliseconds, take_numbers
from cardservice.feed.window import window_of
from entitlements.wire.feed import (
    AnyChange,
    KeysChange,
    ServiceChange,
    ServiceWithdrawn,
    WorldChange,
    encode,
)

Numbers = list[tuple[str, int]]
"""Area and the last number that its feed got."""


async def next_issue_number(conn: Connection, tenant: str) -> int:
    """The tenant's next issue number. Takes the tenant's row lock until the transaction ends."""
    return int(await queries().feed.next_issue_number(conn, tenant=tenant))


async def lock_tenant(conn: Connection, tenant: str) -> int:
    """Take the tenant's row lock and give its issue number as it is."""
    return int(await queries().feed.lock_tenant(conn, tenant=tenant))


@asynccontextmanager
async def as_tenant(conn: Connection, tenant: str) -> AsyncIterator[None]:
    """Within the block, the transaction sees and writes another tenant's rows: a shared service reaches its feeds.

    Only for tenants that the platform itself derived from a sharing, never from a request's own words.
    """
    before = await queries().feed.bound_tenant(conn)
    await queries().feed.bind_tenant(conn, tenant=tenant)
    yield
    # Not in a `finally`: after an error the transaction is lost, and the setting ends with it.
    await queries().feed.bind_tenant(conn, tenant=before)


async def ensure_feed(conn: Connection, tenant: str, area: str, *, now: datetime) -> bool:
    """Make the feed of an area on its first use, with a row for every card. Tells whether it was new.

    No change is written for those rows: a feed without readers begins with a snapshot.
    """
    issue_number = await lock_tenant(conn, tenant)
    begins, ends = window_of(now)
    added = await queries().feed.add_feed(conn, tenant=tenant, area=area, horizon_from=begins, horizon_until=ends)
    if added:
        catalogue = await load_catalogue(conn, tenant)
        if catalogue.area(area).services:
            await recompile(conn, tenant, issue_number=issue_number, now=now, areas=[area], tell=False)
        else:
            await fill_area(conn, tenant, area, catalogue, issue_number=issue_number, now=now)
    return bool(added)


async def publish_person(
    conn: Connection, tenant: str, person_id: UUID, *, issue_number: int | None = None, now: datetime
) -> Numbers:
    """Compile a person anew and tell every area's feed of each of their cards whose state or rights changed.

    Args:
        conn: a transaction of the tenant in which the facts and cards have been changed.
        issue_number: from :func:`next_issue_number` in this transaction; ``None`` takes the next one here.
        now: the service's clock.

    Returns:
        The last number of each feed that changed; append ``platform.hub.wake`` to ``call.after_commit``.
    """
    if issue_number is None:
        issue_number = await next_issue_number(conn, tenant)
    done = await recompile(conn, tenant, issue_number=issue_number, now=now, people=[person_id])
    return list(done.numbers)


async def recompile_tenant(
    conn: Connection, tenant: str, area: str | None = None, *, emit_changes: bool, now: datetime | None = None
) -> Numbers:
    """Compile everybody of a tenant for an area, or for all.

    Args:
        conn: a transaction of the tenant.
        emit_changes: tell each changed card. Without it the feeds begin a new epoch instead, and readers take a
            snapshot: right after a first load or a restore, where nearly everything changed.
    """
    issue_number = await lock_tenant(conn, tenant)
    areas = None if area is None else [area]
    now = now or datetime.now(UTC)
    done = await recompile(conn, tenant, issue_number=issue_number, now=now, areas=areas, tell=emit_changes)
    if emit_changes:
        return list(done.numbers)
    begun = queries().feed.new_epoch(conn, tenant=tenant, areas=areas)
    return [(row["area"], row["number"]) async for row in begun]


async def publish_service(conn: Connection, tenant: str, area: str, service: str, *, now: datetime) -> Numbers:
    """Tell a tenant's feed of the document of a service that is in force, after the cards that it changed.

    Where the document changes who may, everybody is compiled in the caller's one transaction: well under a second for
    some thousand people, during which no other card of the tenant changes. Hundreds of thousands are for a job that
    prepares rows beside the ones in use (:mod:`cardservice.background`).
    Cards come before the document: a gate that is between the two already refuses whom the new document shuts out.
    """
    issue_number = await lock_tenant(conn, tenant)
    made = await ensure_feed(conn, tenant, area, now=now)
    if not made and not await unchanged_rules(conn, tenant, [area]):
        await recompile(conn, tenant, issue_number=issue_number, now=now, areas=[area])
    entry = (await load_catalogue(conn, tenant)).area(area).entry(service)
    return await tell_each(
        conn,
        tenant,
        issue_number,
        [area],
        lambda n, _: ServiceChange(
            n=n, tn=issue_number, at=milliseconds(now), version=entry.version, document=entry.document
        ),
    )


async def publish_withdrawal(conn: Connection, tenant: str, area: str, service: str, *, now: datetime) -> Numbers:
    """Tell a tenant's feed that a service is no longer offered, and then whose rights ended with it."""
    issue_number = await lock_tenant(conn, tenant)
    told = await tell_each(
        conn,
        tenant,
        issue_number,
        [area],
        lambda n, _: ServiceWithdrawn(n=n, tn=issue_number, at=milliseconds(now), service=service),
    )
    done = await recompile(conn, tenant, issue_number=issue_number, now=now, areas=[area])
    return list(dict([*told, *done.numbers]).items())


async def publish_world(conn: Connection, tenant: str, *, now: datetime | None = None) -> Numbers:
    """Tell every feed of a tenant what its sites, lists and councils are now.

    Raises:
        DocumentError: a document in force names something that is no longer there.
    """
    issue_number = await lock_tenant(conn, tenant)
    world = (await load_catalogue(conn, tenant)).feed_world
    return await tell_each(
        conn,
        tenant,
        issue_number,
        None,
        lambda n, _: WorldChange(n=n, tn=issue_number, at=milliseconds(now or datetime.now(UTC)), world=world),
    )


async def publish_keys(conn: Connection, tenant: str, *, now: datetime | None = None) -> Numbers:
    """Tell every feed of a tenant which card-signing keys are believed now."""
    issue_number = await lock_tenant(conn, tenant)
    keys = await card_keys(conn, tenant)
    return await tell_each(
        conn,
        tenant,
        issue_number,
        None,
        lambda n, _: KeysChange(n=n, tn=issue_number, at=milliseconds(now or datetime.now(UTC)), keys=keys),
    )


async def card_keys(conn: Connection, tenant: str) -> dict[str, Any]:
    """JWKS of the tenant's card-signing keys."""
    return {"keys": [row["public_jwk"] async for row in queries().feed.card_keys(conn, tenant=tenant)]}


async def tell_each(
    conn: Connection,
    tenant: str,
    issue_number: int,
    areas: Sequence[str] | None,
    change: Callable[[int, str], AnyChange],
) -> Numbers:
    """One change in each of these feeds (``None`` for all), made from its number and area. Under the tenant's lock."""
    if areas is None:
        areas = [row["area"] async for row in queries().feed.feeds(conn, tenant=tenant, areas=None)]
    taken = _in_order((await take_numbers(conn, tenant, dict.fromkeys(areas, 1))).items())
    await queries().feed.add_changes(
        conn,
        tenant=tenant,
        issue_number=issue_number,
        areas=[area for area, _ in taken],
        numbers=[number for _, number in taken],
        bodies=[encode(change(number, area)) for area, number in taken],
        card_ids=[None] * len(taken),
    )
    return taken


def _in_order(numbers: Iterable[tuple[str, int]]) -> Numbers:
    return sorted(numbers)
