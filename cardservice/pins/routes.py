"""A person's PIN, for the desk. The holder types it; staff neither see nor choose it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.routing import Routes
from cardservice.pins import office
from cardservice.pins.models import PinDraft, PinReply

routes = Routes(tag="people")


@routes.add("PUT", "/v1/people/{person_id}/pin", "Set a person's PIN", roles=("desk",))
async def set_pin(call: Call, body: PinDraft) -> PinReply:
    """For all of the person's cards. Gates whose services ask for a PIN have it within seconds."""
    person_id = _person(call)
    return _reply(person_id, await office.set_pin(call, person_id, body.pin.get_secret_value()))


@routes.add("GET", "/v1/people/{person_id}/pin", "Whether a person has a PIN", roles=("desk", "auditor"))
async def pin_state(call: Call) -> PinReply:
    person_id = _person(call)
    return _reply(person_id, await office.pin_state(call, person_id))


@routes.add("DELETE", "/v1/people/{person_id}/pin", "Clear a person's PIN", roles=("desk",))
async def clear_pin(call: Call) -> PinReply:
    person_id = _person(call)
    return _reply(person_id, await office.clear_pin(call, person_id))


@routes.add("POST", "/v1/people/{person_id}/pin/unlock", "Let wrong PIN attempts no longer count", roles=("desk",))
async def unlock_pin(call: Call) -> PinReply:
    """For a holder who was locked out at a gate and has shown who they are."""
    person_id = _person(call)
    return _reply(person_id, await office.unlock_pin(call, person_id))


def _person(call: Call) -> UUID:
    return call.path_uuid("person_id", "person")


def _reply(person_id: UUID, row: Mapping[str, Any]) -> PinReply:
    return PinReply.of(row, person_id=person_id)
