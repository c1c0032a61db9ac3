"""Other systems' words on people: told by their connectors, which hold a token with the role ``operator``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from cardservice.api.call import Call
from cardservice.api.models import Page, encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.api.server import audit
from cardservice.catalogue.loading import load_catalogue
from cardservice.db import queries
from cardservice.errors import conflict, not_found
from cardservice.feed.telling import tell_all
from cardservice.feed.writer import lock_tenant
from cardservice.ledger.keys import keyring
from cardservice.ledger.problems import wrong_value
from cardservice.upstreams.models import WordDraft, WordList, WordReply
from cardservice.upstreams.telling import tellings

routes = Routes(tag="upstreams")

AHEAD: Final = timedelta(minutes=2)
"""Clocks differ; a word of tomorrow is a wrong clock."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")


@routes.add("PUT", "/v1/people/{person_id}/upstreams/{name}", "Tell another system's word", roles=("operator",))
async def put_word(call: Call, body: WordDraft) -> WordReply:
    person_id, name = call.path_uuid("person_id", "person"), call.path("name")
    if _NAME.fullmatch(name) is None:
        raise not_found("upstream", name[:80])
    said_at = body.said_at or call.now
    if said_at > call.now + AHEAD:
        raise wrong_value("/said_at", "it lies in the future")
    issue_number = await lock_tenant(call.conn, call.tenant)
    if not await queries().people.exists(call.conn, tenant=call.tenant, person_id=person_id):
        raise not_found("person", person_id)
    row = await queries().upstreams.put(
        call.conn,
        tenant=call.tenant,
        person_id=person_id,
        name=name,
        not_blocked=body.not_blocked,
        said_at=said_at,
        told_by=call.actor.name,
    )
    if row is None:
        raise conflict("older_word", "A newer word of that system is known already.")
    catalogue = await load_catalogue(call.conn, call.tenant)
    wanted = tellings(row, catalogue, await keyring(call.conn, call.tenant))
    await tell_all(call.conn, call.tenant, wanted, issue_number=issue_number, now=call.now)
    await audit(call, "upstream.told", f"person:{person_id}", name=name, not_blocked=body.not_blocked)
    call.after_commit.append(call.platform.hub.wake)
    return WordReply.of(row)


@routes.add("GET", "/v1/people/{person_id}/upstreams", "Other systems' words on a person", roles=("desk", "auditor"))
async def list_words(call: Call, query: Page) -> WordList:
    (after,) = read_cursor(query.cursor, str)
    person_id = call.path_uuid("person_id", "person")
    if not await queries().people.exists(call.conn, tenant=call.tenant, person_id=person_id):
        raise not_found("person", person_id)
    rows = queries().upstreams.page_of_person(
        call.conn, tenant=call.tenant, person_id=person_id, after=after, limit=query.limit + 1
    )
    items = [WordReply.of(row) async for row in rows]
    shown = items[: query.limit]
    return WordList(items=shown, next=encode_cursor(shown[-1].name) if len(items) > len(shown) else None)
