"""From facts to what the feeds tell: compile people, compare with what was told, write only what changed.

The one way in which card rows are made, for one person after a change at the desk and for everybody after a new
document. All of a tenant's feed writers hold its row lock, so what is compared here cannot change meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final, cast
from uuid import UUID

import msgspec

from cardservice.catalogue.facts import load_facts
from cardservice.catalogue.loading import Catalogue, load_catalogue
from cardservice.db import Connection, queries
from cardservice.errors import StaleBasisError
from cardservice.feed.interning import EMPTY, Interned, Pool, number_profiles
from cardservice.feed.telling import milliseconds, take_numbers
from cardservice.feed.window import as_horizon
from cardservice.ledger.holders import (
    Candidate,
    counts,
    differing_holders,
    granted_services,
    with_delegates,
    write_holders,
)
from entitlements.compile import compile_profile
from entitlements.facts import PersonFacts
from entitlements.model import CardId, CardState
from entitlements.wire.feed import CardChange, encode
from entitlements.wire.rows import STATE_CODES, card_tag

FINAL: Final = frozenset({CardState.REVOKED, CardState.REPLACED, CardState.EXPIRED})
"""States without a way back: such a card is told to be so, and nothing more of its holder."""
SLICE: Final = 100
"""People compiled between two turns of the event loop: some 10 ms, so that streams go on meanwhile."""
BATCH: Final = 5_000
"""Rows in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a feed has to tell of one card."""

    area: str
    index: int
    card_id: bytes
    state: CardState
    profile: Interned


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was written: the last number of each feed that got changes, and how many rows and holders' records did."""

    numbers: tuple[tuple[str, int], ...] = ()
    rows: int = 0


NOTHING: Final = Outcome()


async def recompile(
    conn: Connection,
    tenant: str,
    *,
    issue_number: int,
    now: datetime,
    people: Sequence[UUID] | None = None,
    areas: Sequence[str] | None = None,
    tell: bool = True,
) -> Outcome:
    """Compile people for areas and write what changed of their cards.

    Args:
        conn: a transaction of the tenant that holds its row lock.
        issue_number: the tenant's, for the changes.
        now: for blocks that hold by the day, and as the time of the changes.
        people: person ids; ``None`` for everybody.
        areas: ``None`` for all that have a feed.
        tell: write a change for each row; without it the caller begins a new epoch.
    """
    if people is not None:
        people = await with_delegates(conn, tenant, people)
    feeds = [row async for row in queries().feed.feeds(conn, tenant=tenant, areas=_listed(areas))]
    cards = [row async for row in queries().feed.cards(conn, tenant=tenant, people=_listed(people))]
    if not feeds:
        return NOTHING
    catalogue = await load_catalogue(conn, tenant)
    if people is None:
        await keep_rules(conn, tenant, [feed["area"] for feed in feeds], catalogue)
    else:
        await _doubt_rules(conn, tenant, feeds, catalogue)
    if not cards:
        return NOTHING
    facts = await load_facts(conn, tenant, people, today=catalogue.today(now))
    rows, candidates = await compile_cards(catalogue, feeds, cards, facts)
    indexes = None if people is None else [card["card_index"] for card in cards]
    # Holders first: a gate that knows a card's row knows whose units it takes, and a card's own number is the last.
    holders, written = await write_holders(
        conn,
        tenant,
        candidates,
        catalogue,
        facts,
        areas=[feed["area"] for feed in feeds],
        indexes=indexes,
        issue_number=issue_number,
        now=now,
        tell=tell,
    )
    numbers = await number_profiles(conn, tenant, ((row.area, row.profile) for row in rows))
    told = {
        (row["area"], row["card_index"]): (row["state"], row["profile_id"])
        async for row in queries().feed.told_rows(
            conn, tenant=tenant, areas=[feed["area"] for feed in feeds], indexes=indexes
        )
    }
    changed = [
        row
        for row in rows
        if told.get((row.area, row.index)) != (STATE_CODES[row.state], numbers[row.area, row.profile.digest])
    ]
    if changed:
        await _put(conn, tenant, changed, numbers)
        if tell:
            holders |= dict(await _tell(conn, tenant, changed, issue_number, now))
    return Outcome(numbers=tuple(sorted(holders.items())), rows=len(changed) + written)


async def differing(
    conn: Connection, tenant: str, people: Sequence[UUID], *, rules: Mapping[str, str], now: datetime
) -> list[UUID]:
    """Those of these people of whom the feeds would tell something else than they did. Takes no lock, writes nothing.

    Args:
        conn: a transaction of the tenant.
        people: who is looked at.
        rules: what the areas' rows are believed to be compiled from, besides facts.
        now: the service's clock.

    What is read may be of different moments. That does no harm as long as every change of facts, cards or documents
    writes the rows that it makes wrong in its own transaction: a row that was not written since is of what was read.

    Raises:
        StaleBasisError: the areas, or what they are compiled from, are others by now.
    """
    catalogue = await load_catalogue(conn, tenant)
    feeds = [row async for row in queries().feed.feeds(conn, tenant=tenant, areas=None)]
    if rules != {feed["area"]: catalogue.area(feed["area"]).rules for feed in feeds}:
        raise StaleBasisError(tenant=tenant)
    cards = [row async for row in queries().feed.cards(conn, tenant=tenant, people=list(people))]
    facts = await load_facts(conn, tenant, people, today=catalogue.today(now))
    rows, candidates = await compile_cards(catalogue, feeds, cards, facts)
    owners = {card["card_index"]: card["person_id"] for card in cards}
    areas, indexes = [feed["area"] for feed in feeds], list(owners)
    told = {
        (row["area"], row["card_index"]): (row["state"], row["digest"])
        async for row in queries().feed.told_digests(conn, tenant=tenant, areas=areas, indexes=indexes)
    }
    found = {
        owners[row.index]
        for row in rows
        if told.get((row.area, row.index)) != (STATE_CODES[row.state], row.profile.digest)
    }
    held = await differing_holders(conn, tenant, candidates, catalogue, facts, areas=areas, indexes=indexes, now=now)
    return sorted(found | {owners[index] for _, index in held})


async def keep_rules(conn: Connection, tenant: str, areas: Sequence[str], catalogue: Catalogue) -> None:
    """Note that everybody's rows in these areas are of this catalogue."""
    rules = [catalogue.area(area).rules for area in areas]
    await queries().feed.keep_rules(conn, tenant=tenant, areas=list(areas), rules=rules)


async def unchanged_rules(conn: Connection, tenant: str, areas: Sequence[str]) -> bool:
    """Whether all rows of these areas are of the documents and lists that are in force now."""
    catalogue = await load_catalogue(conn, tenant)
    kept = {row["area"]: row["rules"] async for row in queries().feed.feeds(conn, tenant=tenant, areas=list(areas))}
    return all(kept.get(area) == catalogue.area(area).rules for area in areas)


async def _doubt_rules(conn: Connection, tenant: str, feeds: Sequence[Mapping[str, Any]], catalogue: Catalogue) -> None:
    """Note where some people are compiled for other rules than the rest: a list changed that a document names."""
    mixed = [
        feed["area"]
        for feed in feeds
        if feed["rules"] is not None and feed["rules"].removeprefix("~") != catalogue.area(feed["area"]).rules
    ]
    if mixed:
        await queries().feed.keep_rules(conn, tenant=tenant, areas=mixed, rules=[None] * len(mixed))


async def compile_cards(
    catalogue: Catalogue,
    feeds: Sequence[Mapping[str, Any]],
    cards: Sequence[Mapping[str, Any]],
    facts: Mapping[UUID, PersonFacts],
) -> tuple[list[Row], list[Candidate]]:
    """What each of these feeds (rows with ``area`` and window) has to tell of each card. Writes nothing."""
    rows: list[Row] = []
    candidates: list[Candidate] = []
    living = {card["person_id"] for card in cards if card["state"] not in FINAL}
    for feed in feeds:
        area, pool = feed["area"], Pool()
        services = catalogue.area(area).services
        span = as_horizon(feed["compile_from"], feed["compile_until"])
        nothing = pool.intern(EMPTY)
        profiles: dict[UUID, Interned] = {}
        counting = any(counts(service) for service in services)
        granted: dict[UUID, Collection[str]] = {}
        for place, person in enumerate(living):
            profile = compile_profile(facts[person], services, catalogue.world, span)
            profiles[person], granted[person] = pool.intern(profile), granted_services(profile) if counting else ()
            if place % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        for card in cards:
            state = CardState(card["state"])
            rows.append(
                Row(
                    area=area,
                    index=card["card_index"],
                    card_id=card["card_id"],
                    state=state,
                    profile=nothing if state in FINAL else profiles[card["person_id"]],
                )
            )
            if counting and state not in FINAL:
                person = card["person_id"]
                candidates.append(
                    Candidate(area=area, index=card["card_index"], person=person, granted=granted[person])
                )
    return rows, candidates


async def _put(conn: Connection, tenant: str, rows: Sequence[Row], numbers: Mapping[tuple[str, bytes], int]) -> None:
    for batch in _batches(rows):
        await queries().feed.put_rows(
            conn,
            tenant=tenant,
            areas=[row.area for row in batch],
            indexes=[row.index for row in batch],
            card_ids=[row.card_id for row in batch],
            states=[STATE_CODES[row.state] for row in batch],
            profiles=[numbers[row.area, row.profile.digest] for row in batch],
        )


async def _tell(
    conn: Connection, tenant: str, rows: Sequence[Row], issue_number: int, now: datetime
) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.area] = counts.get(row.area, 0) + 1
    last = await take_numbers(conn, tenant, counts)
    following = {area: number - counts[area] for area, number in last.items()}
    at = milliseconds(now)
    for batch in _batches(rows):
        areas, numbers, bodies, ids = [], [], [], []
        for row in batch:
            following[row.area] += 1
            change = CardChange(
                n=following[row.area],
                tn=issue_number,
                at=at,
                index=row.index,
                tag=card_tag(CardId(row.card_id)),
                state=row.state,
                # Already JSON, encoded once for all cards that share it.
                profile=cast("list[Any]", msgspec.Raw(row.profile.body)),
            )
            areas.append(row.area)
            numbers.append(following[row.area])
            bodies.append(encode(change))
            ids.append(row.card_id)
        await queries().feed.add_changes(
            conn,
            tenant=tenant,
            issue_number=issue_number,
            areas=areas,
            numbers=numbers,
            bodies=bodies,
            card_ids=ids,
        )
        await asyncio.sleep(0)
    return tuple(sorted(last.items()))


def _listed(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _batches(rows: Sequence[Row]) -> Any:
    remaining = iter(rows)
    return iter(lambda: list(islice(remaining, BATCH)), [])
