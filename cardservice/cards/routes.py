"""Cards: issue, life, code. The desk writes; auditors read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from cardservice.api.call import Call
from cardservice.api.models import encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.cards import office
from cardservice.cards.models import (
    CardChanged,
    CardCode,
    CardIssued,
    CardReply,
    CardRequest,
    CardsPage,
    CardsQuery,
    CodeQuery,
    PictureQuery,
    Renewal,
    Replacement,
    StateChange,
)
from cardservice.cards.pictures import qr_png, qr_svg
from cardservice.cards.states import CardEvent
from cardservice.db import queries
from entitlements.credential.encoding import b64url_decode
from entitlements.credential.errors import InvalidEncodingError

routes = Routes(tag="cards")

DESK = ("desk",)
LOOKERS = ("desk", "auditor")


@routes.add("POST", "/v1/cards", "Issue a card", roles=DESK, status=201)
async def issue(call: Call, body: CardRequest) -> CardIssued:
    wish = office.Wish(
        person_id=body.person_id, channel=body.channel, valid_days=body.valid_days, expires_at=body.expires_at
    )
    return _issued(await office.issue_card(call, wish))


@routes.add("GET", "/v1/cards", "List cards", roles=LOOKERS, reading=True)
async def list_cards(call: Call, query: CardsQuery) -> CardsPage:
    (after,) = read_cursor(query.cursor, _card_id)
    rows = [
        row
        async for row in queries().cards.page(
            call.conn, tenant=call.tenant, person_id=query.person_id, after=after, limit=query.limit + 1
        )
    ]
    items = [CardReply.of(row) for row in rows[: query.limit]]
    return CardsPage(items=items, next=encode_cursor(items[-1].card_id) if len(rows) > query.limit else None)


@routes.add("GET", "/v1/cards/{card_id}", "Look up a card", roles=LOOKERS, reading=True)
async def get(call: Call) -> CardReply:
    return CardReply.of(await office.find_card(call, office.read_card_id(call)))


@routes.add("POST", "/v1/cards/{card_id}/renew", "Renew: a new card, the old one ends at once", roles=DESK, status=201)
async def renew(call: Call, body: Renewal) -> CardIssued:
    card_id = office.read_card_id(call)
    return _issued(await office.succeed_card(call, card_id, CardEvent.RENEW, body.reason, body.valid_days))


@routes.add("POST", "/v1/cards/{card_id}/replace", "Replace a damaged, lost or stolen card", roles=DESK, status=201)
async def replace(call: Call, body: Replacement) -> CardIssued:
    event = CardEvent.REPLACE if body.cause == "damaged" else CardEvent.STEAL
    card_id = office.read_card_id(call)
    return _issued(await office.succeed_card(call, card_id, event, body.reason or body.cause, body.valid_days))


@routes.add("POST", "/v1/cards/{card_id}/suspend", "Hold a card; it can be resumed", roles=DESK)
async def suspend(call: Call, body: StateChange) -> CardChanged:
    return await _change(call, CardEvent.SUSPEND, body)


@routes.add("POST", "/v1/cards/{card_id}/resume", "End the hold on a card", roles=DESK)
async def resume(call: Call, body: StateChange) -> CardChanged:
    return await _change(call, CardEvent.RESUME, body)


@routes.add("POST", "/v1/cards/{card_id}/lost", "Mark a card as lost, for good", roles=DESK)
async def lost(call: Call, body: StateChange) -> CardChanged:
    return await _change(call, CardEvent.LOSE, body)


@routes.add("POST", "/v1/cards/{card_id}/revoke", "Revoke a card, for good", roles=DESK)
async def revoke(call: Call, body: StateChange) -> CardChanged:
    return await _change(call, CardEvent.REVOKE, body)


@routes.add("GET", "/v1/cards/{card_id}/code", "The signed code of an active card", roles=DESK)
async def code(call: Call, query: CodeQuery) -> CardCode:
    return CardCode(token=await office.card_code(call, office.read_card_id(call), query.form))


@routes.add("GET", "/v1/cards/{card_id}/qr.png", "The code as QR, PNG", roles=DESK, media_type="image/png")
async def png(call: Call, query: PictureQuery) -> web.Response:
    return await _picture(call, qr_png, query, "image/png")


@routes.add("GET", "/v1/cards/{card_id}/qr.svg", "The code as QR, SVG", roles=DESK, media_type="image/svg+xml")
async def svg(call: Call, query: PictureQuery) -> web.Response:
    return await _picture(call, qr_svg, query, "image/svg+xml")


def _card_id(text: str) -> bytes:
    try:
        return b64url_decode(text.encode())
    except InvalidEncodingError as error:
        raise ValueError("not a card id") from error


async def _change(call: Call, event: CardEvent, body: StateChange) -> CardChanged:
    changed = await office.change_card(call, office.read_card_id(call), event, body.reason)
    return CardChanged.of(changed.row, feeds=dict(changed.feeds))


async def _picture(call: Call, draw: Callable[[str, int], bytes], query: PictureQuery, media_type: str) -> web.Response:
    token = await office.card_code(call, office.read_card_id(call), query.form)
    return web.Response(body=await asyncio.to_thread(draw, token, query.scale), content_type=media_type)


def _issued(issued: office.Issued) -> CardIssued:
    return CardIssued.of(issued.row, feeds=dict(issued.feeds), token=issued.token)
