"""Compiles everybody for a document that is not in force yet, or still is, into rows beside the ones in use.

``python -m cardservice.background.preparing``, started by :mod:`cardservice.background.publications`. The catalogue is
read in a transaction that puts the document in force, or ends it, and is rolled back: what is compiled is what will be.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from cardservice.api.call import Actor, Errand
from cardservice.background.aside import obey
from cardservice.catalogue.facts import load_facts
from cardservice.catalogue.loading import Catalogue, load_catalogue
from cardservice.catalogue.services import Intent, Withdrawal, carry_out, intend, intend_withdrawal
from cardservice.db import Connection, Database, queries
from cardservice.feed.interning import Interned
from cardservice.feed.recompile import compile_cards
from cardservice.feed.window import window_of
from cardservice.feed.writer import as_tenant
from cardservice.ledger.holders import holder_records
from entitlements.wire.rows import STATE_CODES

CHUNK: Final = 5_000
"""People compiled between two commits: a second or two, so that progress is seen and little memory is held."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to prepare."""

    database_url: str
    tenant: str
    job_id: UUID
    service_id: str
    document: dict[str, Any] | None
    """``None`` takes the service out of force."""
    shared_with: list[str]
    chunk: int = CHUNK


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows rest on; they are right as long as it holds. By tenant, windows by tenant and area."""

    stamps: dict[str, str]
    days: dict[str, date]
    windows: dict[str, dict[str, tuple[datetime, datetime]]]


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What was done."""

    basis: Basis
    people: int
    rows: int
    seconds: float
    peak_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What one tenant's people are compiled for."""

    tenant: str
    catalogue: Catalogue
    feeds: Sequence[Mapping[str, Any]]
    people: Sequence[UUID]


async def prepare(order: Order) -> dict[str, Any]:
    """Stage rows, profiles and holders' records for everybody."""
    started, now = time.perf_counter(), datetime.now(UTC)
    database = Database(order.database_url, pool_size=1)
    await database.open()
    rows = done = 0
    try:
        plans = await _plans(database, order, now)
        total = sum(len(plan.people) for plan in plans)
        for plan in plans:
            known: set[tuple[str, bytes]] = set()
            for first in range(0, len(plan.people), order.chunk):
                chunk = plan.people[first : first + order.chunk]
                async with database.transaction(plan.tenant) as conn:
                    rows += await _stage(conn, order, plan, chunk, known, now)
                    done += len(chunk)
                    await _progress(conn, order, done, total)
    finally:
        await database.close()
    prepared = Prepared(
        basis=Basis(
            stamps={plan.tenant: plan.catalogue.stamp for plan in plans},
            days={plan.tenant: plan.catalogue.today(now) for plan in plans},
            windows={
                plan.tenant: {feed["area"]: (feed["compile_from"], feed["compile_until"]) for feed in plan.feeds}
                for plan in plans
            },
        ),
        people=done,
        rows=rows,
        seconds=time.perf_counter() - started,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
    built: dict[str, Any] = msgspec.to_builtins(prepared)
    return built


async def _plans(database: Database, order: Order, now: datetime) -> list[_Plan]:
    """The catalogues as they will be, and everybody who holds a card."""
    plans = []
    async with database.pool.acquire() as conn:
        future = conn.transaction()
        await future.start()
        try:
            await queries().feed.bind_tenant(conn, tenant=order.tenant)
            errand = Errand(conn=conn, actor=Actor(name="preparing", tenant=order.tenant), now=now)
            wish = await intend_asked(errand, order.service_id, order.document, order.shared_with)
            await carry_out(errand, wish)
            for tenant in sorted(wish.tenants | wish.tenants_before):
                async with as_tenant(conn, tenant):
                    areas = sorted(area for owner, area in wish.feeds if owner == tenant)
                    plans.append(
                        _Plan(
                            tenant=tenant,
                            catalogue=await load_catalogue(conn, tenant),
                            feeds=await feed_windows(conn, tenant, areas, now),
                            people=[row["person_id"] async for row in queries().jobs.card_holders(conn, tenant=tenant)],
                        )
                    )
        finally:
            await future.rollback()
    return plans


async def intend_asked(
    errand: Errand, service_id: str, document: dict[str, Any] | None, shared_with: Sequence[str]
) -> Intent | Withdrawal:
    """What a job was asked for, checked against what is in force by now.

    Raises:
        ApiProblem: as the checks of a publication or a withdrawal.
    """
    if document is None:
        return await intend_withdrawal(errand, service_id)
    return await intend(errand, service_id, document, shared_with)


async def feed_windows(conn: Connection, tenant: str, areas: Sequence[str], now: datetime) -> list[dict[str, Any]]:
    """The time for which each area's grants are compiled; an area without a feed gets that of today."""
    begins, ends = window_of(now)
    found = {area: {"area": area, "compile_from": begins, "compile_until": ends} for area in areas}
    async for row in queries().feed.feeds(conn, tenant=tenant, areas=list(areas)):
        found[row["area"]] = {name: row[name] for name in ("area", "compile_from", "compile_until")}
    return list(found.values())


async def _stage(
    conn: Connection, order: Order, plan: _Plan, people: Sequence[UUID], known: set[tuple[str, bytes]], now: datetime
) -> int:
    named = {"tenant": plan.tenant, "job_id": order.job_id}
    cards = [row async for row in queries().feed.cards(conn, tenant=plan.tenant, people=list(people))]
    owners = {card["card_index"]: card["person_id"] for card in cards}
    facts = await load_facts(conn, plan.tenant, people, today=plan.catalogue.today(now))
    rows, candidates = await compile_cards(plan.catalogue, plan.feeds, cards, facts)
    profiles: dict[tuple[str, bytes], Interned] = {
        (row.area, row.profile.digest): row.profile for row in rows if (row.area, row.profile.digest) not in known
    }
    known.update(profiles)
    if profiles:
        await queries().jobs.stage_profiles(
            conn,
            **named,
            areas=[area for area, _ in profiles],
            digests=[digest for _, digest in profiles],
            bodies=[profile.body for profile in profiles.values()],
        )
    await queries().jobs.stage_rows(
        conn,
        **named,
        areas=[row.area for row in rows],
        people=[owners[row.index] for row in rows],
        indexes=[row.index for row in rows],
        card_ids=[row.card_id for row in rows],
        states=[STATE_CODES[row.state] for row in rows],
        digests=[row.profile.digest for row in rows],
    )
    holders = await holder_records(conn, plan.tenant, candidates, plan.catalogue, facts, False, now)
    if holders:
        await queries().jobs.stage_holders(
            conn,
            **named,
            areas=[area for area, _ in holders],
            indexes=[index for _, index in holders],
            bodies=[msgspec.json.encode(holder) for holder in holders.values()],
        )
    return len(rows)


async def _progress(conn: Connection, order: Order, done: int, total: int) -> None:
    async with as_tenant(conn, order.tenant):
        await queries().jobs.progress(
            conn, tenant=order.tenant, job_id=order.job_id, step="compiling", done=done, total=total
        )


if __name__ == "__main__":
    obey(Order, prepare)
