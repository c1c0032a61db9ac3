"""Routes of the feed, for readers (docs/protocols/reader-api.md)."""

from __future__ import annotations

import time
from typing import Annotated
from uuid import UUID

import msgspec
from aiohttp import web
from pydantic import Field

from cardservice.api.call import Call
from cardservice.api.models import ApiModel
from cardservice.api.routing import Routes, Told
from cardservice.errors import not_found
from cardservice.feed.access import feed_of_path
from cardservice.feed.changes import MAX_PAGE, page_json, read_changes
from cardservice.feed.parts import DIGEST, part_response
from cardservice.feed.stream import MAX_FEEDS, PLACE, run_stream
from entitlements.wire.feed import AnyChange, Beat, ChangesPage, Manifest, Meta

routes = Routes(tag="feed")


class SnapshotReply(ApiModel):
    """A compact JWS of type rescard-manifest+jwt; its payload is a `Manifest`, which names the parts by SHA-256."""

    manifest: str


class StreamChange(msgspec.Struct, frozen=True, kw_only=True):
    """Data of the event `change`: the feed by its name, and its next change."""

    feed: str
    change: AnyChange


class StreamPull(msgspec.Struct, frozen=True, kw_only=True):
    """Data of the event `pull`: changes of this feed were left out of the stream."""

    feed: str


class ChangesQuery(ApiModel):
    """From where a reader goes on."""

    epoch: UUID = Field(description="Epoch of the reader's copy.")
    after: int = Field(ge=0, lt=1 << 62, description="Number of the last change that it has applied.")
    at: int | None = Field(
        default=None, ge=0, lt=1 << 62, description="`at` of that change: shows that both mean the same past."
    )
    limit: int = Field(default=MAX_PAGE, ge=1, le=MAX_PAGE)


class SnapshotQuery(ApiModel):
    """How old the snapshot may be."""

    since: int | None = Field(
        default=None,
        ge=0,
        lt=1 << 62,
        description="Made after this (ms since the epoch): for a reader whose copy is of a past that was lost.",
    )


class StreamQuery(ApiModel):
    """Which feeds a reader follows, and from where."""

    feed: list[Annotated[str, Field(pattern=PLACE)]] = Field(
        min_length=1,
        max_length=MAX_FEEDS,
        description="`tenant/area:EPOCH:N:AT`, once for each feed: all changes up to N are there, N of time AT.",
    )


@routes.add(
    "GET",
    "/v1/feeds/{tenant}/{area}/snapshot",
    "The signed manifest of a recent snapshot",
    access="reader",
    transaction=False,
    told=Told(more=(Manifest, Meta)),
)
async def snapshot(call: Call, query: SnapshotQuery) -> SnapshotReply:
    """Built on demand where none is recent."""
    feed = feed_of_path(call)
    return SnapshotReply(manifest=await call.platform.snapshots.manifest(feed, call.now, since=query.since))


@routes.add(
    "GET",
    "/v1/feeds/{tenant}/{area}/parts/{sha256}",
    "One part of a snapshot by its SHA-256",
    access="reader",
    transaction=False,
    raw=True,
    media_type="application/octet-stream",
    told=Told(
        headers={
            "Range": "One range of octets, e.g. `bytes=1000-`.",
            "If-Range": "The ETag: another one gets the whole part.",
            "If-None-Match": "The ETag of a part that the reader has.",
        },
        also={206: "The octets of that range.", 304: "The reader has the part."},
    ),
)
async def part(call: Call) -> web.Response:
    """Its content is a `Meta`, or an array of rows; see docs/protocols/feed.md. It never changes under its name."""
    feed, sha256 = feed_of_path(call), call.path("sha256")
    found = await call.platform.snapshots.parts.take(feed, sha256) if DIGEST.fullmatch(sha256) else None
    if found is None:
        raise not_found("part", sha256[:80])
    return part_response(call.request, sha256, found)


@routes.add(
    "GET",
    "/v1/feeds/{tenant}/{area}/changes",
    "Changes after a number, and where the feed stands",
    access="reader",
    transaction=False,
    raw=True,
    told=Told(reply=ChangesPage),
)
async def changes(call: Call, query: ChangesQuery) -> web.Response:
    """409 feed_epoch and 410 feed_pruned both mean: take a new snapshot."""
    feed = feed_of_path(call)
    async with call.platform.db.transaction(feed.tenant, read_only=True) as conn:
        head, bodies = await read_changes(
            conn, feed, epoch=query.epoch, after=query.after, limit=query.limit, at=query.at
        )
    return web.Response(body=page_json(head, bodies, time.time_ns() // 1_000_000), content_type="application/json")


@routes.add(
    "GET",
    "/v1/stream",
    "Changes as they commit, as server-sent events",
    access="reader",
    transaction=False,
    raw=True,
    media_type="text/event-stream",
    told=Told(query=StreamQuery, more=(Beat, StreamChange, StreamPull)),
)
async def stream(call: Call) -> web.StreamResponse:
    """Events `change` with a `StreamChange` as data, `pull` with a `StreamPull`, and `beat` with a `Beat`."""
    return await run_stream(call)
