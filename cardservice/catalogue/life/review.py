"""From a finished draft to an approved one: whoever approves has written none of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from cardservice.api.call import Call, Work
from cardservice.catalogue.life.drafts import Row, find, lock, move, note, read, step, version_in_force, wrote
from cardservice.catalogue.life.models import FindingReply
from cardservice.catalogue.life.reading import Reading
from cardservice.catalogue.life.states import DraftStep
from cardservice.db import queries
from cardservice.errors import ApiProblem, conflict
from entitlements.lint import Finding


async def submit(call: Call, draft_id: UUID, why: str | None) -> Row:
    """Hand a draft to a second person.

    Raises:
        ApiProblem: 404, 409 ``draft_state``, 422 ``draft_has_errors``.
    """
    row = await lock(call, draft_id)
    step(row, DraftStep.SUBMIT)
    refuse_errors(await read(call, row))
    moved = await move(call, row, DraftStep.SUBMIT)
    await note(call, moved, "submitted", why)
    return moved


async def approve(call: Call, draft_id: UUID, why: str) -> Row:
    """Let the draft's text pass.

    Raises:
        ApiProblem: 403 ``second_person_needed`` for an author; 404; 409 ``draft_state`` or ``service_changed``; 422
            ``draft_has_errors``.
    """
    row = await lock(call, draft_id)
    step(row, DraftStep.APPROVE)
    refuse_author(call, row)
    refuse_errors(await read(call, row))
    await refuse_outdated(call, row)
    await queries().life.add_approval(
        call.conn,
        tenant=call.tenant,
        draft_id=draft_id,
        draft_version=row["version"],
        text_sha256=text_digest(row),
        approved_by=call.actor.author,
        why=why,
        now=call.now,
    )
    moved = await move(call, row, DraftStep.APPROVE)
    await note(call, moved, "approved", why, draft_version=row["version"])
    return moved


async def reject(call: Call, draft_id: UUID, why: str) -> Row:
    """Send it back to its author, whether submitted, approved or scheduled."""
    return await _step(call, draft_id, DraftStep.REJECT, "rejected", why)


async def recall(call: Call, draft_id: UUID, why: str | None) -> Row:
    """Make it a draft again, to be written in; an approval it had is spent."""
    return await _step(call, draft_id, DraftStep.RECALL, "recalled", why)


async def withdraw(call: Call, draft_id: UUID, why: str | None) -> Row:
    """Give the draft up. It stays on record."""
    return await _step(call, draft_id, DraftStep.WITHDRAW, "withdrawn", why)


async def schedule(call: Call, draft_id: UUID, publish_at: datetime, why: str | None) -> Row:
    """Let the service publish an approved draft by itself at an instant.

    Raises:
        ApiProblem: 404, 409, or 422 for an instant that is over.
    """
    row = await lock(call, draft_id)
    step(row, DraftStep.SCHEDULE)
    if publish_at <= call.now:
        problem = {"at": "/publish_at", "problem": "it is not in the future; to publish at once, publish"}
        raise ApiProblem(422, "wrong_values", "The time is over.", fields=[problem])
    await refuse_unapproved(call, row)
    await refuse_outdated(call, row)
    moved = await move(call, row, DraftStep.SCHEDULE, publish_at=publish_at, scheduled_by=call.actor.name)
    await note(call, moved, "scheduled", why, publish_at=publish_at.isoformat())
    return moved


def refuse_author(call: Work, row: Row) -> None:
    """Raises ApiProblem 403 where the caller has written any of it. Whose token it is counts, not its roles."""
    if wrote(call.actor.author, row):
        raise ApiProblem(
            403,
            "second_person_needed",
            "You wrote this draft, or a part of it, so you cannot approve it too. Ask a colleague to read it.",
            fields=[{"at": "line 1: /", "problem": "a second person approves what the first wrote"}],
            extra={"authors": list(row["authors"]), "you": call.actor.author},
        )


def refuse_errors(read_now: tuple[Reading, Any]) -> None:
    """Raises ApiProblem 422 with every error of the linter."""
    errors = read_now[0].errors
    if errors:
        raise ApiProblem(
            422,
            "draft_has_errors",
            f"The linter finds {_count(errors)}: {errors[0].message} {errors[0].advice}",
            fields=[{"at": _place(one), "problem": f"{one.message} {one.advice}"} for one in errors],
            extra={"findings": [FindingReply.from_finding(one).model_dump() for one in errors]},
        )


async def refuse_outdated(call: Work, row: Row) -> None:
    """Raises ApiProblem 409 where another version came into force since the draft was begun."""
    present = await version_in_force(call, row["service_id"])
    if present != row["based_on"]:
        before = "there was none" if row["based_on"] is None else f"it was version {row['based_on']}"
        now = "none is in force" if present is None else f"version {present} is in force"
        raise ApiProblem(
            409,
            "service_changed",
            f"The service changed since this draft was begun: {now}, {before}. Recall the draft, look at the "
            "difference, and save it again.",
            extra={"based_on": row["based_on"], "in_force": present},
        )


async def refuse_unapproved(call: Work, row: Row) -> str:
    """Who approved exactly this text. Raises ApiProblem 409 where nobody else than its authors did."""
    named = {"tenant": call.tenant, "draft_id": row["draft_id"]}
    approved_by = await queries().life.approval_of(call.conn, **named, text_sha256=text_digest(row))
    if approved_by is None or wrote(approved_by, row):
        raise conflict("draft_not_approved", "Nobody but its authors has approved this text.")
    return str(approved_by)


def text_digest(row: Row) -> bytes:
    """What an approval is of: the text, and whom the service would be shared with."""
    shared = "\n".join(sorted(row["shared_with"]))
    return hashlib.sha256(f"{shared}\n\n{row['text']}".encode()).digest()


async def _step(call: Call, draft_id: UUID, wanted: DraftStep, what: str, why: str | None) -> Row:
    moved = await move(call, await lock(call, draft_id), wanted)
    await note(call, moved, what, why)
    return moved


def _count(errors: Iterable[Finding]) -> str:
    number = len(tuple(errors))
    return "one error" if number == 1 else f"{number} errors"


def _place(finding: Finding) -> str:
    return f"line {finding.line}: {finding.pointer}" if finding.line is not None else finding.pointer or "/"


__all__ = [
    "approve",
    "find",
    "recall",
    "refuse_author",
    "refuse_errors",
    "refuse_outdated",
    "refuse_unapproved",
    "reject",
    "schedule",
    "submit",
    "text_digest",
    "withdraw",
]
