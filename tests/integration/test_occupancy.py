"""An operator sees how full a site is, and a refusal for fullness can be looked into afterwards; no person is named."""

from __future__ import annotations

import time
from typing import Any

from tests.support.feed import document, publish
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.service import Service
from tests.support.state import resident


async def walked(reader: FakeReader, *, result: str = "passed", **tap: Any) -> dict[str, Any]:
    """A tap and what the passage contact said of it."""
    made = reader.tap(**tap)
    passage = {"t": "passage", "tap_id": made["tap_id"], "result": result, "at": made["at"]}
    status, reply = await reader.upload(made, passage)
    assert (status, [each["result"] for each in reply["results"]]) == (200, ["stored", "stored"])
    return made


async def test_the_count_follows_the_passages_and_not_the_releases(service: Service) -> None:
    reader = await enrolled_reader(service)
    for _ in range(3):
        await walked(reader)
    await walked(reader, result="timed_out")
    await reader.upload(reader.tap(outcome="deny", reason="card_lost"))
    await walked(reader, lane="2", direction="exit", service=None, service_version=None)
    await walked(reader, at=int((time.time() - 86_400) * 1000))  # yesterday's, who never tapped out
    status, answer = await service.call("GET", "/v1/sites/porchester/occupancy", roles="operator")
    assert status == 200
    (zone,) = answer["zones"]
    assert (answer["inside"], zone["zone"], zone["inside"], zone["went_in"], zone["went_out"]) == (2, "gym", 2, 3, 1)
    assert zone["last_at"] is not None
    assert "card" not in str(answer)


async def test_it_never_falls_below_nobody_and_belongs_to_ones_own_council(service: Service) -> None:
    reader = await enrolled_reader(service)
    await walked(reader, lane="2", direction="exit", service=None, service_version=None)
    status, answer = await service.call("GET", "/v1/sites/porchester/occupancy", roles="operator")
    assert (status, answer["inside"]) == (200, 0)
    for site, tenant in (("nowhere", "wcc"), ("porchester", "rbkc")):
        status, problem = await service.call("GET", f"/v1/sites/{site}/occupancy", tenant=tenant, roles="operator")
        assert (status, problem["code"]) == (404, "site_not_found")


async def test_a_refusal_because_it_was_full_is_replayed_with_the_count_of_then(service: Service) -> None:
    await publish(service, document(limits=[{"capacity": {"zone": "gym", "max": 2}}]))
    reader = await enrolled_reader(service)
    card = await resident(service)
    now = int(time.time() * 1000)
    for count in range(2):
        await walked(reader, at=now - 3000 + count)
    refused = reader.tap(
        at=now, outcome="deny", reason="full", card=card["card_id"], feed_number=card["feeds"]["leisure"]
    )
    await walked(reader, at=now + 5, lane="2", direction="exit", service=None, service_version=None)
    assert (await reader.upload(refused))[0] == 200
    status, why = await service.call("GET", f"/v1/taps/{refused['tap_id']}/why", roles="desk")
    assert status == 200
    assert why["agrees"], why
    assert why["replayed"]["reason"] == "full"
    assert any(line.startswith("2 people were inside") for line in why["state"])
