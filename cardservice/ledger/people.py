"""Facts of one person, whether they hold a card or not."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from cardservice.catalogue.facts import load_facts
from cardservice.db import Connection, queries
from entitlements.facts import PersonFacts
from entitlements.model import PersonId


async def facts_of(conn: Connection, tenant: str, person_id: UUID, *, today: date) -> PersonFacts | None:
    """What is known of a person of the tenant; ``None`` where there is none. Without a card: who, and nothing more."""
    facts = (await load_facts(conn, tenant, [person_id], today=today)).get(person_id)
    if facts is not None:
        return facts
    row = await queries().people.get(conn, tenant=tenant, person_id=person_id)
    if row is None:
        return None
    return PersonFacts(id=PersonId(str(person_id)), household=row["household"], date_of_birth=row["date_of_birth"])
