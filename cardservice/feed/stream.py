"""The change stream of one reader: what it missed, then each change as it commits, and a heartbeat.

Server-sent events (WHATWG HTML, section 9.2). The stream reads the past from the database by itself, at the speed of
its reader, and joins the hub's pump once it has caught up.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from aiohttp import HttpVersion11, web

from cardservice.api.call import Call
from cardservice.db import ALL_TENANTS, DATABASE_AWAY
from cardservice.errors import ApiProblem
from cardservice.feed.access import FeedRef, enrolled_feed
from cardservice.feed.changes import MAX_PAGE, read_changes, read_place
from cardservice.feed.channels import change_frame
from cardservice.feed.hub import Hub
from cardservice.feed.sending import STALL_SECONDS, keep_small
from cardservice.feed.subscription import Block, Direct, Subscription, pull_frame
from cardservice.platform import Platform
from cardservice.sitesecrets.desk import Assignment
from entitlements.errors import EntitlementsError
from entitlements.wire.feed import Beat, Head, encode

MAX_FEEDS: Final = 64
"""Feeds in one stream: more than a site has areas, for both councils."""
JOIN_SECONDS: Final = 0.02
"""Pause before trying again to join a pump that is further, so that it or the database can go on."""

PLACE: Final = r"^([^:]{1,140}):([0-9a-fA-F-]{36}):([0-9]{1,18})(?::([0-9]{1,18}))?$"
"""A feed, an epoch, a number and when that change was written, as the query has them."""
_PLACE: Final = re.compile(PLACE)

log = structlog.get_logger("feed.stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One ``feed=tenant/area:EPOCH:N:AT`` of the query: the reader has every change up to ``after``, of time ``at``."""

    feed: FeedRef
    epoch: UUID
    after: int
    at: int | None


def asked_feeds(call: Call) -> list[Asked]:
    """The feeds of the query.

    Raises:
        ApiProblem: 422 where one cannot be read or stands twice, 403 for one that the reader is not enrolled for.
    """
    given = call.request.query.getall("feed", [])
    if not 1 <= len(given) <= MAX_FEEDS:
        raise _wrong(f"name 1 to {MAX_FEEDS} feeds as feed=tenant/area:EPOCH:N:AT")
    asked: dict[str, Asked] = {}
    for text in given:
        match = _PLACE.fullmatch(text)
        try:
            epoch = UUID(match[2]) if match else None
        except ValueError:
            epoch = None
        if match is None or epoch is None:
            raise _wrong(f"{text[:120]!r} is not tenant/area:EPOCH:N:AT")
        feed = enrolled_feed(call, match[1])
        if feed.name in asked:
            raise _wrong(f"the feed {feed.name} stands twice")
        asked[feed.name] = Asked(
            feed=feed, epoch=epoch, after=int(match[3]), at=None if match[4] is None else int(match[4])
        )
    return list(asked.values())


async def run_stream(call: Call) -> web.StreamResponse:
    """Serve the stream until the reader leaves, may no longer listen, or the service stops."""
    asked = asked_feeds(call)
    async with call.platform.db.transaction(ALL_TENANTS, read_only=True) as conn:
        for each in asked:
            await read_place(conn, each.feed)  # 404 before the stream begins
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "X-Request-Id": call.request_id,
            "Rescard-Time": str(_now_ms()),
        }
    )
    if call.request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    keep_small(call.request.transport)
    await response.prepare(call.request)
    stream = Stream(
        platform=call.platform,
        response=response,
        direct=direct_writer(call.request.transport) if response.chunked else None,
        reader_id=call.reader["reader_id"],
        reader=Assignment.of(call.reader),
        asked=asked,
    )
    try:
        await stream.run()
    except (ConnectionError, TimeoutError) as error:
        log.info("a stream was lost", reader=str(stream.reader_id), error=str(error) or type(error).__name__)
    except DATABASE_AWAY as error:
        log.warning("a stream ends: the database is away", reader=str(stream.reader_id), error=str(error))
    return response


def direct_writer(transport: asyncio.Transport | None) -> Direct | None:
    """Writes blocks as chunks to a transport that has sent all that it was given before.

    Waking a task for each of a thousand streams, and its way through the response, cost three times the writing itself.
    A reader that does not keep up is left to its queue, whose bound holds.
    """
    if transport is None:
        return None

    def write(block: Block) -> bool:
        if transport.is_closing() or transport.get_write_buffer_size():
            return False
        transport.write(block.chunk)
        return True

    return write


@dataclass(kw_only=True)
class Stream:
    """One open stream."""

    platform: Platform
    response: web.StreamResponse
    direct: Direct | None
    reader_id: UUID
    reader: Assignment
    asked: Sequence[Asked]

    async def run(self) -> None:
        """Catch up feed by feed, then pass on what the hub hands out."""
        hub = self.platform.hub
        subscription = Subscription(self.reader_id)
        hub.add(subscription)
        try:
            for each in self.asked:
                await self._catch_up(hub, subscription, each)
            await self._live(hub, subscription)
        finally:
            hub.remove(subscription)

    async def _catch_up(self, hub: Hub, subscription: Subscription, asked: Asked) -> None:
        feed, epoch, after, at = asked.feed, asked.epoch, asked.after, asked.at
        while True:
            try:
                head, bodies = await self._read(feed, epoch, after, at)
            except ApiProblem as problem:
                if problem.status not in (409, 410):
                    raise
                # The reader must take a snapshot; the stream goes on from here, and its gap check does the rest.
                await self._write(pull_frame(feed.name))
                head, bodies = await self._head(feed), []
                epoch, after = UUID(head.epoch), head.number
            at = None  # what follows was read from the database by itself
            if bodies:
                after += len(bodies)
                await self._write(b"".join(change_frame(feed.name, body) for body in bodies))
            if after >= head.number:
                if hub.join(subscription, feed.tenant, feed.area, head=head):
                    return
                await asyncio.sleep(JOIN_SECONDS)
            if subscription.ended:
                return

    async def _live(self, hub: Hub, subscription: Subscription) -> None:
        names = [each.feed.name for each in self.asked]
        beat = self.platform.settings.stream_beat_seconds
        due = time.monotonic()
        subscription.go_direct(self.direct)
        # What was taken is written before anything else is awaited: blocks that the hub writes directly come after it.
        while (block := await subscription.take(max(0.0, due - time.monotonic()))) is not None:
            if block:
                await self._write(block)
            if time.monotonic() < due or not subscription.idle():
                continue
            secrets = await self._secrets_tag()
            if not subscription.idle():
                continue  # a beat names no change that its reader has not been sent
            due = time.monotonic() + beat
            # Without the database's word a beat would let a reader believe that it has everything.
            if (heads := hub.heads(names)) is not None:
                told = encode(Beat(server_time=_now_ms(), heads=heads, secrets=secrets))
                await self._write(b"event: beat\ndata: %b\n\n" % told)

    async def _secrets_tag(self) -> str | None:
        """What the beat says of the site's secrets; that it cannot say it holds no beat up."""
        try:
            return await self.platform.site_secrets.tag(self.reader)
        except (*DATABASE_AWAY, EntitlementsError) as error:
            log.warning("what a site must keep secret cannot be told now", site=self.reader.site, error=str(error))
            return None

    async def _read(self, feed: FeedRef, epoch: UUID, after: int, at: int | None) -> tuple[Head, list[bytes]]:
        async with self.platform.db.transaction(feed.tenant, read_only=True) as conn:
            return await read_changes(conn, feed, epoch=epoch, after=after, limit=MAX_PAGE, at=at)

    async def _head(self, feed: FeedRef) -> Head:
        async with self.platform.db.transaction(feed.tenant, read_only=True) as conn:
            return (await read_place(conn, feed)).head

    async def _write(self, block: bytes) -> None:
        async with asyncio.timeout(STALL_SECONDS):
            await self.response.write(block)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _wrong(problem: str) -> ApiProblem:
    return ApiProblem(
        422, "wrong_values", f"The query is wrong: {problem}.", fields=[{"at": "/feed", "problem": problem}]
    )
