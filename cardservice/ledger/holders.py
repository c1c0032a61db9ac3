"""What gates keep of a card's holder beside the row: account keys, and for whom they may act.

Only cards that hold a grant of a service that counts, and cards of delegates, have such a record; the others would cost
every gate memory for nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from cardservice.catalogue.loading import Catalogue
from cardservice.db import Connection, queries
from cardservice.feed.telling import Wanted, tell_all
from cardservice.ledger.keys import AccountKeyring, keyring
from entitlements.calendars import FOREVER, local_time
from entitlements.compile import CompiledService, account_keys
from entitlements.eligibility import BEGINNING, span_instants
from entitlements.facts import PersonFacts
from entitlements.model import CardId, Instant, TenantId
from entitlements.profile import Profile, Verdict
from entitlements.service import Upstream
from entitlements.wire.rows import card_tag
from entitlements.wire.state import Acting, ActingGrant, Holder, HolderChange

EVERYWHERE: Final = ("person", "household")
"""Scopes that are the same for all services of an area; the others are of single services."""


def counts(service: CompiledService) -> bool:
    """Whether gates need to know by whom this service is used."""
    document = service.document
    asks = any(isinstance(requirement, Upstream) for requirement in document.requires)
    return bool(document.limits) or bool(service.presence_scopes) or service.acts_for_scopes is not None or asks


def granted_services(profile: Profile) -> frozenset[str]:
    """Services that the person may come to use; where a fact is unknown nothing is used, so nothing is counted."""
    return frozenset(
        service
        for service, segments in profile.grants
        if any(segment.verdict is not Verdict.UNKNOWN for segment in segments)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A living card in one area, and the services there that its holder has a grant of."""

    area: str
    index: int
    person: UUID
    granted: Collection[str]


async def with_delegates(conn: Connection, tenant: str, people: Sequence[UUID]) -> list[UUID]:
    """These people and everybody who may act, or might have acted, for one of them: their cards name these cards."""
    rows = queries().ledger.delegates_of(conn, tenant=tenant, people=list(people))
    return list(dict.fromkeys([*people, *[row["delegate"] async for row in rows]]))


async def write_holders(
    conn: Connection,
    tenant: str,
    candidates: Sequence[Candidate],
    catalogue: Catalogue,
    facts: Mapping[UUID, PersonFacts],
    *,
    areas: Sequence[str],
    indexes: Sequence[int] | None,
    issue_number: int,
    now: datetime,
    tell: bool,
) -> tuple[dict[str, int], int]:
    """Write the records of these cards that changed.

    Args:
        conn: a transaction of the tenant that holds its row lock.
        candidates: the living cards.
        areas: the areas looked at.
        indexes: the cards looked at, dead ones too; ``None`` for all.
        tell: write a change for each.

    Returns:
        The last number of each feed that changed, and how many records did.
    """
    told = {
        (row["area"], row["card_index"]): bytes(row["body"])
        async for row in queries().ledger.told_holders(
            conn, tenant=tenant, areas=list(areas), indexes=None if indexes is None else list(indexes)
        )
    }
    records = await holder_records(conn, tenant, candidates, catalogue, facts, indexes is None, now)
    bodies = {place: msgspec.json.encode(holder) for place, holder in records.items()}
    changed = [place for place, body in bodies.items() if told.get(place) != body]
    gone = [place for place in told if place not in bodies]
    if changed:
        await queries().ledger.put_holders(
            conn,
            tenant=tenant,
            areas=[area for area, _ in changed],
            indexes=[index for _, index in changed],
            bodies=[bodies[place] for place in changed],
        )
    if gone:
        await queries().ledger.remove_holders(
            conn, tenant=tenant, areas=[area for area, _ in gone], indexes=[index for _, index in gone]
        )
    numbers = {}
    if tell:
        wanted = [_change(area, records[area, index]) for area, index in changed]
        wanted += [_change(area, Holder(index=index)) for area, index in gone]
        numbers = await tell_all(conn, tenant, wanted, issue_number=issue_number, now=now)
    return numbers, len(changed) + len(gone)


async def differing_holders(
    conn: Connection,
    tenant: str,
    candidates: Sequence[Candidate],
    catalogue: Catalogue,
    facts: Mapping[UUID, PersonFacts],
    *,
    areas: Sequence[str],
    indexes: Sequence[int],
    now: datetime,
) -> list[tuple[str, int]]:
    """Area and index of each of these cards whose record would be another one, or gone. Writes nothing."""
    told = {
        (row["area"], row["card_index"]): bytes(row["body"])
        async for row in queries().ledger.told_holders(conn, tenant=tenant, areas=list(areas), indexes=list(indexes))
    }
    records = await holder_records(conn, tenant, candidates, catalogue, facts, False, now)
    bodies = {place: msgspec.json.encode(holder) for place, holder in records.items()}
    return [place for place in told.keys() | bodies.keys() if told.get(place) != bodies.get(place)]


def _change(area: str, holder: Holder) -> Wanted:
    return area, lambda n, tn, at: HolderChange(n=n, tn=tn, at=at, holder=holder)


async def holder_records(
    conn: Connection,
    tenant: str,
    candidates: Sequence[Candidate],
    catalogue: Catalogue,
    facts: Mapping[UUID, PersonFacts],
    everybody: bool,
    now: datetime,
) -> dict[tuple[str, int], Holder]:
    """Records by area and card index; cards that need none have none. ``everybody``: these are all cards there are."""
    counting = {
        area: [service for service in catalogue.area(area).services if counts(service)]
        for area in {candidate.area for candidate in candidates}
    }
    if not any(counting.values()):
        return {}
    ring = await keyring(conn, tenant)
    mandates = await _mandates(conn, tenant, candidates, everybody)
    zone = local_time(catalogue.world.tenants[TenantId(tenant)].timezone)
    at = Instant(int(now.timestamp()))
    records = {}
    for candidate in candidates:
        area, services = candidate.area, counting[candidate.area]
        scopes: frozenset[str] = frozenset().union(*(service.acts_for_scopes or () for service in services))
        acts_for = _acts_for(mandates.get(candidate.person, ()), scopes, zone, at)
        granted = [service for service in services if service.id in candidate.granted]
        if not granted and not acts_for:
            continue
        keys, own = _keys(ring, area, granted, facts[candidate.person], at)
        records[area, candidate.index] = Holder(index=candidate.index, keys=keys, own=own, acts_for=acts_for)
    return records


def _keys(
    ring: AccountKeyring, area: str, services: Sequence[CompiledService], facts: PersonFacts, at: Instant
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Keys of the person and household, and those that single services ask for."""
    keys: dict[str, str] = {}
    own: dict[str, dict[str, str]] = {}
    for service in services:
        for scope, holder in sorted(account_keys(facts, service, at).items()):
            if scope in EVERYWHERE:
                keys[scope] = keys.get(scope) or ring.key(area, scope, holder)
            else:
                own.setdefault(service.id, {})[scope] = ring.key(area, scope, holder)
    return keys, own


async def _mandates(
    conn: Connection, tenant: str, candidates: Sequence[Candidate], everybody: bool
) -> dict[UUID, list[Mapping[str, Any]]]:
    """Standing delegations by delegate, each with the holder's newest active card."""
    people = None if everybody else [str(person) for person in {candidate.person for candidate in candidates}]
    found: dict[UUID, list[Mapping[str, Any]]] = {}
    async for row in queries().ledger.mandates(conn, tenant=tenant, delegates=people):
        found.setdefault(UUID(row["delegate"]), []).append(row)
    return found


def _acts_for(
    mandates: Sequence[Mapping[str, Any]], scopes: frozenset[str], zone: Any, at: Instant
) -> tuple[Acting, ...]:
    """Those of the delegations that a service of the area asks for and that are not over."""
    grants: dict[tuple[int, int], list[ActingGrant]] = {}
    for row in mandates:
        shared = scopes.intersection(row["detail"]["scopes"])
        start, until = span_instants(row["from_date"], row["until_date"], zone)
        if not shared or until <= at:
            continue
        card = (row["card_index"], card_tag(CardId(bytes(row["card_id"]))))
        grants.setdefault(card, []).append(
            ActingGrant(
                scopes=tuple(sorted(shared)),
                from_=None if start == BEGINNING else start,
                until=None if until == FOREVER else until,
                max_pence=row["detail"].get("max_pence"),
            )
        )
    return tuple(Acting(index=index, tag=tag, grants=tuple(found)) for (index, tag), found in sorted(grants.items()))
