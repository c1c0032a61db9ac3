"""Snapshots: two content-addressed parts under one signed manifest, built when a reader asks and none is recent."""

from __future__ import annotations

import asyncio
import hashlib
import io
import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import msgspec
import structlog

from cardservice.catalogue.loading import load_catalogue
from cardservice.db import Connection, Database, queries
from cardservice.feed.access import FeedRef
from cardservice.feed.changes import Place, read_place
from cardservice.feed.pruning import prune_feed
from cardservice.feed.telling import milliseconds
from cardservice.feed.window import as_horizon
from cardservice.feed.writer import card_keys
from cardservice.keys.store import KeyStore
from cardservice.ledger.snapshot import state_of
from entitlements.credential.jws import sign_compact
from entitlements.wire.feed import FORMAT, MANIFEST_TYP, Horizon, Manifest, Meta, Part, encode

RECENT: Final = 1_000
"""Changes that a reader may have to fetch after a snapshot: one page. An older snapshot is built anew."""
COPY_HEADER: Final = 19
"""Bytes before the first row of a binary COPY: signature, flags, length of the extension, which is empty."""
_RECORD: Final = struct.Struct(">hiiiIihii")
"""A row of ``packed_rows`` in binary COPY: number of fields, then each field's length and value."""

log = structlog.get_logger("feed.snapshot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A snapshot as stored."""

    place: Place
    cards: int
    rows: bytes
    meta: bytes


class Snapshots:
    """Snapshots of all feeds, as one process builds and finds them."""

    def __init__(self, db: Database, keys: KeyStore) -> None:
        self._db = db
        self._keys = keys
        self._building = asyncio.Lock()

    async def manifest(self, feed: FeedRef, now: datetime) -> str:
        """The signed manifest of a snapshot that is recent enough; built first where there is none.

        Raises:
            ApiProblem: 404 for a feed that does not exist.
        """
        found = await self._recent(feed)
        if found is not None:
            return found
        # One build at a time in this process: each takes a connection for as long as it lasts.
        async with self._building:
            found = await self._recent(feed)
            return found if found is not None else await self._build_alone(feed, now)

    async def _recent(self, feed: FeedRef) -> str | None:
        async with self._db.transaction(feed.tenant, read_only=True) as conn:
            place = await read_place(conn, feed)
            row = await queries().feed.newest_snapshot(conn, tenant=feed.tenant, area=feed.area)
        if row is None or place.head.number - row["number"] > RECENT:
            return None
        return str(row["manifest"])

    async def _build_alone(self, feed: FeedRef, now: datetime) -> str:
        """Build under a lock that all processes know; whoever waited for it finds what the other built."""
        named = {"tenant": feed.tenant, "area": feed.area}
        async with self._db.pool.acquire() as conn:
            await queries().feed.snapshot_lock(conn, **named)
            try:
                found = await self._recent(feed)
                if found is not None:
                    return found
                async with conn.transaction(isolation="repeatable_read"):
                    await queries().feed.bind_tenant(conn, tenant=feed.tenant)
                    return await self._build(conn, feed, now)
            finally:
                if not conn.is_closed():
                    await queries().feed.snapshot_unlock(conn, **named)

    async def _build(self, conn: Connection, feed: FeedRef, now: datetime) -> str:
        built = await build(conn, feed, now)
        head = built.place.head
        rows, meta = _part(built.rows), _part(built.meta)
        manifest = Manifest(
            format=FORMAT,
            tenant=feed.tenant,
            area=feed.area,
            epoch=head.epoch,
            number=head.number,
            issue_number=head.issue_number,
            created_at=milliseconds(now),
            cards=built.cards,
            rows=rows,
            meta=meta,
        )
        signer = await self._keys.signer(conn, feed.tenant, "feed")
        signed = sign_compact(encode(manifest), MANIFEST_TYP, signer)
        await queries().feed.add_snapshot(
            conn,
            tenant=feed.tenant,
            area=feed.area,
            epoch=UUID(head.epoch),
            number=head.number,
            manifest=signed,
            meta=built.meta,
            meta_sha256=meta.sha256,
            rows=built.rows,
            rows_sha256=rows.sha256,
        )
        await prune_feed(conn, feed.tenant, feed.area, now=now)
        log.info("a snapshot was built", feed=feed.name, number=head.number, cards=built.cards, bytes=rows.size)
        return signed


async def build(conn: Connection, feed: FeedRef, now: datetime) -> Built:
    """The parts of a snapshot, all read in one REPEATABLE READ transaction of the feed's tenant."""
    place = await read_place(conn, feed)
    catalogue = await load_catalogue(conn, feed.tenant)
    profiles = [row async for row in queries().feed.used_profiles(conn, tenant=feed.tenant, area=feed.area)]
    copied = io.BytesIO()
    await conn.copy_from_query(
        queries().feed.packed_rows.sql.rstrip(";\n"), feed.tenant, feed.area, output=copied, format="binary"
    )
    numbers = {row["profile_id"]: number for number, row in enumerate(profiles)}
    cards, rows = await asyncio.to_thread(pack_rows, copied.getbuffer(), numbers)
    span = as_horizon(place.begins, place.ends)
    meta = Meta(
        format=FORMAT,
        horizon=Horizon(begins=span.start, ends=span.end),
        profiles=[cast("list[Any]", msgspec.Raw(row["body"])) for row in profiles],
        services=list(catalogue.area(feed.area).entries),
        world=catalogue.feed_world,
        keys=await card_keys(conn, feed.tenant),
        state=await state_of(conn, feed.tenant, feed.area, catalogue, now),
    )
    return Built(place=place, cards=cards, rows=rows, meta=encode(meta))


def pack_rows(copied: memoryview, numbers: Mapping[int, int]) -> tuple[int, bytes]:
    """The dense array of 8-byte rows (:mod:`entitlements.wire.rows`) from a binary COPY of ``packed_rows``.

    Args:
        copied: the COPY's bytes.
        numbers: place of a profile in the meta part by its number in the database.

    Returns:
        How many cards there are, and the array, as long as the highest index asks for.
    """
    body = copied[COPY_HEADER : COPY_HEADER + (len(copied) - COPY_HEADER) // _RECORD.size * _RECORD.size]
    records: Sequence[tuple[int, ...]] = list(_RECORD.iter_unpack(body))
    if not records:
        return 0, b""
    rows = array("Q", bytes(8 * (max(record[2] for record in records) + 1)))
    for _, _, index, _, tag, _, state, _, profile in records:
        rows[index] = tag << 32 | numbers[profile] << 8 | state
    if sys.byteorder == "big":
        rows.byteswap()
    return len(records), rows.tobytes()


async def read_part(conn: Connection, feed: FeedRef, sha256: str) -> bytes | None:
    """A part by its digest."""
    part: bytes | None = await queries().feed.part(conn, tenant=feed.tenant, area=feed.area, sha256=sha256)
    return part


def _part(octets: bytes) -> Part:
    return Part(sha256=hashlib.sha256(octets).hexdigest(), size=len(octets))


__all__ = ["Built", "Snapshots", "build", "pack_rows", "read_part"]
