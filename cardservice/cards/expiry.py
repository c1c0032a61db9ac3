"""Cards whose last second is over become ``expired``, so that desks and feeds say so.

Gates do not wait for it: they read the expiry in the signed card. One process does it at a time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import structlog

from cardservice.cards.signing import card_text
from cardservice.db import ALL_TENANTS, Connection, queries
from cardservice.feed.writer import next_issue_number, publish_person
from cardservice.platform import Platform

LOCK_ID: Final = 0x72657870  # "rexp"
BATCH: Final = 200
"""Cards of one transaction: the tenant's other writers wait no longer than that takes."""
ACTOR: Final = "upkeep"

log = structlog.get_logger("cards.expiry")


async def expire_due_cards(platform: Platform, now: datetime) -> int:
    """Mark what is due in every council; gives how many cards it were.

    Raises:
        asyncpg.PostgresError, OSError: the database does not answer.
    """
    async with platform.db.transaction(ALL_TENANTS, read_only=True) as conn:
        tenants = [row["tenant"] async for row in queries().cards.every_tenant(conn)]
    expired = 0
    for tenant in tenants:
        while True:
            async with platform.db.transaction(tenant) as conn:
                done = await _expire_batch(conn, tenant, now)
            expired += done
            if done:
                platform.hub.wake()
            if done < BATCH:
                break
    if expired:
        log.info("cards expired", cards=expired)
    return expired


async def _expire_batch(conn: Connection, tenant: str, now: datetime) -> int:
    if not await queries().cards.try_turn(conn, lock_id=LOCK_ID):
        return 0
    due = [row["card_id"] async for row in queries().cards.due(conn, tenant=tenant, now=now, limit=BATCH)]
    if not due:
        return 0
    number = await next_issue_number(conn, tenant)  # locks the tenant before the cards, as every writer does
    rows = [row async for row in queries().cards.expire(conn, tenant=tenant, card_ids=due, now=now)]
    for row in rows:
        await queries().api.add_audit(
            conn,
            tenant=tenant,
            actor=ACTOR,
            action="card.expire",
            subject=f"card:{card_text(row['card_id'])}",
            detail={"after": "expired"},
            request_id=None,
        )
    for person_id in sorted({row["person_id"] for row in rows}):
        await publish_person(conn, tenant, person_id, issue_number=number, now=now)
    return len(rows)
