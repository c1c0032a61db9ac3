"""Setting, clearing and unlocking a person's PIN. The PIN itself is in no row, no audit, no log and no reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.db import queries
from cardservice.errors import ApiProblem, not_found
from cardservice.people.register import get_person
from cardservice.pins.strength import problem_of


def sealed_name(tenant: str, person_id: UUID) -> str:
    """Under which a verifier is sealed: copied to another person's row it does not open."""
    return f"pin/{tenant}/{person_id}"


async def set_pin(call: Call, person_id: UUID, pin: str) -> Mapping[str, Any]:
    """Let a person have this PIN from now on; wrong attempts so far no longer count.

    Raises:
        ApiProblem: 404, or 422 for a PIN that is none or too easily guessed, without repeating it.
    """
    person = await get_person(call, person_id)
    problem = problem_of(pin, person["date_of_birth"])
    if problem is not None:
        raise ApiProblem(
            422, "weak_pin", f"This PIN cannot be used: {problem}.", fields=[{"at": "/pin", "problem": problem}]
        )
    # Before any lock is taken: it is slow on purpose.
    verifier = await call.platform.verifiers.make(pin)
    name = sealed_name(call.tenant, person_id)
    sealed = await call.platform.tenant_secrets.seal_aside(name, verifier.encode("ascii"))
    await _begin(call)
    row = await queries().pins.put(
        call.conn, tenant=call.tenant, person_id=person_id, verifier_sealed=sealed, now=call.now
    )
    await audit(call, "pin.set", f"person:{person_id}", version=row["version"])
    return dict(row)


async def clear_pin(call: Call, person_id: UUID) -> Mapping[str, Any]:
    """Let a person have no PIN any more: services that ask for one refer them to staff.

    Raises:
        ApiProblem: 404 without such a person or PIN.
    """
    await _begin(call)
    row = await queries().pins.clear(call.conn, tenant=call.tenant, person_id=person_id, now=call.now)
    if row is None:
        raise await _no_pin(call, person_id)
    await audit(call, "pin.cleared", f"person:{person_id}", version=row["version"])
    return dict(row)


async def unlock_pin(call: Call, person_id: UUID) -> Mapping[str, Any]:
    """Let wrong attempts at gates count no longer; the PIN stays.

    Raises:
        ApiProblem: 404 without such a person or PIN.
    """
    await _begin(call)
    row = await queries().pins.unlock(call.conn, tenant=call.tenant, person_id=person_id, now=call.now)
    if row is None:
        raise await _no_pin(call, person_id)
    await audit(call, "pin.unlocked", f"person:{person_id}", version=row["version"])
    return dict(row)


async def pin_state(call: Call, person_id: UUID) -> Mapping[str, Any]:
    """Whether a person has a PIN.

    Raises:
        ApiProblem: 404 without such a person.
    """
    await get_person(call, person_id)
    row = await queries().pins.state(call.conn, tenant=call.tenant, person_id=person_id)
    return {"is_set": False, "version": 0, "changed_at": None} if row is None else dict(row)


async def _begin(call: Call) -> None:
    """Readers are to hear of it. The tenant's row is locked first, as in every write that publishes."""
    await queries().feed.lock_tenant(call.conn, tenant=call.tenant)
    await queries().secrets.changed(call.conn, tenant=call.tenant, kind="pin")
    call.after_commit.append(call.platform.site_secrets.wake)


async def _no_pin(call: Call, person_id: UUID) -> ApiProblem:
    await get_person(call, person_id)
    return not_found("PIN of person", person_id)
