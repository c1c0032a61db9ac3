"""Taps and passages into the database: one statement a batch, each item once, whoever sends it and how often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final
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
_ALIKE: Final = {
    "site": "sites",
    "lane": "lanes",
    "direction": "directions",
    "card_tenant": "card_tenants",
    "service": "services",
    "service_version": "service_versions",
    "outcome": "outcomes",
    "reason": "reasons",
    "band": "bands",
    "pence": "pence",
    "media": "media",
    "feed": "feeds",
    "online": "online",
    "clock_trusted": "clock_trusted",
    "presentation": "presentations",
}
"""Members of which a batch has few combinations, and the parameters of ``add_taps`` for them: sent once for each."""
_alike: Callable[[Tap], tuple[Any, ...]] = attrgetter(*_ALIKE)


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
        places.sort(key=lambda place: items[place].tap_id.int)  # type: ignore[union-attr]  # strings were left out above
        if places:
            chosen: list[Any] = [items[place] for place in places]
            for place, result in zip(places, await _store_kind(conn, tenant, reader_id, chosen), strict=True):
                results[place] = result
    return [result for result in results if result is not None]


async def _store_kind(
    conn: Connection, tenant: str, reader_id: UUID, items: Sequence[Tap | Passage]
) -> list[TapResult]:
    first: dict[UUID, Tap | Passage] = {}
    for item in items:
        first.setdefault(item.tap_id, item)
    try:
        async with conn.transaction():
            new = await _insert(conn, tenant, reader_id, list(first.values()))
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
    if len(new) == len(items):
        return [STORED] * len(items)
    kept = await _kept(conn, tenant, items)
    results: list[TapResult] = []
    for item in items:
        if item.tap_id in new:
            new.remove(item.tap_id)
            results.append(STORED)
        else:
            results.append(DUPLICATE if _said(item) in kept else OTHER)
    return results


async def _insert(conn: Connection, tenant: str, reader_id: UUID, items: Sequence[Any]) -> set[UUID]:
    """Ids of those that were new."""
    if isinstance(items[0], Tap):
        rows = queries().taps.add_taps(conn, tenant=tenant, reader_id=reader_id, **_columns(items))
    else:
        rows = queries().taps.add_passages(
            conn,
            tenant=tenant,
            tap_ids=[item.tap_id for item in items],
            outcomes=[item.result for item in items],
            moments=[moment(item.at) for item in items],
        )
    return {row["tap_id"] async for row in rows}


async def _kept(conn: Connection, tenant: str, items: Sequence[Tap | Passage]) -> set[Any]:
    """What stands under the ids of these."""
    query = queries().taps.kept_taps if isinstance(items[0], Tap) else queries().taps.kept_passages
    return {tuple(row) async for row in query(conn, tenant=tenant, tap_ids=[item.tap_id for item in items])}


def _said(item: Tap | Passage) -> tuple[Any, ...]:
    """What makes two items the same; in the order of the columns that the statements return."""
    if isinstance(item, Passage):
        return item.tap_id, item.result, moment(item.at)
    return item.tap_id, item.site, item.lane, moment(item.at), str(item.outcome), item.reason


def _columns(taps: Sequence[Tap]) -> dict[str, list[Any]]:
    """The parameters of ``add_taps``."""
    places: dict[tuple[Any, ...], int] = {}
    alike = [places.setdefault(_alike(tap), len(places) + 1) for tap in taps]
    return {
        "places": alike,
        "tap_ids": [tap.tap_id for tap in taps],
        "moments": [moment(tap.at) for tap in taps],
        "cards": [None if tap.card is None else card_bytes(tap.card) for tap in taps],
        # As text: the statement casts it, which spares a codec for arrays of JSON.
        "effects": [msgspec.json.encode(tap.effects).decode() if tap.effects else "[]" for tap in taps],
        "feed_numbers": [tap.feed_number for tap in taps],
        "clock_offsets": [tap.clock_offset_ms for tap in taps],
        "details": [tap.detail for tap in taps],
        "acting": [tap.acts_for for tap in taps],
        "items": [tap.item for tap in taps],
        **dict(zip(_ALIKE.values(), map(list, zip(*places, strict=True)), strict=True)),
    }
