"""Snapshots: two content-addressed parts under one signed manifest, built when a reader asks and none is recent."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from cardservice.catalogue.loading import load_catalogue
from cardservice.db import Connection, Database, queries
from cardservice.errors import ApiProblem
from cardservice.feed.access import FeedRef
from cardservice.feed.changes import Place, change_at, read_place
from cardservice.feed.packing import RowPacker
from cardservice.feed.pruning import prune_feed
from cardservice.feed.shelf import Shelf
from cardservice.feed.telling import milliseconds
from cardservice.feed.window import as_horizon
from cardservice.feed.writer import card_keys
from cardservice.keys.store import KeyStore
from cardservice.ledger.snapshot import state_of
from entitlements.credential.jws import sign_compact
from entitlements.wire.feed import FORMAT, MANIFEST_TYP, Content, Horizon, Manifest, Meta, Part, encode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RECENT: Final = 1_000
"""Changes that a reader may have to fetch after a snapshot: one page. An older snapshot is built anew."""
ANEW_AFTER: Final = timedelta(minutes=1)
"""A snapshot is not made anew within this time because a reader asks for a later one."""
LEVEL: Final = 3
"""Zstandard's own default: half the size of the rows, a third of a second for ten million cards."""
COPY_SECONDS: Final = 120.0
"""A COPY of ten million cards takes some ten seconds; the usual limit of a statement is for requests."""
POLL_SECONDS: Final = 0.2
"""How often it is tried whether another process has done with a feed: a hundredth of what a large snapshot takes."""
WAIT_SECONDS: Final = 150.0
"""Longer than any build that goes well; whoever waited for so long in vain is told to come back."""

log = structlog.get_logger("feed.snapshot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A snapshot as stored."""

    place: Place
    cards: int
    rows: bytes
    meta: bytes


class Snapshots:
    """Snapshots of all feeds, as one process builds, finds and holds them."""

    def __init__(
        self, db: Database, keys: KeyStore, *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """``pause`` lets so many seconds pass between two looks whether another process has done."""
        self.parts = Shelf(self._read_part)
        self._db = db
        self._keys = keys
        self._pause = pause
        self._turns: dict[FeedRef, asyncio.Lock] = {}
        self._building = asyncio.Lock()

    async def manifest(self, feed: FeedRef, now: datetime, *, since: int | None = None) -> str:
        """The signed manifest of a snapshot that is recent enough; built first where there is none.

        Args:
            since: ms since the epoch; a snapshot that was made before is too old for this reader. Not more than one
                a minute is built for that.

        Raises:
            ApiProblem: 404 for a feed that does not exist; 503 where another process has been building it for too long.
        """
        found = await self._recent(feed, now, since)
        if found is not None:
            return found
        # Of all who ask this process for the feed, one looks after the build; the others find what comes of it.
        async with self._turns.setdefault(feed, asyncio.Lock()):
            found = await self._recent(feed, now, since)
            return found if found is not None else await self._build_alone(feed, now, since)

    async def _recent(self, feed: FeedRef, now: datetime, since: int | None) -> str | None:
        async with self._db.transaction(feed.tenant, read_only=True) as conn:
            return await _newest(conn, feed, now, since)

    async def _build_alone(self, feed: FeedRef, now: datetime, since: int | None) -> str:
        """Build, or wait until another process has built.

        The lock that all processes know is tried now and then, never waited for: a statement that waits for it would
        fail with the limit of statements, and keep a connection from everybody else until then.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_SECONDS
        while True:
            # One build at a time in this process: each takes a connection and a core for as long as it lasts.
            async with self._building:
                made = await self._try_build(feed, now, since)
            if made is not None:
                return made
            if loop.time() > until:
                problem = "Another process has been building this snapshot for too long; ask again."
                raise ApiProblem(503, "snapshot_not_ready", problem, headers={"Retry-After": "5"})
            await self._pause(POLL_SECONDS)
            found = await self._recent(feed, now, since)
            if found is not None:
                return found

    async def _try_build(self, feed: FeedRef, now: datetime, since: int | None) -> str | None:
        """A new snapshot, or what another process built a moment ago; ``None`` while another builds."""
        named = {"tenant": feed.tenant, "area": feed.area}
        async with self._db.pool.acquire() as conn:
            if not await queries().feed.try_snapshot_lock(conn, **named):
                return None
            try:
                async with conn.transaction(readonly=True):
                    await queries().feed.bind_tenant(conn, tenant=feed.tenant)
                    found = await _newest(conn, feed, now, since)
                if found is not None:
                    return found
                async with conn.transaction(isolation="repeatable_read"):
                    await queries().feed.bind_tenant(conn, tenant=feed.tenant)
                    return await self._build(conn, feed, now)
            finally:
                if not conn.is_closed():
                    await queries().feed.snapshot_unlock(conn, **named)

    async def _read_part(self, feed: FeedRef, sha256: str) -> bytes | None:
        async with self._db.transaction(feed.tenant, read_only=True) as conn:
            part: bytes | None = await queries().feed.part(conn, tenant=feed.tenant, area=feed.area, sha256=sha256)
        return part

    async def _build(self, conn: Connection, feed: FeedRef, now: datetime) -> str:
        built = await build(conn, feed, now)
        head = built.place.head
        rows, rows_sent = await asyncio.to_thread(_packed, built.rows)
        meta, meta_sent = await asyncio.to_thread(_packed, built.meta)
        manifest = Manifest(
            format=FORMAT,
            tenant=feed.tenant,
            area=feed.area,
            epoch=head.epoch,
            number=head.number,
            issue_number=head.issue_number,
            created_at=milliseconds(await queries().feed.snapshot_time(conn)),
            cards=built.cards,
            rows=rows,
            meta=meta,
            last_at=await change_at(conn, feed, head.number) or 0,
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
            meta=meta_sent,
            meta_sha256=meta.sha256,
            rows=rows_sent,
            rows_sha256=rows.sha256,
        )
        await prune_feed(conn, feed.tenant, feed.area, now=now)
        log.info("a snapshot was built", feed=feed.name, number=head.number, cards=built.cards, bytes=rows.size)
        return signed


async def build(conn: Connection, feed: FeedRef, now: datetime) -> Built:
    """The parts of a snapshot, all read in one REPEATABLE READ transaction of the feed's tenant."""
    place = await read_place(conn, feed)
    catalogue = await load_catalogue(conn, feed.tenant)
    packer = RowPacker()
    await conn.copy_from_query(
        queries().feed.packed_rows.sql.rstrip(";\n"),
        feed.tenant,
        feed.area,
        output=packer.write,
        format="binary",
        timeout=COPY_SECONDS,
    )
    packer.finish()
    span = as_horizon(place.begins, place.ends)
    meta = Meta(
        format=FORMAT,
        horizon=Horizon(begins=span.start, ends=span.end),
        profiles=await _profiles(conn, feed, packer.profiles),
        services=list(catalogue.area(feed.area).entries),
        world=catalogue.feed_world,
        keys=await card_keys(conn, feed.tenant),
        state=await state_of(conn, feed.tenant, feed.area, catalogue, now),
    )
    return Built(place=place, cards=packer.cards, rows=bytes(packer.rows), meta=encode(meta))


async def _profiles(conn: Connection, feed: FeedRef, used: set[int]) -> list[Any]:
    """Profiles by the numbers that the rows have, which are the database's.

    The database gives the smallest free numbers and prunes daily, so few are out of use; their places hold some profile
    that is, to which no row points.
    """
    found = {
        row["profile_id"]: msgspec.Raw(row["body"])
        async for row in queries().feed.profiles(conn, tenant=feed.tenant, area=feed.area, numbers=sorted(used))
    }
    if found.keys() != used:
        raise ValueError(f"the feed {feed.name} has rows without a profile")
    filler = found[min(used)] if used else None
    return [found.get(number, filler) for number in range(max(used, default=-1) + 1)]


async def _newest(conn: Connection, feed: FeedRef, now: datetime, since: int | None) -> str | None:
    """The manifest of the newest snapshot, if that is recent enough and was made since."""
    place = await read_place(conn, feed)
    row = await queries().feed.newest_snapshot(conn, tenant=feed.tenant, area=feed.area)
    if row is None or place.head.number - row["number"] > RECENT:
        return None
    if since is not None and milliseconds(row["created_at"]) < since and now - row["created_at"] > ANEW_AFTER:
        return None
    return str(row["manifest"])


def _packed(octets: bytes) -> tuple[Part, bytes]:
    """A part and its octets as they are kept and sent: one Zstandard frame (RFC 8878). Meant for a thread."""
    sent = zstd.compress(octets, LEVEL)
    content = Content(sha256=hashlib.sha256(octets).hexdigest(), size=len(octets))
    return Part(sha256=hashlib.sha256(sent).hexdigest(), size=len(sent), zstd=content), sent


__all__ = ["Built", "Snapshots", "build"]
