"""Readers: enrolment, identity, reports, and how far a change has come."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.models import encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.api.server import audit
from cardservice.db import queries
from cardservice.errors import ApiProblem, conflict, not_found
from cardservice.fleet.enrolment import assignment, enrol, make_enrolment_code, read_public_key
from cardservice.fleet.models import (
    Assignment,
    Code,
    CodeRequest,
    Enrolled,
    Enrolment,
    NewKey,
    ReaderList,
    ReadersPage,
    ReaderView,
)
from cardservice.fleet.presence import is_online
from cardservice.fleet.reports import reports
from entitlements.credential.es256 import public_key_from_jwk, public_key_to_jwk, thumbprint

routes = Routes(tag="fleet")
routes.endpoints.extend(reports.endpoints)


@routes.add("POST", "/v1/readers/codes", "Make a one-time code for a new reader", roles=("operator",), status=201)
async def add_code(call: Call, body: CodeRequest) -> Code:
    """The code is in the reply and nowhere else; hand it to whoever installs the reader."""
    code, expires_at = await make_enrolment_code(
        call.conn, tenant=call.tenant, created_by=call.actor.name, wanted=body, now=call.now
    )
    await audit(call, "reader.code", f"site:{body.site}", name=body.name, feeds=body.feeds)
    return Code(code=code, expires_at=expires_at)


@routes.add(
    "POST", "/v1/readers/enrol", "Enrol a reader by its code and key", access="public", status=201, transaction=False
)
async def enrol_reader(call: Call, body: Enrolment) -> Enrolled:
    """The request is signed with the key in its body: ``Authorization: Reader <assertion>``, ``iss`` its thumbprint."""
    scheme, _, assertion = call.request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "reader" or not assertion:
        raise ApiProblem(
            401, "not_signed_in", "Sign the enrolment with the key it brings.", headers={"WWW-Authenticate": "Reader"}
        )
    tenant, reader_id = await enrol(call, body, assertion)
    async with call.platform.db.transaction(tenant, read_only=True) as conn:
        row = await queries().fleet.get_reader(conn, tenant=tenant, reader_id=reader_id)
    site, keys = await assignment(call.platform, tenant, row["site_id"], row["feeds"])
    return Enrolled(
        reader_id=reader_id,
        tenant=tenant,
        site=site,
        feeds=row["feeds"],
        feed_keys=keys,
        server_time=time.time_ns() // 1_000_000,
    )


@routes.add("POST", "/v1/reader/key", "Roll the calling reader's key", access="reader")
async def roll_key(call: Call, body: NewKey) -> None:
    """Signed with the old key, which ends with the reply."""
    jwk = public_key_to_jwk(read_public_key(body.public_key))
    reader_id = call.reader["reader_id"]
    if not await queries().fleet.roll_key(
        call.conn, tenant=call.tenant, reader_id=reader_id, public_jwk=jwk, old_jwk=call.reader["public_jwk"]
    ):
        raise conflict("key_rolled", "The key that signed this request was replaced in the meantime.")
    await audit(call, "reader.key", f"reader:{reader_id}", thumbprint=thumbprint(public_key_from_jwk(jwk)))


@routes.add("GET", "/v1/reader/site", "The calling reader's assignment", access="reader", transaction=False)
async def reader_site(call: Call) -> Assignment:
    """Site and lanes, feeds, and the keys that sign them."""
    feeds = call.reader["feeds"]
    site, keys = await assignment(call.platform, call.tenant, call.reader["site_id"], feeds)
    return Assignment(tenant=call.tenant, site=site, feeds=feeds, feed_keys=keys)


@routes.add("GET", "/v1/readers", "List readers", roles=("operator", "auditor"))
async def list_readers(call: Call, query: ReadersPage) -> ReaderList:
    """By name."""
    name, reader_id = read_cursor(query.cursor, str, UUID)
    rows = [
        row
        async for row in queries().fleet.list_readers(
            call.conn, tenant=call.tenant, site=query.site, after_name=name, after_id=reader_id, limit=query.limit + 1
        )
    ]
    shown = rows[: query.limit]
    more = encode_cursor(shown[-1]["name"], str(shown[-1]["reader_id"])) if len(rows) > query.limit else None
    return ReaderList(items=[_view(call, row) for row in shown], next=more)


@routes.add("GET", "/v1/readers/{reader_id}", "One reader", roles=("operator", "auditor"))
async def get_reader(call: Call) -> ReaderView:
    """With its last report."""
    reader_id = call.path_uuid("reader_id", "reader")
    row = await queries().fleet.get_reader(call.conn, tenant=call.tenant, reader_id=reader_id)
    if row is None:
        raise not_found("reader", reader_id)
    return _view(call, row)


@routes.add("POST", "/v1/readers/{reader_id}/revoke", "Revoke a reader for good", roles=("operator",))
async def revoke_reader(call: Call) -> ReaderView:
    """From the commit on each of its requests is refused; on hearing so it wipes its keys and cache."""
    reader_id = call.path_uuid("reader_id", "reader")
    revoked = await queries().fleet.revoke(call.conn, tenant=call.tenant, reader_id=reader_id)
    row = await queries().fleet.get_reader(call.conn, tenant=call.tenant, reader_id=reader_id)
    if row is None:
        raise not_found("reader", reader_id)
    if not revoked:
        raise conflict("reader_revoked", "This reader was revoked before.")
    await audit(call, "reader.revoke", f"reader:{reader_id}", site=row["site_id"], name=row["name"])
    call.after_commit.append(lambda: call.platform.gates.wake(call.tenant))
    return _view(call, row)


def _view(call: Call, row: Mapping[str, Any]) -> ReaderView:
    return ReaderView(
        reader_id=row["reader_id"],
        site=row["site_id"],
        name=row["name"],
        feeds=row["feeds"],
        state=row["state"],
        online=is_online(row["state"], row["last_seen_at"], call.now),
        enrolled_at=row["enrolled_at"],
        last_seen_at=row["last_seen_at"],
        key_thumbprint=thumbprint(public_key_from_jwk(row["public_jwk"])),
        status=row["status"],
    )
