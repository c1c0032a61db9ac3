"""Drafts: begun, read, written in. Whatever happens to one is an event with who and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from cardservice.api.call import Call, Work, same_person
from cardservice.api.server import audit
from cardservice.catalogue.life.models import DraftChange, DraftStart
from cardservice.catalogue.life.reading import Reading, check
from cardservice.catalogue.life.states import WORDS, DraftState, DraftStep, next_state
from cardservice.catalogue.life.templates import as_text, template
from cardservice.catalogue.life.vocabulary import Vocabulary, load_vocabulary
from cardservice.db import queries
from cardservice.errors import ApiProblem, not_found
from entitlements.errors import DocumentError
from entitlements.jsontext import TextError, read_json

Row = Mapping[str, Any]


async def begin(call: Call, start: DraftStart) -> Row:
    """A new draft.

    Raises:
        ApiProblem: 404 for an unknown template or version; 422 where nothing says whose draft it is.
    """
    text, shared = await _source(call, start)
    service_id = start.service_id or _id_in(text)
    if service_id is None:
        problem = {"at": "/service_id", "problem": "the text has no id that can be read: say the service here"}
        raise ApiProblem(422, "wrong_values", "Nothing says which service this is a draft of.", fields=[problem])
    row = await queries().life.add_draft(
        call.conn,
        tenant=call.tenant,
        service_id=service_id,
        text=text,
        shared_with=shared if start.shared_with is None else start.shared_with,
        based_on=await version_in_force(call, service_id),
        author=call.actor.author,
        now=call.now,
    )
    await note(call, row, "drafted", None, source=_named_source(start))
    return dict(row)


async def change(call: Call, draft_id: UUID, wish: DraftChange) -> Row:
    """Another text, if nobody changed the draft meanwhile. A rejected draft becomes a draft again.

    Raises:
        ApiProblem: 404; 409 ``version_conflict`` with the present ``version``, or ``draft_state``.
    """
    row = await lock(call, draft_id)
    if row["version"] != wish.version:
        raise ApiProblem(
            409,
            "version_conflict",
            f"Somebody changed this draft since: the version is {row['version']}, not {wish.version}.",
            extra={"version": row["version"]},
        )
    state = step(row, DraftStep.CHANGE)
    written = await queries().life.write_draft(
        call.conn,
        tenant=call.tenant,
        draft_id=draft_id,
        text=wish.text,
        shared_with=list(row["shared_with"]) if wish.shared_with is None else wish.shared_with,
        # Whoever writes now has the present version before them, and the difference is shown against it.
        based_on=await version_in_force(call, row["service_id"]),
        author=call.actor.author,
        now=call.now,
    )
    if state != written["state"]:
        written = await move(call, written, DraftStep.CHANGE)
    await note(call, written, "changed", None, draft_version=written["version"])
    return dict(written)


async def find(call: Work, draft_id: UUID) -> Row:
    """A draft, or 404."""
    row = await queries().life.draft(call.conn, tenant=call.tenant, draft_id=draft_id)
    if row is None:
        raise not_found("draft", draft_id)
    return dict(row)


async def lock(call: Work, draft_id: UUID) -> Row:
    """A draft that nobody else changes until the transaction ends, or 404."""
    row = await queries().life.draft_for_change(call.conn, tenant=call.tenant, draft_id=draft_id)
    if row is None:
        raise not_found("draft", draft_id)
    return dict(row)


def wrote(author: str, row: Row) -> bool:
    """Whether somebody (:attr:`~cardservice.api.call.Actor.author`) has written any of a draft."""
    return any(same_person(author, each) for each in row["authors"])


def step(row: Row, wanted: DraftStep) -> DraftState:
    """The state after a step.

    Raises:
        ApiProblem: 409 ``draft_state`` where the step may not follow.
    """
    before = DraftState(row["state"])
    after = next_state(before, wanted)
    if after is None:
        raise ApiProblem(
            409, "draft_state", f"The draft is {WORDS[before]}, so it cannot {wanted}.", extra={"state": before.value}
        )
    return after


async def move(call: Work, row: Row, wanted: DraftStep, **columns: Any) -> Row:
    """Take a step; ``columns`` are ``publish_at``, ``scheduled_by`` and ``published_version``.

    Raises:
        ApiProblem: 409 ``draft_state``.
    """
    state = step(row, wanted)
    values = {"publish_at": None, "scheduled_by": None, "published_version": None} | columns
    moved = await queries().life.move_draft(
        call.conn, tenant=call.tenant, draft_id=row["draft_id"], state=state, now=call.now, **values
    )
    return dict(moved)


async def note(call: Work, row: Row, what: str, why: str | None, *, version: int | None = None, **detail: Any) -> None:
    """Write an event of a draft, and the same into the audit."""
    await queries().life.add_event(
        call.conn,
        tenant=call.tenant,
        service_id=row["service_id"],
        draft_id=row["draft_id"],
        version=version,
        what=what,
        who=call.actor.name,
        why=why,
        detail=detail,
    )
    more = {"service": row["service_id"], "why": why} | ({} if version is None else {"version": version}) | detail
    await audit(call, f"draft.{what.replace(' ', '_')}", f"draft:{row['draft_id']}", **more)


async def read(call: Work, row: Row, *, words: Vocabulary | None = None) -> tuple[Reading, Vocabulary]:
    """The draft read and linted, as things stand now.

    Raises:
        ApiProblem: 409 where a document in force names something that is gone, so that nothing can be compiled.
    """
    if words is None:
        try:
            words = await load_vocabulary(call.conn, call.tenant, call.now)
        except DocumentError as error:
            raise ApiProblem(409, "catalogue_broken", f"A service in force cannot be compiled: {error}") from None
    bases = {
        base["service_id"]: base["document"]
        async for base in queries().life.bases(call.conn, tenant=call.tenant)
        if base["service_id"] != row["service_id"]
    }
    reading = check(
        row["text"],
        world=words.world,
        known=words.known,
        on=words.today,
        titles=words.titles,
        bases=bases,
        service_id=row["service_id"],
        tenant=call.tenant,
    )
    return reading, words


async def version_in_force(call: Work, service_id: str) -> int | None:
    """The version of an own service that is in force."""
    newest = await queries().catalogue.newest(call.conn, tenant=call.tenant, service_id=service_id)
    return int(newest["version"]) if newest is not None and newest["state"] == "published" else None


async def _source(call: Call, start: DraftStart) -> tuple[str, list[str]]:
    """The text that a draft begins with, and whom its service is shared with."""
    if start.text is not None:
        return start.text, await _shared_now(call, start.service_id or _id_in(start.text))
    if start.document is not None:
        text = as_text(start.document)
        return text, await _shared_now(call, start.service_id or _id_in(text))
    if start.template is not None:
        filled = template(start.template).fill(call.tenant, start.answers, service_id=start.service_id)
        return as_text(filled), []
    newest = await queries().catalogue.newest(call.conn, tenant=call.tenant, service_id=start.service_id)
    wanted = start.from_version or (newest["version"] if newest is not None else 0)
    row = await queries().life.version(call.conn, tenant=call.tenant, service_id=start.service_id, version=wanted)
    if row is None:
        raise not_found("version", f"{wanted} of {start.service_id}")
    return as_text(row["document"]), list(row["shared_with"])


async def _shared_now(call: Call, service_id: str | None) -> list[str]:
    newest = await queries().catalogue.newest(call.conn, tenant=call.tenant, service_id=service_id)
    return [] if newest is None or newest["state"] != "published" else list(newest["shared_with"])


def _named_source(start: DraftStart) -> str:
    if start.template is not None:
        return f"template {start.template}"
    if start.from_version is not None:
        return f"version {start.from_version}" if start.from_version else "the version in force"
    return "text"


def _id_in(text: str) -> str | None:
    try:
        value = read_json(text)
    except TextError:
        return None
    name = value.get("id") if isinstance(value, dict) else None
    return name if isinstance(name, str) and 0 < len(name) <= 100 else None
