"""Signing keys: administrators add, rotate, activate, retire and revoke; everybody may read the public halves."""

from __future__ import annotations

import hashlib
import json

from aiohttp import web

from cardservice.api.call import Call
from cardservice.api.routing import Routes
from cardservice.catalogue.tenants import is_tenant_id
from cardservice.db import queries
from cardservice.errors import ApiProblem, not_found
from cardservice.keys import lifecycle
from cardservice.keys.lifecycle import KeyEvent
from cardservice.keys.models import (
    Activation,
    Jwks,
    JwksQuery,
    KeyCards,
    KeyList,
    KeyReply,
    KeyRequest,
    KeyRevoked,
    KeyStatus,
    Revocation,
    RotationRequest,
)
from cardservice.keys.spread import awaited

routes = Routes(tag="keys")

ADMIN = ("admin",)


@routes.add("GET", "/v1/keys", "List signing keys", roles=("auditor",))
async def list_keys(call: Call) -> KeyList:
    """Not paged: a council has two or three of each purpose, and a rotation adds one."""
    rows = [row async for row in queries().keys.every(call.conn, tenant=call.tenant)]
    return KeyList(items=[KeyReply.of(row) for row in rows])


@routes.add("POST", "/v1/keys", "Add a key; it is published and does not sign yet", roles=ADMIN, status=201)
async def add_key(call: Call, body: KeyRequest) -> KeyReply:
    key = await lifecycle.publish_key(call, call.platform.keys, body.purpose)
    call.after_commit.append(call.platform.hub.wake)
    return KeyReply.of(await lifecycle.find_key(call.conn, call.tenant, key.kid))


@routes.add("POST", "/v1/keys/rotate", "Add a key that signs once every gate has it", roles=ADMIN, status=201)
async def rotate(call: Call, body: RotationRequest) -> KeyReply:
    going = await queries().keys.rotating_of(call.conn, tenant=call.tenant, purpose=body.purpose)
    if going is not None and body.forced is None:
        raise ApiProblem(
            409,
            "key_rotation_going",
            f"The key {going} is on its way already; GET /v1/keys/{going} tells whom it waits for.",
            extra={"kid": going},
        )
    key = await lifecycle.publish_key(call, call.platform.keys, body.purpose)
    if body.forced is None:
        await queries().keys.rotate(call.conn, tenant=call.tenant, kid=key.kid, actor=call.actor.name)
        call.after_commit.append(call.platform.rotations.wake)
    else:
        await lifecycle.activate_key(call, call.platform.settings, key.kid, force=body.forced)
    call.after_commit.append(call.platform.hub.wake)
    return KeyReply.of(await lifecycle.find_key(call.conn, call.tenant, key.kid))


@routes.add("GET", "/v1/keys/{kid}", "A key, the readers that lack it, the cards that it signed", roles=("auditor",))
async def status(call: Call) -> KeyStatus:
    row = await lifecycle.find_key(call.conn, call.tenant, call.path("kid"))
    cards = await _cards(call, row["kid"])
    if row["state"] != "published":
        return KeyStatus.of(row, earliest=None, awaited=[], absent=[], cards=cards)
    wait = await lifecycle.wait_of(call.conn, call.platform.settings, row, call.now)
    return KeyStatus.of(
        row,
        earliest=wait.earliest,
        awaited=awaited(wait.readers),
        absent=[reader for reader in wait.readers if reader.absent],
        cards=cards,
    )


@routes.add("POST", "/v1/keys/{kid}/activate", "Let a key sign from now on, in place of the active one", roles=ADMIN)
async def activate(call: Call, body: Activation) -> KeyReply:
    moved = await lifecycle.activate_key(call, call.platform.settings, call.path("kid"), force=body.forced)
    call.after_commit.append(call.platform.hub.wake)
    return KeyReply.of(moved)


@routes.add("POST", "/v1/keys/{kid}/retire", "Retire a key that never signed", roles=ADMIN)
async def retire(call: Call) -> KeyReply:
    moved = await lifecycle.change_key(call, call.path("kid"), KeyEvent.RETIRE)
    call.after_commit.append(call.platform.hub.wake)
    return KeyReply.of(moved)


@routes.add("POST", "/v1/keys/{kid}/revoke", "Revoke a key: nothing it signed is believed any more", roles=ADMIN)
async def revoke(call: Call, body: Revocation) -> KeyRevoked:
    moved = await lifecycle.change_key(call, call.path("kid"), KeyEvent.REVOKE, reason=body.reason)
    call.after_commit.append(call.platform.hub.wake)
    return KeyRevoked.of(moved, cards=await _cards(call, moved["kid"]))


async def _cards(call: Call, kid: str) -> KeyCards:
    return KeyCards.of(await queries().keys.cards_of(call.conn, tenant=call.tenant, kid=kid, now=call.now))


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
    headers = {"Cache-Control": f"public, max-age={call.platform.settings.jwks_seconds}", "ETag": f'"{etag}"'}
    known = call.request.if_none_match or ()
    if any(each.value in (etag, "*") for each in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)
