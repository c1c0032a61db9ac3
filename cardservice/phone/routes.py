"""Cards on phones: links made by the desk, calls made by a phone, and the page it opens."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from cardservice.api.call import Call
from cardservice.api.routing import Routes
from cardservice.cards import office
from cardservice.cards.pictures import qr_svg
from cardservice.cards.signing import claims_of
from cardservice.cards.states import may_be_signed
from cardservice.errors import ApiProblem
from cardservice.phone import binding
from cardservice.phone.links import find_link, link_refused, make_link, make_link_for_card
from cardservice.phone.models import Binding, Contact, LinkReply, LinkRequest, PhoneCard
from cardservice.phone.pages import SHELL, asset_url, assets, render, version, worker_script
from cardservice.phone.words import page_words
from cardservice.web.pages import FOREVER, PAGE_HEADERS, page
from entitlements.credential import card_text, sign_card_cwt

routes = Routes(tag="phone")
DESK: Final = ("desk",)
COOKIE: Final = "rescard_card"
COOKIE_SECONDS: Final = 400 * 86_400
"""As long as browsers keep a cookie (RFC 6265bis section 5.5); it opens nothing once its card has ended."""
PICTURE_SCALE: Final = 20
"""Tenths of a millimetre a module; the page scales the picture."""


@routes.add(
    "POST", "/v1/people/{person_id}/phone-links", "A one-time link to a card on a phone", roles=DESK, status=201
)
async def add_link(call: Call, body: LinkRequest) -> LinkReply:
    """The phone gets a card of its own, beside any other card of the person."""
    return await make_link(call, call.path_uuid("person_id", "person"), body.minutes)


@routes.add(
    "POST", "/v1/cards/{card_id}/phone-link", "A one-time link that moves a card to a phone", roles=DESK, status=201
)
async def add_link_for_card(call: Call, body: LinkRequest) -> LinkReply:
    """For a new phone, a lost one, or one whose storage was cleared: the old card ends when the link is used."""
    return await make_link_for_card(call, office.read_card_id(call), body.minutes)


@routes.add("POST", "/v1/phone/bind", "Get a card for this phone's key", access="public", status=201, transaction=False)
async def bind(call: Call, body: Binding) -> PhoneCard:
    """The body is signed with the key it brings. The same link and key get the same card again."""
    return await binding.bind(call, body)


@routes.add("POST", "/v1/phone/card", "The phone's card as it stands", access="public", transaction=False)
async def contact(call: Call, body: Contact) -> PhoneCard:
    """The body is signed with the card's own key; each signed time is answered once."""
    return await binding.contact(call, body)


@routes.add("GET", "/card", "The card page's address", access="public", status=308, raw=True, transaction=False)
async def without_slash(_: Call) -> web.Response:
    return web.Response(status=308, headers={"Location": SHELL})


@routes.add("GET", SHELL, "The card page", access="public", raw=True, media_type="text/html", transaction=False)
async def shell(_: Call) -> web.Response:
    """Shows the cards that this browser keeps; the page itself is the same for everybody."""
    return page(render("card.html", link=None, tenant=""), headers={"Cache-Control": "no-cache"})


@routes.add(
    "GET", "/card/l/{link}", "Open a link", access="public", raw=True, media_type="text/html", transaction=False
)
async def open_link(call: Call) -> web.Response:
    """Uses nothing up: robots that look into messages may come first."""
    found = await find_link(call, call.path("link"))
    good = found is not None and found["used_at"] is None and found["expires_at"] > call.now
    # A used link may be this phone's own: the page looks whether it has a card by it.
    link = "good" if good else "gone"
    tenant = found["tenant"] if found is not None else ""
    return page(render("card.html", link=link, tenant=tenant), status=200 if found is not None else 404)


@routes.add(
    "POST",
    "/card/l/{link}",
    "Use a link without JavaScript",
    access="public",
    status=303,
    raw=True,
    transaction=False,
)
async def use_link(call: Call) -> web.Response:
    """The browser is given a cookie for the picture of a static card."""
    if call.request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise ApiProblem(403, "cross_site", "Open the link itself.")
    try:
        secret = await binding.bind_page(call, call.path("link"))
    except ApiProblem as problem:
        if problem.code != link_refused().code:
            raise
        return page(render("card.html", link="gone", tenant=""), status=problem.status)
    response = web.Response(status=303, headers={**PAGE_HEADERS, "Location": "/card/picture"})
    response.set_cookie(
        COOKIE,
        secret,
        max_age=COOKIE_SECONDS,
        path="/card",
        httponly=True,
        samesite="Lax",  # it must come along when a message or a bookmark leads to the page
        secure=call.platform.settings.public_url.startswith("https:"),
    )
    return response


@routes.add(
    "GET",
    "/card/picture",
    "The card as a picture",
    access="public",
    raw=True,
    media_type="text/html",
    transaction=False,
)
async def picture_page(call: Call) -> web.Response:
    """Needs no JavaScript; says which services take a picture."""
    async with binding.page_card(call, call.request.cookies.get(COOKIE, "")) as (inner, card):
        if card is None:
            return page(render("picture.html", card=None, words=None, tenant=""), status=404)
        told = await binding.phone_card(inner, card)
    return page(render("picture.html", card=told, words=page_words(told, call.now), tenant=told.tenant))


@routes.add(
    "GET",
    "/card/picture.svg",
    "The code of that picture",
    access="public",
    raw=True,
    media_type="image/svg+xml",
    transaction=False,
)
async def picture(call: Call) -> web.Response:
    async with binding.page_card(call, call.request.cookies.get(COOKIE, "")) as (inner, card):
        if card is None or not may_be_signed(office.state_now(card, call.now)):
            raise ApiProblem(404, "no_such_path", "There is no code to show.")
        signer = await call.platform.keys.signer(inner.conn, inner.tenant, "card")
        text = card_text(sign_card_cwt(claims_of(card, call.platform.settings.public_url), signer))
    body = await asyncio.to_thread(qr_svg, text, PICTURE_SCALE)
    return web.Response(body=body, content_type="image/svg+xml", headers={"X-Content-Type-Options": "nosniff"})


@routes.add(
    "GET",
    "/card/worker.js",
    "Keeps the page",
    access="public",
    raw=True,
    media_type="text/javascript",
    transaction=False,
)
async def worker(_: Call) -> web.Response:
    """The service worker. Browsers ask for it anew at each visit and find out that there is a new version."""
    return web.Response(
        text=worker_script(), content_type="text/javascript", charset="utf-8", headers={"Cache-Control": "no-cache"}
    )


@routes.add(
    "GET",
    "/card/assets/{version}/{name}",
    "Style sheet or script of the card page",
    access="public",
    raw=True,
    media_type="text/javascript",
    transaction=False,
)
async def asset(call: Call) -> web.Response:
    """Held in memory. Only the address with the present version may be kept for ever."""
    name = call.path("name")
    if name not in assets():
        raise ApiProblem(404, "no_such_path", "There is no such file.")
    body, media_type = assets()[name]
    fresh = call.request.path == asset_url(name)
    headers = {
        "ETag": f'"{version()}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": FOREVER if fresh else "no-cache",
    }
    if call.request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=media_type, charset="utf-8", headers=headers)
