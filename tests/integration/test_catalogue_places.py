"""Sites and lists: what is stored is what documents can mean, and every gate that may need it is told."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.feed import document, publish, pull, take_snapshot
from tests.support.reader import add_site, enrolled_reader
from tests.support.registry import issue_card
from tests.support.service import Service

FEED = "wcc/leisure"


@pytest.mark.parametrize("area", ["Pool_1", "a:b", "Leisure"])
async def test_no_lane_is_of_an_area_for_which_no_gate_could_be_enrolled(service: Service, area: str) -> None:
    body = {"name": "Queen Mother", "lanes": [{"lane": "1", "name": "Lane 1", "areas": ["leisure", area]}]}
    status, problem = await service.call("PUT", "/v1/sites/queen-mother", body, roles="manager")
    assert (status, problem["code"], problem["fields"][0]["at"]) == (422, "wrong_values", "/lanes/0/areas/1")
    assert (await service.call("GET", "/v1/sites/queen-mother"))[0] == 404
    assert (await service.call("GET", "/v1/areas"))[1]["items"] == []


async def test_many_new_sites_at_once_do_not_wait_for_each_other_for_ever(service: Service) -> None:
    """Each makes rows in transactions of its own: if it held one meanwhile, there would soon be none left for that."""
    await issue_card(service)

    async def put(number: int) -> int:
        lanes = [{"lane": "1", "name": "Lane 1", "areas": [f"area-{number}"]}]
        site = {"name": "Site", "lanes": lanes}
        status, _ = await service.call("PUT", f"/v1/sites/site-{number}", site, roles="manager")
        return status

    async with asyncio.timeout(60):
        statuses = await asyncio.gather(*map(put, range(2 * service.settings.pool_size)))
    assert set(statuses) == {200}


async def test_a_site_reaches_the_gates_of_every_area(service: Service) -> None:
    await publish(service, document())
    await add_site(service)
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    body = {"name": "Queen Mother", "lanes": [{"lane": "1", "name": "Lane 1", "areas": ["leisure", "libraries"]}]}
    status, site = await service.call("PUT", "/v1/sites/queen-mother", body, roles="manager")
    assert (status, site["version"]) == (200, 1)
    status, again = await service.call("PUT", "/v1/sites/queen-mother", body, roles="manager")
    assert (status, again) == (200, site)
    await pull(reader, mirror)
    assert "queen-mother" in mirror.world.sites
    status, areas = await service.call("GET", "/v1/areas")
    assert {area["area"] for area in areas["items"]} == {"leisure", "libraries"}
    status, page = await service.call("GET", "/v1/sites?limit=1")
    assert [item["site_id"] for item in page["items"]] == ["porchester"]
    status, page = await service.call("GET", f"/v1/sites?limit=1&cursor={page['next']}")
    assert ([item["site_id"] for item in page["items"]], page["next"]) == (["queen-mother"], None)
    twice = {"name": "X", "lanes": [{"lane": "1", "name": "a"}, {"lane": "1", "name": "b"}]}
    assert (await service.call("PUT", "/v1/sites/x", twice))[0] == 422
    status, problem = await service.call("PUT", "/v1/sites/queen-mother", body, tenant="rbkc")
    assert (status, problem["code"]) == (409, "site_id_taken")
    assert (await service.call("GET", "/v1/sites/queen-mother", tenant="rbkc"))[0] == 404


async def test_lists_take_only_what_documents_can_mean(service: Service) -> None:
    for path, members, place in (
        ("calendar/@days", ["2026-02-30"], "/members/0"),
        ("calendar/@days", ["20260228"], "/members/0"),
        ("site_set/@places", ["porchester", "not a site"], "/members/1"),
        ("site_set/@a:b", ["porchester"], "/name"),
    ):
        status, problem = await service.call("PUT", f"/v1/lists/{path}", {"members": members})
        assert (status, problem["fields"][0]["at"]) == (422, place), path
    assert (await service.call("PUT", "/v1/lists/people/@x", {"members": []}))[0] == 404
    assert (await service.call("GET", "/v1/lists/calendar/@x"))[0] == 404
    status, made = await service.call("PUT", "/v1/lists/calendar/days", {"members": ["2026-02-28"]}, roles="manager")
    assert (status, made["name"]) == (200, "@days")
    assert (await service.call("GET", "/v1/lists/calendar/@days"))[1] == made
    assert (await service.call("GET", "/v1/lists"))[1]["items"] == [made]
    assert (await service.call("GET", "/v1/lists", tenant="rbkc"))[1]["items"] == []
