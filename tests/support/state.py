"""Residents, counted services and what gates hear of them, for tests of the state behind limits."""

from __future__ import annotations

from typing import Any

from entitlements.credential.encoding import b64url_decode
from entitlements.wire.feed import AnyChange
from tests.support.feed import Mirror
from tests.support.reader import FakeReader
from tests.support.registry import add_person
from tests.support.service import Service


async def post(service: Service, path: str, body: Any = None, *, wanted: int = 201, **more: Any) -> dict[str, Any]:
    """A write that must succeed."""
    status, answer = await service.call("POST", path, body, **more)
    assert status == wanted, answer
    return dict(answer or {})


async def get(service: Service, path: str, **more: Any) -> dict[str, Any]:
    """A look that must succeed."""
    status, answer = await service.call("GET", path, **more)
    assert status == 200, answer
    return dict(answer)


async def resident(service: Service, *, tenant: str = "wcc", card: bool = True, **more: Any) -> dict[str, Any]:
    """A resident of the council: ``person_id`` and, with a card, all that its issue says."""
    person_id = await add_person(service, tenant=tenant, **more)
    await fact(service, person_id, tenant=tenant, kind="residency", name=tenant)
    if not card:
        return {"person_id": person_id}
    return await post(service, "/v1/cards", {"person_id": person_id}, tenant=tenant)


async def fact(service: Service, person_id: str, *, tenant: str = "wcc", **body: Any) -> dict[str, Any]:
    """A fact on a person."""
    return await post(service, f"/v1/people/{person_id}/facts", body, tenant=tenant)


def swims(most: int = 2, period: str = "week", scope: str = "person", **more: Any) -> dict[str, Any]:
    """Members of a document that count visits."""
    quota = {"id": "swims", "unit": "visit", "period": period, "max": most, "scope": scope, **more}
    return {"limits": [{"quota": quota}], "offline": {"max_stale": "PT24H", "lease": {"swims": 1}}}


def visit(reader: FakeReader, card: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An allowed tap of a card that takes one swim."""
    effects = [{"account": "swims", "units": 1, "key": "whatever the reader says"}]
    return reader.tap(card=card["card_id"], **({"effects": effects} | changes))


async def upload(reader: FakeReader, *taps: dict[str, Any]) -> list[str]:
    """Send taps; what became of each."""
    status, answer = await reader.upload(*taps)
    assert status == 200, answer
    return [result["result"] for result in answer["results"]]


async def flags(service: Service, **more: Any) -> list[dict[str, Any]]:
    """All flags of a council, newest first."""
    return list((await get(service, "/v1/flags?limit=500", **more))["items"])


async def entries(service: Service, query: str = "", **more: Any) -> list[dict[str, Any]]:
    """Entries of the ledger, newest first."""
    return list((await get(service, f"/v1/ledger?limit=500{query}", **more))["items"])


async def changes_after(reader: FakeReader, mirror: Mirror) -> list[AnyChange]:
    """Changes of a feed that the mirror does not have yet; the mirror applies them."""
    import msgspec

    from entitlements.wire.feed import ChangesPage

    path = f"/v1/feeds/{mirror.feed}/changes?epoch={mirror.epoch}&after={mirror.number}&limit=1000"
    status, answer = await reader.call("GET", path)
    assert status == 200, answer
    page = msgspec.convert(answer, ChangesPage)
    for change in page.changes:
        mirror.apply(change)
    assert mirror.number == page.head.number
    return page.changes


def tag_of(card: dict[str, Any]) -> int:
    """The tag of a card, as in its row."""
    return int.from_bytes(b64url_decode(card["card_id"].encode())[:4], "big")
