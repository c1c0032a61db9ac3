"""Taps and passages into the database: one statement a batch, each item once, whoever sends it and how often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import structlog

from cardservice.db import Connection, queries
from cardservice.taps.judgement import card_bytes, moment
from entitlements.wire.taps import Passage, Tap, TapResult

log = structlog.get_logger("taps")
STORED = TapResult(result="stored")
DUPLICATE = TapResult(result="duplicate")
OTHER = TapResult(result="rejected", problem="Another item was stored under this tap_id before.")


async def store(
    conn: Connection, *, tenant: str, reader_id: UUID, items: Sequence[Tap | Passage | str]
) -> list[TapResult]:
    """Store what was judged to be in order; the results are by position.

    A ``tap_id`` that was stored before is a duplicate if it says the same, and rejected if it says something else: to
    call that a duplicate would lose a tap.
    """
    results = [TapResult(result="rejected", problem=item) if isinstance(item, str) else None for item in items]
    for kind in (Tap, Passage):
        # Sorted by id, so that two uploads of the same items wait for each other and never for ever.
        places = [place for place, item in enumerate(items) if isinstance(item, kind)]
        places.sort(key=lambda place: items[place].tap_id)  # type: ignore[union-attr]  # strings were left out above
        if places:
            chosen: list[Any] = [items[place] for place in places]
            for place, result in zip(places, await _store_kind(conn, tenant, reader_id, chosen), strict=True):
                results[place] = result
    return [result for result in results if result is not None]


async def _store_kind(
    conn: Connection, tenant: str, reader_id: UUID, items: Sequence[Tap | Passage]
) -> list[TapResult]:
    try:
        async with conn.transaction():
            new = await _insert(conn, tenant, reader_id, items)
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        # One value slipped past the judgement. It must not hold up the rest: find it by halving.
        if len(items) == 1:
            log.warning("the database refused an item", tap_id=str(items[0].tap_id), error=str(error))
            return [TapResult(result="rejected", problem="The database cannot keep a value of this item.")]
        middle = len(items) // 2
        return [
            *await _store_kind(conn, tenant, reader_id, items[:middle]),
            *await _store_kind(conn, tenant, reader_id, items[middle:]),
        ]
    results: list[TapResult] = []
    kept = await _kept(conn, tenant, [item for item in items if _said(item) not in new])
    for item in items:
        said = _said(item)
        if said in new:
            new.remove(said)
            kept.add(said)
            results.append(STORED)
        else:
            results.append(DUPLICATE if said in kept else OTHER)
    return results


async def _insert(conn: Connection, tenant: str, reader_id: UUID, items: Sequence[Tap | Passage]) -> set[Any]:
    if isinstance(items[0], Tap):
        columns: dict[str, list[Any]] = {name: [] for name in _tap_columns(items[0])}
        for item in items:
            for name, value in _tap_columns(item).items():
                columns[name].append(value)
        rows = queries().taps.add_taps(conn, tenant=tenant, reader_id=reader_id, **columns)
    else:
        rows = queries().taps.add_passages(
            conn,
            tenant=tenant,
            tap_ids=[item.tap_id for item in items],
            outcomes=[item.result for item in items if isinstance(item, Passage)],
            moments=[moment(item.at) for item in items],
        )
    return {tuple(row) async for row in rows}


async def _kept(conn: Connection, tenant: str, items: Sequence[Tap | Passage]) -> set[Any]:
    if not items:
        return set()
    query = queries().taps.kept_taps if isinstance(items[0], Tap) else queries().taps.kept_passages
    return {tuple(row) async for row in query(conn, tenant=tenant, tap_ids=[item.tap_id for item in items])}


def _said(item: Tap | Passage) -> tuple[Any, ...]:
    """What makes two items the same; in the order of the columns that the statements return."""
    if isinstance(item, Passage):
        return item.tap_id, item.result, moment(item.at)
    return item.tap_id, item.site, item.lane, moment(item.at), str(item.outcome), item.reason


def _tap_columns(tap: Any) -> dict[str, Any]:
    return {
        "tap_ids": tap.tap_id,
        "sites": tap.site,
        "lanes": tap.lane,
        "directions": tap.direction,
        "moments": moment(tap.at),
        "card_tenants": tap.card_tenant,
        "cards": card_bytes(tap.card) if tap.card is not None else None,
        "services": tap.service,
        "service_versions": tap.service_version,
        "outcomes": str(tap.outcome),
        "reasons": tap.reason,
        "bands": tap.band,
        "pence": tap.pence,
        # As text: the statement casts it, which spares a codec for arrays of JSON.
        "effects": msgspec.json.encode(tap.effects).decode(),
        "media": tap.media,
        "feeds": tap.feed,
        "feed_numbers": tap.feed_number,
        "online": tap.online,
        "clock_trusted": tap.clock_trusted,
        "clock_offsets": tap.clock_offset_ms,
        "details": tap.detail,
        "acting": tap.acts_for,
        "items": tap.item,
    }
