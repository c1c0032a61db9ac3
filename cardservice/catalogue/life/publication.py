"""Putting an approved draft in force, by hand or by the clock, and going back to an earlier version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cardservice.api.call import Call, Work
from cardservice.api.server import audit
from cardservice.background.beginning import begin
from cardservice.catalogue.life.drafts import Row, lock, move, note, read
from cardservice.catalogue.life.review import refuse_errors, refuse_outdated, refuse_unapproved
from cardservice.catalogue.life.states import WORDS, DraftState, DraftStep
from cardservice.catalogue.models import ServicePublished
from cardservice.catalogue.services import intend
from cardservice.catalogue.services import publish as put_in_force
from cardservice.db import queries
from cardservice.errors import ApiProblem, conflict, not_found
from cardservice.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A draft that may be published now: its document stands alone and has no errors."""

    row: Row
    document: dict[str, Any]
    approved_by: str


async def ready(call: Work, draft_id: UUID, wanted: DraftStep) -> Ready:
    """A draft that may be published, locked.

    Raises:
        ApiProblem: 404; 409 ``draft_state``, ``draft_not_approved`` or ``service_changed``; 422 ``draft_has_errors``:
            things that it names may have changed since it was approved.
    """
    row = await lock(call, draft_id)
    if row["state"] not in _PUBLISHABLE[wanted]:
        raise ApiProblem(
            409,
            "draft_state",
            f"The draft is {WORDS[DraftState(row['state'])]}, so it cannot {wanted}.",
            extra={"state": row["state"]},
        )
    approved_by = await refuse_unapproved(call, row)
    reading, words = await read(call, row)
    refuse_errors((reading, words))
    await refuse_outdated(call, row)
    if reading.value is None:
        raise RuntimeError("a text without errors has a document")
    return Ready(row=row, document=reading.value, approved_by=approved_by)


_PUBLISHABLE = {
    DraftStep.PUBLISH: ("approved", "scheduled"),
    DraftStep.BEGIN: ("approved", "scheduled"),
}


async def publish_draft(call: Work, settings: Settings, draft_id: UUID, why: str | None) -> Row:
    """Publish an approved draft in this transaction, or begin to where it concerns many people.

    Returns:
        The draft, ``published`` or ``publishing``.

    Raises:
        ApiProblem: as :func:`ready`, and as ``intend`` and ``publish`` of :mod:`cardservice.catalogue.services`.
    """
    made = await ready(call, draft_id, DraftStep.PUBLISH)
    row = made.row
    wish = await intend(call, row["service_id"], made.document, row["shared_with"])
    asked = {"why": why, "approved_by": made.approved_by}
    if await begin(call, wish, settings=settings, draft_id=draft_id, request=asked) is not None:
        moved = await move(call, row, DraftStep.BEGIN)
        await note(call, moved, "publication begun", why)
        return moved
    done = await put_in_force(call, wish)
    return await finish_draft(call, row, done, why=why, approved_by=made.approved_by)


async def finish_draft(
    call: Work, row: Row, done: ServicePublished, *, why: str | None, approved_by: str | None = None
) -> Row:
    """Note that a draft's document is in force."""
    moved = await move(call, row, DraftStep.PUBLISH, published_version=done.version)
    await note(
        call,
        moved,
        "published",
        why,
        version=done.version,
        changed=done.changed,
        feeds=done.feeds,
        approved_by=approved_by,
    )
    return moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The version that a rollback goes back to."""

    service_id: str
    version: int
    document: dict[str, Any]
    shared_with: list[str]


async def earlier_version(call: Call, service_id: str, to_version: int | None) -> Earlier:
    """The version asked for, or the one before the newest.

    Raises:
        ApiProblem: 404 for a service or version that does not exist, 409 where there is no earlier one.
    """
    named = {"tenant": call.tenant, "service_id": service_id}
    newest = await queries().catalogue.newest(call.conn, **named)
    if newest is None:
        raise not_found("service", service_id[:80])
    in_force = newest["state"] == "published"
    if to_version is None:
        # A service that was withdrawn comes back as it was.
        to_version = (
            await queries().life.version_before(call.conn, **named, version=newest["version"])
            if in_force
            else newest["version"]
        )
        if to_version is None:
            raise conflict("no_earlier_version", f"The service {service_id} has only one version. Withdraw it instead.")
    row = await queries().life.version(call.conn, **named, version=to_version)
    if row is None:
        raise not_found("version", f"{to_version} of {service_id[:80]}")
    if in_force and to_version == newest["version"]:
        raise conflict("version_in_force", f"Version {to_version} is in force already.")
    return Earlier(
        service_id=service_id, version=to_version, document=row["document"], shared_with=list(row["shared_with"])
    )


async def roll_back(call: Work, settings: Settings, earlier: Earlier, why: str) -> ServicePublished | UUID:
    """Put the document of an earlier version in force again, as a new version, in this transaction.

    One person may do it: the document was approved before, and a gate that refuses people cannot wait for a second one.

    Returns:
        What it did, or the job that does it where it concerns many people.
    """
    wish = await intend(call, earlier.service_id, earlier.document, earlier.shared_with)
    asked = {"why": why, "same_as": earlier.version}
    job = await begin(call, wish, settings=settings, draft_id=None, request=asked)
    if job is not None:
        await audit(call, "service.rollback_begun", earlier.service_id, why=why, same_as=earlier.version, job=str(job))
        return job
    done = await put_in_force(call, wish)
    await note_rollback(call, earlier, done, why)
    return done


async def note_rollback(call: Work, earlier: Earlier, done: ServicePublished, why: str) -> None:
    """Note who went back to which version, and why."""
    detail = {"same_as": earlier.version, "feeds": done.feeds}
    await queries().life.add_event(
        call.conn,
        tenant=call.tenant,
        service_id=earlier.service_id,
        draft_id=None,
        version=done.version,
        what="rolled back",
        who=call.actor.name,
        why=why,
        detail=detail,
    )
    await audit(call, "service.rolled_back", earlier.service_id, version=done.version, why=why, **detail)
