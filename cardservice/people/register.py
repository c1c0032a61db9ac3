"""The register of people: writes that recompile what gates may know of a person."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.db import queries
from cardservice.errors import ApiProblem, conflict, not_found
from cardservice.feed.writer import next_issue_number, publish_person
from cardservice.people.facts import Delegate, FactDraft
from cardservice.people.models import PersonDraft, PersonUpdate

EAST = timedelta(hours=14)
"""The earliest zone is 14 hours ahead: a date that has begun nowhere is in the future."""


async def add_person(call: Call, draft: PersonDraft) -> Any:
    """A new person's row. Nobody has a card yet, so there is nothing to publish."""
    _not_in_future(draft, call.now)
    row = await queries().people.add(call.conn, tenant=call.tenant, **draft.model_dump())
    await audit(call, "person.added", f"person:{row['person_id']}")
    return row


async def get_person(call: Call, person_id: UUID) -> Any:
    """A person's row.

    Raises:
        ApiProblem: 404.
    """
    row = await queries().people.get(call.conn, tenant=call.tenant, person_id=person_id)
    if row is None:
        raise not_found("person", person_id)
    return row


async def update_person(call: Call, person_id: UUID, update: PersonUpdate) -> Any:
    """Replace what is known, if the version still fits; gates hear of it where it changes what opens.

    Raises:
        ApiProblem: 404, or 409 ``version_conflict`` with the present ``version``.
    """
    _not_in_future(update, call.now)
    # The tenant's row is locked first in every write that publishes: so writers queue up and never deadlock.
    number = await next_issue_number(call.conn, call.tenant)
    row = await queries().people.update(
        call.conn, tenant=call.tenant, person_id=person_id, now=call.now, **update.model_dump()
    )
    if row is None:
        present = (await get_person(call, person_id))["version"]
        raise ApiProblem(
            409,
            "version_conflict",
            f"Somebody changed this person since: the version is {present}, not {update.version}.",
            extra={"version": present},
        )
    await audit(call, "person.updated", f"person:{person_id}", version=row["version"])
    await _publish(call, person_id, number)
    return row


async def add_fact(call: Call, person_id: UUID, draft: FactDraft) -> Any:
    """State a fact on a person.

    Raises:
        ApiProblem: 404, or 422 for a delegate who is nobody here or the person themself.
    """
    number = await next_issue_number(call.conn, call.tenant)
    await get_person(call, person_id)
    if isinstance(draft.root, Delegate):
        await _check_delegate(call, person_id, draft.root.detail.person)
    row = await queries().people.add_fact(
        call.conn,
        tenant=call.tenant,
        person_id=person_id,
        kind=draft.root.kind,
        name=draft.name,
        from_date=draft.root.from_date,
        until_date=draft.root.until_date,
        detail=draft.detail,
        checked_by=draft.root.checked_by,
    )
    await audit(call, "fact.added", f"person:{person_id}", fact=str(row["fact_id"]), kind=row["kind"], name=row["name"])
    await _publish(call, person_id, number)
    return row


async def end_fact(call: Call, person_id: UUID, fact_id: UUID) -> Any:
    """Withdraw a fact; it stays on record.

    Raises:
        ApiProblem: 404, or 409 where it was withdrawn before.
    """
    number = await next_issue_number(call.conn, call.tenant)
    key = {"tenant": call.tenant, "person_id": person_id, "fact_id": fact_id}
    row = await queries().people.end_fact(call.conn, **key, now=call.now)
    if row is None:
        if await queries().people.get_fact(call.conn, **key) is None:
            raise not_found("fact", fact_id)
        raise conflict("fact_withdrawn", "This fact was withdrawn before.")
    await audit(call, "fact.ended", f"person:{person_id}", fact=str(fact_id), kind=row["kind"], name=row["name"])
    await _publish(call, person_id, number)
    return row


async def _publish(call: Call, person_id: UUID, number: int) -> None:
    await publish_person(call.conn, call.tenant, person_id, issue_number=number, now=call.now)
    call.after_commit.append(call.platform.hub.wake)


async def _check_delegate(call: Call, person_id: UUID, delegate: UUID) -> None:
    problem = None
    if delegate == person_id:
        problem = "nobody is their own delegate"
    elif not await queries().people.exists(call.conn, tenant=call.tenant, person_id=delegate):
        problem = "there is no such person here"
    if problem:
        at = "/detail/person"
        raise ApiProblem(
            422, "wrong_values", f"The body is wrong at {at}: {problem}.", fields=[{"at": at, "problem": problem}]
        )


def _not_in_future(draft: PersonDraft, now: datetime) -> None:
    if draft.date_of_birth is not None and draft.date_of_birth > (now + EAST).date():
        problem = "it lies in the future"
        raise ApiProblem(
            422,
            "wrong_values",
            f"The body is wrong at /date_of_birth: {problem}.",
            fields=[{"at": "/date_of_birth", "problem": problem}],
        )
