"""A draft is tried on the taps that were stored: the counts are of those taps, and nobody is named."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cardservice.app import PLATFORM
from tests.support.life import AUTHOR, GYM, act, begin, gym, published
from tests.support.reader import FakeReader, add_site, enrolled_reader
from tests.support.service import Service

MINUTE = 60_000


async def _card(service: Service, born: str, *, tenant: str = "wcc") -> str:
    status, person = await service.call(
        "POST",
        "/v1/people",
        {"given_name": "Juniper", "family_name": "Exampleton", "date_of_birth": born},
        tenant=tenant,
    )
    assert status == 201
    path = f"/v1/people/{person['person_id']}/facts"
    assert (await service.call("POST", path, {"kind": "residency", "name": tenant}, tenant=tenant))[0] == 201
    status, card = await service.call("POST", "/v1/cards", {"person_id": person["person_id"]}, tenant=tenant)
    assert status == 201
    return str(card["card_id"])


def _tap(reader: FakeReader, card: str, minutes_ago: float, **more: Any) -> dict[str, Any]:
    at = int(datetime.now(UTC).timestamp() * 1000 - minutes_ago * MINUTE)
    return reader.tap(card=card, at=at, **more)


async def test_the_counts_are_those_of_the_stored_taps(service: Service) -> None:
    await add_site(service)
    await published(service, gym())
    reader = await enrolled_reader(service)
    adult, pensioner = await _card(service, "1990-02-03"), await _card(service, "1950-02-03")
    neighbour = await _card(service, "1990-02-03", tenant="rbkc")
    refused = {"outcome": "deny", "reason": "not_eligible"}
    items = [
        *(_tap(reader, adult, 60 + number) for number in range(6)),
        *(_tap(reader, pensioner, 80 + number) for number in range(3)),
        _tap(reader, adult, 50, outcome="deny", reason="card_lost"),
        _tap(reader, neighbour, 40, card_tenant="rbkc", **refused),
        _tap(reader, adult, 30, outcome="deny", reason="unknown_card"),
        _tap(reader, adult, 20, direction="exit", service=None, service_version=None),
        _tap(reader, adult, 60 * 24 * 9),
    ]
    status, answer = await reader.upload(*items)
    assert (status, {each["result"] for each in answer["results"]}) == (200, {"stored"})
    draft = await begin(service, gym(who={"all": [{"resident_of": ["wcc"]}, {"age": {"gte": 60}}]}))
    found = await act(service, draft["draft_id"], "simulate", {"days": 7})
    result = found["result"]
    assert (result["taps"], result["exits"], result["new_service"]) == (10, 1, False)
    assert (result["now_allowed"], result["now_refused"]) == (0, 6)
    assert (result["people_gaining"], result["people_losing"]) == (0, 1)
    assert result["left_out"] == {"card of another council": 1, "not decided by a service document": 1}
    assert (result["compared"], result["agreed"]) == (10, 10)
    assert result["sentences"][0] == "Of 10 taps, 6 allowed today would be refused, none the other way."
    change = result["changes"][0]
    assert (change["before"]["reason"], change["after"]["reason"], change["taps"]) == ("ok", "not_eligible", 6)
    assert [example["resident"] for example in change["examples"]] == ["Resident 1"] * 5
    assert result["residents"]["different"] > 0
    everything = json.dumps(found)
    assert adult not in everything
    assert "Exampleton" not in everything
    status, kept = await service.call("GET", f"/v1/drafts/{draft['draft_id']}/simulations", roles=AUTHOR)
    assert (status, [each["result"] for each in kept["items"]]) == (200, [result])
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        assert await conn.fetchval("SELECT count(*) FROM audit WHERE action = 'draft.simulated'") == 1


async def test_every_replay_of_a_draft_is_on_exactly_one_page(service: Service) -> None:
    draft = await begin(service, gym())
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute(
            "INSERT INTO simulation (tenant, draft_id, draft_version, asked_by, since, until, result, seconds, made_at)"
            " SELECT 'wcc', $1, 1, 'test', now(), now(), '{}', n, now() - make_interval(secs => n / 2)"  # pairs at once
            " FROM generate_series(0, 4) AS n",
            UUID(draft["draft_id"]),
        )
    seen: list[float] = []
    first = path = f"/v1/drafts/{draft['draft_id']}/simulations?limit=2"
    while path:
        status, page = await service.call("GET", path, roles=AUTHOR)
        assert status == 200
        seen += [item["seconds"] for item in page["items"]]
        path = f"{first}&cursor={page['next']}" if page["next"] else ""
    assert sorted(seen) == [0, 1, 2, 3, 4]
    assert (await service.call("GET", f"{first}&cursor=x", roles=AUTHOR))[0] == 422


async def test_a_replay_asked_for_again_with_the_same_key_is_the_first_one(service: Service) -> None:
    await add_site(service)
    await published(service, gym())
    reader = await enrolled_reader(service)
    adult = await _card(service, "1990-02-03")
    path = f"/v1/drafts/{(await begin(service, gym()))['draft_id']}/simulate"

    async def press(key: str, **wish: int) -> tuple[int, Any]:
        await reader.upload(_tap(reader, adult, 10))
        return await service.call("POST", path, wish, roles=AUTHOR, key=key)

    status, first = await press("press", days=7)
    assert (status, first["result"]["taps"]) == (200, 1)
    assert await press("press", days=7) == (200, first)
    status, problem = await press("press", days=6)
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    together = await asyncio.gather(*(press("twice") for _ in range(2)))
    assert together[0] == together[1]
    status, kept = await service.call("GET", f"{path.removesuffix('simulate')}simulations", roles=AUTHOR)
    assert len(kept["items"]) == 2
    status, problem = await service.call("POST", path, {}, roles=AUTHOR, headers={"Idempotency-Key": ""})
    assert (status, problem["code"]) == (400, "idempotency_key_missing")


async def test_a_new_service_is_tried_on_everybody_who_came_to_its_places(service: Service) -> None:
    await add_site(service)
    await add_site(service, site="queen-mother", name="Queen Mother")
    await published(service, gym())
    reader = await enrolled_reader(service)
    elsewhere = await enrolled_reader(service, site="queen-mother")
    adult, child = await _card(service, "1990-02-03"), await _card(service, "2015-02-03")
    await reader.upload(_tap(reader, adult, 10), _tap(reader, child, 9, outcome="deny", reason="not_eligible"))
    await elsewhere.upload(_tap(elsewhere, adult, 8))
    draft = await begin(service, gym(id="wcc.leisure.sauna", title="Sauna"))
    result = (await act(service, draft["draft_id"], "simulate"))["result"]
    assert result["sentences"] == ["The service is new: 1 of 2 taps would be allowed."]


async def test_a_place_added_lets_in_those_who_were_refused_there(service: Service) -> None:
    await add_site(service)
    await published(service, gym())
    reader = await enrolled_reader(service, site="queen-mother")
    adult = await _card(service, "1990-02-03")
    refused = {"outcome": "deny", "reason": "wrong_site", "service": "wcc.leisure.pool"}
    await reader.upload(_tap(reader, adult, 10, **refused), _tap(reader, adult, 9, service="wcc.leisure.pool"))
    draft = await begin(service, gym(where={"sites": ["porchester", "queen-mother"]}))
    result = (await act(service, draft["draft_id"], "simulate"))["result"]
    assert (result["taps"], result["now_allowed"], result["compared"]) == (1, 1, 0)


async def test_a_draft_that_asks_for_phones_loses_those_who_came_with_paper(service: Service) -> None:
    await add_site(service)
    await published(service, gym())
    reader = await enrolled_reader(service)
    phone, chip, paper, older = [await _card(service, "1990-02-03") for _ in range(4)]
    await reader.upload(
        _tap(reader, phone, 10, presentation="live"),
        _tap(reader, chip, 9, presentation="chip"),
        _tap(reader, paper, 8, presentation="static"),
        _tap(reader, older, 7),
    )
    draft = await begin(service, gym(requires=[{"presentation": ["live", "chip"]}]))
    result = (await act(service, draft["draft_id"], "simulate"))["result"]
    assert (result["taps"], result["now_refused"], result["people_losing"]) == (4, 2, 2)
    assert result["changes"][0]["after"]["reason"] == "presentation_not_accepted"


async def test_a_draft_that_cannot_be_read_is_not_tried(service: Service) -> None:
    draft = await begin(service, gym(where={"sites": ["@nowhere"]}))
    problem = await act(service, draft["draft_id"], "simulate", expect=422)
    assert "@nowhere" in problem["detail"]
    status, broken = await service.call("POST", "/v1/drafts", {"service_id": GYM, "text": "{"}, roles=AUTHOR)
    assert status == 201
    problem = await act(service, broken["draft_id"], "simulate", expect=422)
    assert problem["code"] == "draft_has_errors"
    await act(service, draft["draft_id"], "simulate", {"days": 0}, expect=422)
    assert (await service.call("POST", f"/v1/drafts/{GYM}/simulate", roles=AUTHOR))[0] == 404


async def test_birthdays_within_the_replay_count_from_their_day(service: Service) -> None:
    await add_site(service)
    await published(service, gym())
    reader = await enrolled_reader(service)
    birthday = datetime.now(UTC).date() - timedelta(days=3)
    born = birthday.replace(year=birthday.year - 17, day=min(birthday.day, 28))
    young = await _card(service, born.isoformat())
    await reader.upload(_tap(reader, young, 60 * 24 * 8), _tap(reader, young, 60))
    draft = await begin(service, gym(who={"all": [{"resident_of": ["wcc"]}, {"age": {"gte": 17}}]}))
    result = (await act(service, draft["draft_id"], "simulate"))["result"]
    assert (result["taps"], result["now_refused"]) == (2, 1)
