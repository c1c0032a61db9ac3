"""Reader and service together: what a gate counts is what the service has, under keys that it cannot read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from readers.daemon import Daemon
from tests.support.feed import document, publish
from tests.support.reader import add_site
from tests.support.service import Service
from tests.support.state import entries, fact, flags, post, resident, swims
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.site import ready, running, site_settings, until

FEED = "wcc/leisure"


async def enrolment_code(service: Service) -> str:
    """A code for a reader of the site, which has the lane ``1``."""
    await add_site(service)
    body = {"site": "porchester", "name": "gates", "feeds": [FEED]}
    return str((await post(service, "/v1/readers/codes", body))["code"])


async def present(daemon: Daemon, devices: Devices, card: dict[str, Any]) -> str:
    """Hold a card to lane ``1`` and tell the reason when all is over."""
    lane = daemon.lanes[0]
    tried = lane.counts["tried"]
    devices.sources["qr:1"].present(card["token"].encode())
    await until(lambda: lane.counts["tried"] > tried and lane.state == "idle")
    return str(lane.recent[0]["reason"])


@pytest.mark.parametrize("scope", ["person", "household"])
async def test_a_gate_counts_what_the_service_counts_and_hears_its_own_entries_back(
    service: Service, tmp_path: Path, scope: str
) -> None:
    await publish(service, document(**swims(3, scope=scope)))
    card = await resident(service)
    devices = Devices()
    settings = site_settings(service.url, tmp_path, ("1",))
    async with running(settings, devices, code=await enrolment_code(service)) as daemon:
        await ready(daemon)
        assert await present(daemon, devices, card) == "ok"
        await until(lambda: daemon.outbox.waiting == 0 and daemon.own.waiting == 0)
        assert [await present(daemon, devices, card) for _ in range(3)] == ["ok", "ok", "quota_used"]
        await until(lambda: daemon.outbox.waiting == 0 and daemon.own.waiting == 0)
        assert daemon.feeds[FEED].cache.contents.holdings.units.count == 3  # type: ignore[union-attr]
    assert len(await entries(service)) == 3
    assert await flags(service) == []


async def test_somebody_who_fetches_for_another_uses_the_others_units(service: Service, tmp_path: Path) -> None:
    acts_for = {"acts_for": {"scopes": ["collect"], "needs": ["named_by_holder"]}}
    await publish(service, document(who={"evidence": "swimmer"}, delegation=acts_for, **swims(1)))
    owner, friend = await resident(service), await resident(service)
    await fact(service, owner["person_id"], kind="evidence", name="swimmer")
    devices = Devices()
    settings = site_settings(service.url, tmp_path, ("1",))
    async with running(settings, devices, code=await enrolment_code(service)) as daemon:
        await ready(daemon)
        assert await present(daemon, devices, friend) == "not_eligible"
        number = daemon.feeds[FEED].cache.number  # type: ignore[union-attr]
        given = {"person": friend["person_id"], "scopes": ["collect"]}
        await fact(service, owner["person_id"], kind="delegate", detail=given)
        await until(lambda: daemon.feeds[FEED].cache.number > number)  # type: ignore[union-attr]
        assert await present(daemon, devices, friend) == "ok"
        await until(lambda: daemon.outbox.waiting == 0 and daemon.own.waiting == 0)
        assert await present(daemon, devices, owner) == "quota_used"
    (entry,) = await entries(service)
    assert entry["person_id"] == owner["person_id"]
    assert await flags(service) == []
