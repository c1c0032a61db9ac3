"""Routes of the feed, for readers (docs/protocols/reader-api.md)."""

from __future__ import annotations

import time
from uuid import UUID

from aiohttp import web
from pydantic import Field

from cardservice.api.call import Call
from cardservice.api.models import ApiModel
from cardservice.api.routing import Routes
from cardservice.errors import not_found
from cardservice.feed.access import feed_of_path
from cardservice.feed.changes import MAX_PAGE, page_json, read_changes
from cardservice.feed.parts import DIGEST, part_response
from cardservice.feed.stream import run_stream

routes = Routes(tag="feed")


class SnapshotReply(ApiModel):
    """A compact JWS of type rescard-manifest+jwt; its payload names the parts by SHA-256."""

    manifest: str


class ChangesQuery(ApiModel):
    """From where a reader goes on."""

    epoch: UUID = Field(description="Epoch of the reader's copy.")
    after: int = Field(ge=0, lt=1 << 62, description="Number of the last change that it has applied.")
    limit: int = Field(default=MAX_PAGE, ge=1, le=MAX_PAGE)


@routes.add(
    "GET",
    "/v1/feeds/{tenant}/{area}/snapshot",
    "The signed manifest of a recent snapshot",
    access="reader",
    transaction=False,
)
async def snapshot(call: Call) -> SnapshotReply:
    """Built on demand where none is recent."""
    feed = feed_of_path(call)
    return SnapshotReply(manifest=await call.platform.snapshots.manifest(feed, call.now))


@routes.add(
    "GET",
    "/v1/feeds/{tenant}/{area}/parts/{sha256}",
    "One part of a snapshot by its SHA-256",
    access="reader",
    transaction=False,
    raw=True,
    media_type="application/octet-stream",
)
async def part(call: Call) -> web.Response:
    """Takes one Range and If-None-Match."""
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
)
async def changes(call: Call, query: ChangesQuery) -> web.Response:
    """409 feed_epoch and 410 feed_pruned both mean: take a new snapshot."""
    feed = feed_of_path(call)
    async with call.platform.db.transaction(feed.tenant, read_only=True) as conn:
        head, bodies = await read_changes(conn, feed, epoch=query.epoch, after=query.after, limit=query.limit)
    return web.Response(body=page_json(head, bodies, time.time_ns() // 1_000_000), content_type="application/json")


@routes.add(
    "GET",
    "/v1/stream",
    "Changes as they commit, as server-sent events",
    access="reader",
    transaction=False,
    raw=True,
    media_type="text/event-stream",
)
async def stream(call: Call) -> web.StreamResponse:
    """Names the feeds as `feed=tenant/area:EPOCH:N`, once for each."""
    return await run_stream(call)
