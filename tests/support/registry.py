"""Short ways to people and cards for tests of the service."""

from __future__ import annotations

from typing import Any

from tests.support.service import Service


async def add_person(service: Service, *, tenant: str = "wcc", **more: Any) -> str:
    """A person's id."""
    body = {"given_name": "Juniper", "family_name": "Exampleton", "date_of_birth": "1990-02-03", **more}
    status, person = await service.call("POST", "/v1/people", body, tenant=tenant)
    assert status == 201, person
    return str(person["person_id"])


async def issue_card(service: Service, *, tenant: str = "wcc", **more: Any) -> dict[str, Any]:
    """A new card of a new person, as the reply gives it."""
    person_id = await add_person(service, tenant=tenant)
    status, card = await service.call("POST", "/v1/cards", {"person_id": person_id, **more}, tenant=tenant)
    assert status == 201, card
    return dict(card)
