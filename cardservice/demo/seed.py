"""Putting synthetic residents with cards into the database, set-wise, and compiling them for every service."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final

from cardservice.cards.numbering import card_index
from cardservice.db import Connection, Database, queries
from cardservice.demo.catalogue import TENANTS, ZONE
from cardservice.demo.residents import Resident, make_residents
from cardservice.feed.writer import next_issue_number, recompile_tenant
from cardservice.keys.store import KeyStore
from cardservice.settings import Settings

CARD_DAYS: Final = 730


async def seed_residents(settings: Settings, count: int, now: datetime) -> int:
    """Make ``count`` residents of both councils together, each with a card, where a council has nobody yet.

    Returns:
        How many were made.
    """
    database = Database(settings.database_url, pool_size=2)
    await database.open()
    made = 0
    try:
        for place, tenant in enumerate(TENANTS):
            share = count // len(TENANTS) + (1 if place < count % len(TENANTS) else 0)
            async with database.transaction(tenant) as conn:
                if share and not await queries().demo.count_people(conn, tenant=tenant):
                    made += await seed_council(conn, settings, tenant, share, now)
    finally:
        await database.close()
    return made


async def seed_council(conn: Connection, settings: Settings, tenant: str, count: int, now: datetime) -> int:
    """Make ``count`` residents of one council, each with a card, in a transaction of it; how many were made."""
    residents = list(make_residents(tenant, count, now.astimezone(ZONE).date()))
    await queries().demo.add_people(
        conn,
        tenant=tenant,
        ids=[resident.person_id for resident in residents],
        given=[resident.given_name for resident in residents],
        family=[resident.family_name for resident in residents],
        born=[resident.date_of_birth for resident in residents],
        households=[resident.household for resident in residents],
    )
    facts = [(resident.person_id, fact) for resident in residents for fact in resident.facts]
    await queries().demo.add_facts(
        conn,
        tenant=tenant,
        ids=[person_id for person_id, _ in facts],
        kinds=[fact.kind for _, fact in facts],
        names=[fact.name for _, fact in facts],
        since=[fact.since for _, fact in facts],
        until=[fact.until for _, fact in facts],
    )
    await _cards(conn, settings, tenant, residents, now)
    await recompile_tenant(conn, tenant, emit_changes=False, now=now)
    return len(residents)


async def _cards(conn: Connection, settings: Settings, tenant: str, residents: list[Resident], now: datetime) -> None:
    key = await KeyStore(settings).signer(conn, tenant, "card")
    issue_number = await next_issue_number(conn, tenant)
    numbers = await queries().demo.take_card_numbers(conn, tenant=tenant, count=len(residents))
    secret = bytes(numbers["index_secret"])
    await queries().demo.add_cards(
        conn,
        tenant=tenant,
        card_ids=[secrets.token_bytes(8) for _ in residents],
        indexes=[card_index(numbers["first"] + place, secret) for place in range(len(residents))],
        ids=[resident.person_id for resident in residents],
        kid=key.kid,
        issue_number=issue_number,
        issued_at=now,
        expires_at=now + timedelta(days=CARD_DAYS),
    )
