"""What readers report, and what can be told from it."""

from __future__ import annotations

import time

from aiohttp import web

from cardservice.api.call import Call
from cardservice.api.routing import Routes, Told
from cardservice.api.server import read_body
from cardservice.errors import ApiProblem, not_found
from cardservice.fleet.propagation import Propagation, propagation
from cardservice.fleet.status import keep_status, read_status
from cardservice.taps.judgement import CARD_BYTES, card_bytes
from entitlements.credential.errors import InvalidEncodingError
from entitlements.wire.feed import encode
from entitlements.wire.taps import ReaderStatus, ReaderStatusReply

reports = Routes(tag="fleet")


@reports.add(
    "POST",
    "/v1/reader/status",
    "Report what a reader shows and how far it is",
    access="reader",
    raw=True,
    told=Told(body=ReaderStatus, reply=ReaderStatusReply),
)
async def add_status(call: Call) -> web.Response:
    """Replaces the report before it; numbers that were reported before change nothing."""
    if call.request.content_type != "application/json":
        raise ApiProblem(415, "not_json", "Send the body as application/json.")
    reader = call.reader
    status = read_status(await read_body(call.request), site=reader["site_id"], feeds=reader["feeds"])
    await keep_status(call.conn, tenant=call.tenant, reader_id=reader["reader_id"], status=status, now=call.now)
    call.after_commit.append(lambda: call.platform.gates.wake(call.tenant))
    reply = ReaderStatusReply(server_time=time.time_ns() // 1_000_000)
    return web.Response(body=encode(reply), content_type="application/json")


@reports.add(
    "GET", "/v1/cards/{card_id}/propagation", "How far a card's latest change has come", roles=("desk", "operator")
)
async def card_propagation(call: Call) -> Propagation:
    """By area and reader, and in one sentence."""
    text = call.path("card_id")
    try:
        card_id = card_bytes(text)
    except (InvalidEncodingError, UnicodeEncodeError):
        card_id = b""
    found = (
        await propagation(call.conn, tenant=call.tenant, card_id=card_id, card=text, now=call.now)
        if len(card_id) == CARD_BYTES
        else None
    )
    if found is None:
        raise not_found("card", text[:80])
    return found
