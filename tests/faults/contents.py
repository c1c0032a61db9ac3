"""All that a feed says, in one form, of a snapshot and of a reader: what must be the same when all is at rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from cardservice.db import Database, queries
from cardservice.feed.access import FeedRef
from cardservice.feed.snapshot import build
from entitlements.wire.feed import Meta
from entitlements.wire.rows import unpack_row
from readers.cache import SHARDS, FeedCache

Told = dict[str, dict[str, Any]]
"""What it says, by part (rows, services, world...) and by the name or number of a thing in it."""


async def fresh_snapshots(url: str, feeds: Iterable[str]) -> dict[str, Told]:
    """What a snapshot of each feed holds that the service builds now."""
    database = Database(url, pool_size=1)
    await database.open()
    try:
        async with database.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            await queries().feed.bind_tenant(conn, tenant="wcc")
            return {feed: _of_snapshot(await _built(conn, feed)) for feed in feeds}
    finally:
        await database.close()


async def _built(conn: Any, feed: str) -> tuple[bytes, bytes]:
    tenant, _, area = feed.partition("/")
    built = await build(conn, FeedRef(tenant=tenant, area=area), datetime.now(UTC))
    return built.rows, built.meta


def _of_snapshot(parts: tuple[bytes, bytes]) -> Told:
    rows, meta = parts[0], msgspec.json.decode(parts[1], type=Meta)
    cards = {}
    for index, row in enumerate(memoryview(rows).cast("Q")):
        tag, profile, state = unpack_row(row)
        cards[index] = None if state is None else [tag, state, meta.profiles[profile]]
    return _told(
        rows=cards,
        services={entry.document["id"]: entry for entry in meta.services},
        world=vars_of(meta.world),
        keys=_by("kid", meta.keys["keys"]),
        horizon=vars_of(meta.horizon),
        state=meta.state,
    )


def of_reader(cache: FeedCache) -> Told:
    """What a reader has of a feed."""
    contents = cache.contents
    cards = {}
    for index, row in _rows(cache):
        tag, profile, state = unpack_row(row)
        cards[index] = None if state is None else [tag, state, contents.profiles[profile].to_wire()]
    return _told(
        rows=cards,
        services=contents.services,
        world=vars_of(contents.world),
        keys=_by("kid", contents.keys["keys"]),
        horizon=vars_of(contents.horizon),
        state=msgspec.Raw(b"".join(contents.holdings.write())),
    )


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """Where a reader's contents differ from a snapshot's; both as they come out of JSON."""
    for part in sorted(wanted):
        mine, theirs = found[part], wanted[part]
        for name in sorted(mine.keys() | theirs.keys()):
            if mine.get(name) != theirs.get(name):
                yield f"{part} {name} is {mine.get(name)}, in a fresh snapshot it is {theirs.get(name)}"


def _told(*, state: Any, **parts: Any) -> Told:
    """In builtin types and by name, so that no order matters."""
    made = parts | {
        "holders": {}, "units": {}, "bookings": {}, "loans": {}, "upstreams": {},
    }  # fmt: skip
    held = msgspec.json.decode(msgspec.json.encode(state))
    # Somebody of whom nothing is left to keep is told as a holder without anything, and left out of a snapshot.
    made["holders"] = {name: each for name, each in _by("index", held["holders"]).items() if len(_full(each)) > 1}
    made["units"] = {f"{each['entry']} {each['account']} {each['key']}": each for each in held["units"]}
    made["bookings"] = _by("booking", held["bookings"])
    made["loans"] = _by("loan", held["loans"])
    made["upstreams"] = {f"{each['name']} {each['key']}": each for each in held["upstreams"]}
    # Through JSON, as the reader's side goes: a tuple is a list there, and a number as a name is a text.
    told: Told = msgspec.json.decode(msgspec.json.encode(made))
    return told


def vars_of(thing: msgspec.Struct) -> dict[str, Any]:
    """The members of a value by name."""
    return msgspec.structs.asdict(thing)


def _by(member: str, things: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {str(thing[member]): thing for thing in things}


def _full(thing: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in thing.items() if value not in ({}, [])}


def _rows(cache: FeedCache) -> Iterator[tuple[int, int]]:
    """Every row as a look-up would find it."""
    for index in range(cache.cards):
        for changed in filter(None, (cache._overlay, cache._folding)):
            if index in (shard := changed[index % SHARDS]):
                yield index, shard[index]
                break
        else:
            yield index, cache.base.row(index) if index < cache.base.header.rows else 0
