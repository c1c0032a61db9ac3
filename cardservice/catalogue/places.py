"""Sites and lists: what documents name. A change reaches every feed whose documents may name it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import asyncpg

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.catalogue.models import ListDraft, ListKind, ListReply, SiteDraft, SiteReply, is_day
from cardservice.catalogue.served import refuse_area
from cardservice.catalogue.services import lock_sharers, tell_world
from cardservice.db import queries
from cardservice.errors import ApiProblem, conflict, not_found
from cardservice.feed.filling import prepare_area
from cardservice.feed.writer import ensure_feed

KINDS: Final = ("site_set", "calendar", "item_list")
_SITE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
_LIST_NAME: Final = re.compile(r"@?([A-Za-z0-9][A-Za-z0-9_.-]{0,79})")
"""Without the colon, which separates the owner in other councils' feeds (``cardservice.catalogue.sharing``)."""


async def prepare_site(call: Call, site_id: str, draft: SiteDraft) -> None:
    """Make most rows of the areas that have no feed yet, in transactions of their own, before there is one of the call.

    Raises:
        ApiProblem: 422 for an id that documents cannot name or an area that no feed can be named by.
    """
    if _SITE_ID.fullmatch(site_id) is None:
        raise _wrong(
            "/site_id", "a site id is letters, digits and _ . : - (at most 100), starting with a letter or digit"
        )
    for number, lane in enumerate(draft.lanes):
        for place, area in enumerate(lane.areas):
            refuse_area(area, at=f"/lanes/{number}/areas/{place}")
    for area in _areas(draft):
        await prepare_area(call.platform.db, call.tenant, area)


async def put_site(call: Call, site_id: str, draft: SiteDraft) -> SiteReply:
    """Make or change a site that was prepared; the same again changes nothing. Its lanes' areas get a feed.

    Raises:
        ApiProblem: 409 where another council has a site of this id.
    """
    await lock_sharers(call)
    before = await queries().catalogue.site(call.conn, tenant=call.tenant, site_id=site_id)
    lanes = [lane.model_dump() for lane in draft.lanes]
    if before is not None and (before["name"], before["lanes"]) == (draft.name, lanes):
        return SiteReply.of(before)
    try:
        row = await queries().catalogue.put_site(
            call.conn, tenant=call.tenant, site_id=site_id, name=draft.name, lanes=lanes, now=call.now
        )
    except asyncpg.UniqueViolationError:
        raise conflict("site_id_taken", f"Another council has a site with the id {site_id}.") from None
    for area in _areas(draft):
        await ensure_feed(call.conn, call.tenant, area, now=call.now)
    feeds = await tell_world(call)
    await audit(call, "site.changed", site_id, version=row["version"], feeds=feeds)
    return SiteReply.of(row)


def _areas(draft: SiteDraft) -> list[str]:
    return sorted({area for lane in draft.lanes for area in lane.areas})


async def find_site(call: Call, site_id: str) -> Mapping[str, Any]:
    """A site of this tenant, or 404."""
    row = await queries().catalogue.site(call.conn, tenant=call.tenant, site_id=site_id)
    if row is None:
        raise not_found("site", site_id[:80])
    return cast("Mapping[str, Any]", row)


async def put_list(call: Call, kind: str, name: str, draft: ListDraft) -> ListReply:
    """Make or change a list; the same members again change nothing.

    Raises:
        ApiProblem: 404 for an unknown kind, 422 for a name or members that the kind does not take.
    """
    _refuse_members(list_kind(kind), draft.members)
    stored = list_name(name)
    await lock_sharers(call)
    named = {"tenant": call.tenant, "kind": kind, "name": stored}
    before = await queries().catalogue.list(call.conn, **named)
    if before is not None and before["members"] == draft.members:
        return ListReply.of(before)
    row = await queries().catalogue.put_list(call.conn, **named, members=draft.members, now=call.now)
    feeds = await tell_world(call)
    await audit(call, "list.changed", f"{kind}/{stored}", members=len(draft.members), feeds=feeds)
    return ListReply.of(row)


async def find_list(call: Call, kind: str, name: str) -> Mapping[str, Any]:
    """A list of this tenant, or 404."""
    row = await queries().catalogue.list(call.conn, tenant=call.tenant, kind=list_kind(kind), name=list_name(name))
    if row is None:
        raise not_found("list", f"{kind}/{name}"[:120])
    return cast("Mapping[str, Any]", row)


def list_kind(kind: str) -> ListKind:
    """A kind of list, or 404."""
    if kind not in KINDS:
        raise not_found("list", kind[:80])
    return cast("ListKind", kind)


def list_name(name: str) -> str:
    """The name of a list with its ``@``, which may be left out.

    Raises:
        ApiProblem: 422 where documents could not name it.
    """
    match = _LIST_NAME.fullmatch(name)
    if match is None:
        raise _wrong("/name", "a list is named with @, then letters, digits and _ . - (at most 80)")
    return f"@{match[1]}"


def _refuse_members(kind: ListKind, members: Sequence[str]) -> None:
    fits = is_day if kind == "calendar" else lambda text: _SITE_ID.fullmatch(text) is not None
    wanted = "a date as YYYY-MM-DD" if kind == "calendar" else "letters, digits and _ . : -"
    wrong = [
        {"at": f"/members/{place}", "problem": f"{member[:40]!r} is not {wanted}"}
        for place, member in enumerate(members)
        if not fits(member)
    ]
    if wrong:
        raise ApiProblem(422, "wrong_values", f"The body is wrong: {wrong[0]['problem']}.", fields=wrong)


def _wrong(pointer: str, problem: str) -> ApiProblem:
    return ApiProblem(
        422, "wrong_values", f"The path is wrong: {problem}.", fields=[{"at": pointer, "problem": problem}]
    )
