"""Signing keys: administrators add, activate, retire and revoke; everybody may read the public halves."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from aiohttp import web

from cardservice.api.call import Call
from cardservice.api.routing import Routes
from cardservice.catalogue.tenants import is_tenant_id
from cardservice.db import queries
from cardservice.errors import not_found
from cardservice.keys import lifecycle
from cardservice.keys.lifecycle import KeyEvent
from cardservice.keys.models import Jwks, JwksQuery, KeyList, KeyReply, KeyRequest

routes = Routes(tag="keys")

ADMIN = ("admin",)
JWKS_SECONDS: Final = 300
"""How long a relying party may keep the key set; a key is published well over that before it signs."""


@routes.add("GET", "/v1/keys", "List signing keys", roles=("auditor",))
async def list_keys(call: Call) -> KeyList:
    rows = [row async for row in queries().keys.every(call.conn, tenant=call.tenant)]
    return KeyList(items=[KeyReply.of(row) for row in rows])


@routes.add("POST", "/v1/keys", "Add a key; it is published and does not sign yet", roles=ADMIN, status=201)
async def add_key(call: Call, body: KeyRequest) -> KeyReply:
    key = await lifecycle.add_key(call, body.purpose)
    return KeyReply(
        kid=key.kid,
        purpose=key.purpose,
        state=key.state,
        public_jwk=dict(key.public_jwk),
        created_at=key.created_at,
    )


@routes.add("POST", "/v1/keys/{kid}/activate", "Let a key sign from now on, in place of the active one", roles=ADMIN)
async def activate(call: Call) -> KeyReply:
    return KeyReply.of(await lifecycle.change_key(call, call.path("kid"), KeyEvent.ACTIVATE))


@routes.add("POST", "/v1/keys/{kid}/retire", "Retire a key that never signed", roles=ADMIN)
async def retire(call: Call) -> KeyReply:
    return KeyReply.of(await lifecycle.change_key(call, call.path("kid"), KeyEvent.RETIRE))


@routes.add("POST", "/v1/keys/{kid}/revoke", "Revoke a key: nothing it signed is believed any more", roles=ADMIN)
async def revoke(call: Call) -> KeyReply:
    return KeyReply.of(await lifecycle.change_key(call, call.path("kid"), KeyEvent.REVOKE))


@routes.add("GET", "/v1/tenants/{tenant}/jwks.json", "A council's public keys", access="public", transaction=False)
async def jwks(call: Call, query: JwksQuery) -> Jwks | web.Response:
    tenant = call.path("tenant")
    if not is_tenant_id(tenant):  # the name goes into row-level security: nothing but a council's id may
        raise not_found("tenant", tenant[:40])
    async with call.platform.db.transaction(tenant, read_only=True) as conn:
        if not await queries().api.tenant_exists(conn, tenant=tenant):
            raise not_found("tenant", tenant)
        document = await call.platform.keys.jwks(conn, tenant, query.purpose)
    body = json.dumps(document, separators=(",", ":")).encode()
    etag = hashlib.sha256(body).hexdigest()[:32]
    headers = {"Cache-Control": f"public, max-age={JWKS_SECONDS}", "ETag": f'"{etag}"'}
    known = call.request.if_none_match or ()
    if any(each.value in (etag, "*") for each in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)
