"""Taps: uploads of readers, and the list for staff."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from uuid import UUID

import msgspec
from aiohttp import web

from cardservice.api.call import Call
from cardservice.api.models import encode_cursor, read_cursor
from cardservice.api.routing import Routes, Told
from cardservice.api.server import read_body
from cardservice.catalogue.loading import load_catalogue, site_value
from cardservice.db import queries
from cardservice.errors import ApiProblem, not_found
from cardservice.ledger.posting import post_what_can_be
from cardservice.ledger.reversals import concerns_units
from cardservice.taps.judgement import card_bytes, judge
from cardservice.taps.models import Occupancy, TapList, TapsPage, TapUpload, TapView, ZoneOccupancy
from cardservice.taps.occupancy import local_midnight, zone_counts
from cardservice.taps.store import store
from entitlements.credential.errors import InvalidEncodingError
from entitlements.wire.feed import encode
from entitlements.wire.taps import MAX_BATCH, TapBatch, TapBatchReply

routes = Routes(tag="taps")
_batches: msgspec.json.Decoder[TapBatch] = msgspec.json.Decoder(TapBatch)


@routes.add(
    "POST",
    "/v1/taps",
    "Upload taps and passages",
    access="reader",
    raw=True,
    told=Told(body=TapUpload, reply=TapBatchReply),
)
async def add_taps(call: Call) -> web.Response:
    """A result for each item by position. Sending it again does no harm."""
    batch = read_batch(await read_body(call.request), call.request.content_type)
    site = call.reader["site_id"]
    items = [judge(item, site=site, now=call.now) for item in batch.items]
    if any(concerns_units(item) for item in items if not isinstance(item, str)):
        await queries().taps.lock_site(call.conn, tenant=call.tenant, site=site)
    results = await store(call.conn, tenant=call.tenant, reader_id=call.reader["reader_id"], items=items)
    new = [
        item
        for item, result in zip(items, results, strict=True)
        if not isinstance(item, str) and result.result == "stored"
    ]
    told = await post_what_can_be(call.conn, tenant=call.tenant, reader=call.reader, items=new, now=call.now)
    counts = Counter(result.result for result in results)

    def after() -> None:
        for result, number in counts.items():
            call.platform.metrics.taps.labels(result).inc(number)
        if counts["stored"]:
            call.platform.gates.wake(call.tenant)
        if told:
            call.platform.hub.wake()

    call.after_commit.append(after)
    reply = TapBatchReply(results=results, server_time=time.time_ns() // 1_000_000)
    return web.Response(body=encode(reply), content_type="application/json")


def read_batch(body: bytes, content_type: str) -> TapBatch:
    """The batch, its items not yet looked at.

    Raises:
        ApiProblem: 415, 400 or 422: it is no JSON, or no batch, or one of too many items. The whole is then refused.
    """
    if content_type != "application/json":
        raise ApiProblem(415, "not_json", "Send the body as application/json.")
    try:
        batch = _batches.decode(body)
    except msgspec.ValidationError as error:
        raise ApiProblem(422, "wrong_values", f"The body is no batch of taps: {error}.") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ApiProblem(400, "malformed_json", f"The body is not JSON: {error}.") from None
    if len(batch.items) > MAX_BATCH:
        raise ApiProblem(422, "too_many_items", f"An upload has at most {MAX_BATCH} items; send several.")
    return batch


@routes.add("GET", "/v1/taps", "List taps", roles=("operator", "auditor", "desk"), transaction=False)
async def list_taps(call: Call, query: TapsPage) -> TapList:
    """Newest first. A look at one card's taps is a look at a person's movements, and is audited."""
    before_at, before_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    card_id = None
    if query.card_id is not None:
        try:
            card_id = card_bytes(query.card_id)
        except InvalidEncodingError:
            raise not_found("card", query.card_id) from None
    # Not the read-only transaction of other GETs: the audit row is written with the look.
    async with call.platform.db.transaction(call.tenant) as conn:
        rows = [
            row
            async for row in queries().taps.list_taps(
                conn,
                tenant=call.tenant,
                site=query.site,
                lane=query.lane,
                outcome=str(query.outcome) if query.outcome is not None else None,
                card_id=card_id,
                since=query.since,
                until=query.until,
                before_at=before_at,
                before_id=before_id,
                limit=query.limit + 1,
            )
        ]
        if query.card_id is not None:
            await queries().api.add_audit(
                conn,
                tenant=call.tenant,
                actor=call.actor.name,
                action="tap.list",
                subject=f"card:{query.card_id}",
                detail={"shown": len(rows[: query.limit])},
                request_id=call.request_id,
            )
    shown = rows[: query.limit]
    last = shown[-1] if len(rows) > query.limit else None
    more = encode_cursor(last["happened_at"].isoformat(), str(last["tap_id"])) if last is not None else None
    return TapList(items=[TapView.from_row(row) for row in shown], next=more)


@routes.add("GET", "/v1/taps/{tap_id}", "One tap", roles=("operator", "auditor", "desk"), reading=True)
async def get_tap(call: Call) -> TapView:
    """With its passage."""
    tap_id = call.path_uuid("tap_id", "tap")
    row = await queries().taps.get_tap(call.conn, tenant=call.tenant, tap_id=tap_id)
    if row is None:
        raise not_found("tap", tap_id)
    return TapView.from_row(row)


@routes.add(
    "GET",
    "/v1/sites/{site_id}/occupancy",
    "How many people are inside a site",
    roles=("operator", "manager", "desk", "auditor"),
    reading=True,
)
async def occupancy(call: Call) -> Occupancy:
    """By zone, since the local midnight; numbers only, no cards and no people."""
    site_id = call.path("site_id")
    row = await queries().fleet.get_site(call.conn, tenant=call.tenant, site_id=site_id)
    if row is None:
        raise not_found("site", site_id[:80])
    catalogue = await load_catalogue(call.conn, call.tenant)
    since = local_midnight(call.now, catalogue.zone)
    lanes = site_value(row).lanes
    counts = await zone_counts(call.conn, call.tenant, site_id, lanes, since=since, until=call.now)
    zones = [ZoneOccupancy(**vars(count)) for count in counts]
    return Occupancy(site=site_id, since=since, at=call.now, inside=sum(zone.inside for zone in zones), zones=zones)
