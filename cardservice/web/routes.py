"""Pages: the gates, live."""

from __future__ import annotations

import time
from typing import Final

import msgspec
from aiohttp import web
from pydantic import Field

from cardservice.api.call import Call
from cardservice.api.models import ApiModel
from cardservice.api.routing import Routes, Told
from cardservice.db import ALL_TENANTS, queries
from cardservice.errors import ApiProblem
from cardservice.web.access import allowed_scope, sign_in
from cardservice.web.board import Update, read_gates
from cardservice.web.pages import FOREVER, PAGE_HEADERS, brand_sheet, page, render, render_fragments, static_files

routes = Routes(tag="pages")
MAX_ATTEMPTS: Final = 20
"""Wrong tokens of one address within a minute."""
ATTEMPT_SECONDS: Final = 60
FORM: Final = "application/x-www-form-urlencoded"
ASK_AGAIN_SECONDS: Final = 10.0
"""A stream whose token was revoked ends within so many seconds."""


@routes.add("GET", "/gates", "The gates page", access="public", raw=True, media_type="text/html", transaction=False)
async def gates(call: Call) -> web.Response:
    """Every lane with its light, last decisions and readers. Works without JavaScript, live with it."""
    scope = await allowed_scope(call.platform, call.request)
    if scope is None:
        return page(render("sign_in.html", problem=""), status=401)
    view = await read_gates(call.platform.db, scope)
    still = call.request.query.get("refresh") == "off"
    return page(render("gates.html", view=view, board=render_fragments(view).board(), still=still))


@routes.add(
    "GET",
    "/gates/events",
    "Changes of the gates page",
    access="public",
    raw=True,
    media_type="text/event-stream",
    transaction=False,
)
async def gate_events(call: Call) -> web.StreamResponse:
    """Server-sent events: first the whole board, then each part that changed, as HTML by its id."""
    scope = await allowed_scope(call.platform, call.request)
    if scope is None:
        raise ApiProblem(401, "not_signed_in", "Sign in at /gates.", headers={"WWW-Authenticate": "Bearer"})
    response = web.StreamResponse(
        headers={**PAGE_HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    )
    response.headers["X-Accel-Buffering"] = "no"
    await response.prepare(call.request)
    try:
        async with call.platform.gates.watch(scope) as updates:
            asked = time.monotonic()
            async for update in updates:
                if time.monotonic() - asked > ASK_AGAIN_SECONDS:
                    if await allowed_scope(call.platform, call.request) != scope:
                        break
                    asked = time.monotonic()
                await response.write(_event(update))
    except ConnectionResetError:
        pass
    return response


def _event(update: Update | None) -> bytes:
    if update is None:
        return b": still here\n\n"
    data = msgspec.json.encode({"time": update.time, "fragments": update.fragments})
    return b"event: gates\ndata: " + data + b"\n\n"


class SignIn(ApiModel):
    """The form of the page."""

    token: str = Field(description="An API token with the role operator.")


@routes.add(
    "POST",
    "/gates/sign-in",
    "Exchange an API token for a cookie",
    access="public",
    status=303,
    raw=True,
    transaction=False,
    told=Told(body=SignIn, body_type=FORM),
)
async def gates_sign_in(call: Call) -> web.Response:
    """Leads to the page."""
    counter = f"gates-sign-in:{call.request.remote}"
    if await call.platform.shared.reached(counter) >= MAX_ATTEMPTS:
        return page(render("sign_in.html", problem="Too many wrong tokens. Wait a minute and try again."), status=429)
    if call.request.content_type != FORM:
        raise ApiProblem(415, "not_a_form", "Send the form as application/x-www-form-urlencoded.")
    try:
        token = (await call.request.post()).get("token", "")
    except (LookupError, UnicodeDecodeError):  # a charset that nobody knows, or bytes that are not of it
        raise ApiProblem(400, "not_a_form", "The form is not text in UTF-8.") from None
    response = web.Response(status=303, headers={**PAGE_HEADERS, "Location": "/gates"})
    if not isinstance(token, str) or not await sign_in(call.platform, call.request, token, response):
        await call.platform.shared.count(counter, ATTEMPT_SECONDS)
        problem = "This token is not known, is no longer good, or is not for operators."
        return page(render("sign_in.html", problem=problem), status=401)
    return response


@routes.add(
    "GET", "/gates/brand.css", "Councils' colours", access="public", raw=True, media_type="text/css", transaction=False
)
async def brand_css(call: Call) -> web.Response:
    """Names of councils and their colours are public."""
    async with call.platform.db.transaction(ALL_TENANTS, read_only=True) as conn:
        councils = [row async for row in queries().gates.councils(conn, scope=ALL_TENANTS)]
    return web.Response(
        text=brand_sheet(councils), content_type="text/css", headers={"Cache-Control": "public, max-age=300"}
    )


@routes.add(
    "GET",
    "/static/{name}",
    "Style sheet or script",
    access="public",
    raw=True,
    media_type="text/css",
    transaction=False,
)
async def static(call: Call) -> web.Response:
    """Held in memory; the address carries a fingerprint of the content."""
    file = static_files().get(call.path("name"))
    if file is None:
        raise ApiProblem(404, "no_such_path", "There is no such file.")
    headers = {"ETag": f'"{file.fingerprint}"', "X-Content-Type-Options": "nosniff"}
    # Only the address with the right fingerprint may be kept for ever.
    fresh = call.request.query.get("v") == file.fingerprint
    headers["Cache-Control"] = FOREVER if fresh else "no-cache"
    if call.request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, content_type=file.media_type, charset="utf-8", headers=headers)
