"""Health, metrics, the API's own description, and API tokens."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from aiohttp import web
from prometheus_client import generate_latest

from cardservice import __version__
from cardservice.api.auth import create_token
from cardservice.api.call import Call
from cardservice.api.models import Page, encode_cursor, read_cursor
from cardservice.api.openapi import openapi_document
from cardservice.api.routing import Routes, Told
from cardservice.api.server import audit
from cardservice.db import queries
from cardservice.errors import not_found
from cardservice.ops.health import readiness
from cardservice.ops.models import Health, Readiness, TokenMade, TokenReply, TokenRequest, TokensPage

routes = Routes(tag="operations")

ADMIN = ("admin",)
PROMETHEUS_TEXT = "text/plain; version=0.0.4"


@routes.add("GET", "/healthz", "Whether the process lives", access="public", transaction=False)
async def healthz(_: Call) -> Health:
    return Health()


@routes.add("GET", "/readyz", "Whether the service can work; 503 if not", access="public", transaction=False)
async def readyz(call: Call) -> Readiness | web.Response:
    state = await readiness(call.platform)
    if state.ready:
        return state
    return web.Response(
        status=503,
        text=state.model_dump_json(),
        content_type="application/json",
        headers={"Retry-After": "1"},
    )


@routes.add(
    "GET",
    "/metrics",
    "Metrics of this process (Prometheus text)",
    roles=("operator",),
    media_type="text/plain",
    transaction=False,
)
async def metrics(call: Call) -> web.Response:
    body = generate_latest(call.platform.metrics.registry)
    return web.Response(body=body, headers={"Content-Type": f"{PROMETHEUS_TEXT}; charset=utf-8"})


@routes.add("GET", "/openapi.json", "This API, as OpenAPI 3.1", transaction=False, told=Told(reply=dict[str, Any]))
async def openapi(call: Call) -> web.Response:
    from cardservice.app import endpoints  # the wiring imports this part

    return web.json_response(
        openapi_document(endpoints(), version=__version__, server=call.platform.settings.public_url)
    )


@routes.add("POST", "/v1/tokens", "Create an API token; it is shown once", roles=ADMIN, status=201)
async def make_token(call: Call, body: TokenRequest) -> TokenMade:
    expires_at = call.now + timedelta(days=body.valid_days)
    held: dict[str, Any] = {"label": body.label, "person": body.person, "roles": sorted(set(body.roles))}
    token_id, token = await create_token(call.conn, tenant=call.tenant, expires_at=expires_at, **held)
    await audit(call, "token.created", f"token:{token_id}", **held)
    row = await queries().api.get_token(call.conn, tenant=call.tenant, token_id=UUID(token_id))
    return TokenMade.of(row, token=token)


@routes.add("GET", "/v1/tokens", "List API tokens", roles=("auditor",))
async def list_tokens(call: Call, query: Page) -> TokensPage:
    before_time, before_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    rows = [
        row
        async for row in queries().api.tokens_page(
            call.conn, tenant=call.tenant, before_time=before_time, before_id=before_id, limit=query.limit + 1
        )
    ]
    items = [TokenReply.of(row) for row in rows[: query.limit]]
    last = items[-1] if len(rows) > query.limit else None
    return TokensPage(
        items=items, next=encode_cursor(last.created_at.isoformat(), str(last.token_id)) if last else None
    )


@routes.add(
    "POST", "/v1/tokens/{token_id}/revoke", "Revoke an API token; it opens nothing more within a second", roles=ADMIN
)
async def revoke_token(call: Call) -> TokenReply:
    token_id = call.path_uuid("token_id", "token")
    row = await queries().api.revoke_token(call.conn, tenant=call.tenant, token_id=token_id, now=call.now)
    if row is None:
        raise not_found("token", token_id)
    await audit(call, "token.revoked", f"token:{token_id}", label=row["label"], person=row["person"])
    call.after_commit.append(call.platform.tokens.forget)
    return TokenReply.of(row)
