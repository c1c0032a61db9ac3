"""Publishing a document changes the right people's rights at the right instants, here and next door, or nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from cardservice.app import PLATFORM
from cardservice.catalogue.loading import load_catalogue
from entitlements.decide import Moment, Subject, decide
from entitlements.model import CardState, Instant, Reason, ServiceId, SiteId
from entitlements.profile import Profile
from tests.support.documents import worked, world
from tests.support.feed import Mirror, document, number_of, publish, pull, take_snapshot, truth
from tests.support.reader import enrolled_reader
from tests.support.service import Service

FEED = "wcc/leisure"
LONDON = ZoneInfo("Europe/London")


async def _resident(service: Service, *, tenant: str = "wcc", born: str = "1990-02-03", **facts: Any) -> dict[str, Any]:
    """The issued card of a person of this age; ``facts`` are kinds with what is stated, e.g. ``residency="wcc"``."""
    status, person = await service.call(
        "POST",
        "/v1/people",
        {"given_name": "Juniper", "family_name": "Exampleton", "date_of_birth": born},
        tenant=tenant,
    )
    assert status == 201
    for kind, name in facts.items():
        path = f"/v1/people/{person['person_id']}/facts"
        stated = name if isinstance(name, dict) else {"name": name}
        status, answer = await service.call("POST", path, {"kind": kind, **stated}, tenant=tenant)
        assert status == 201, answer
    status, card = await service.call("POST", "/v1/cards", {"person_id": person["person_id"]}, tenant=tenant)
    assert status == 201
    return dict(card)


def _rights(mirror: Mirror, card: dict[str, Any]) -> Profile:
    return Profile.from_wire(json.loads(mirror.cards[card["index"]][2]))


async def _decide(
    service: Service, mirror: Mirror, card: dict[str, Any], at: datetime, *, service_id: str = "wcc.leisure.gym"
) -> Reason | str:
    """What a gate with this mirror says to this card then."""
    tenant, _, area = mirror.feed.partition("/")
    async with service.app[PLATFORM].db.transaction(tenant, read_only=True) as conn:
        catalogue = await load_catalogue(conn, tenant)
    compiled = next(each for each in catalogue.area(area).services if each.id == ServiceId(service_id))
    subject = Subject(card=CardState.ACTIVE, profile=_rights(mirror, card))
    moment = Moment(at=Instant(int(at.timestamp())), site=SiteId("porchester"))
    return decide(compiled, subject, moment).reason


async def test_a_new_document_opens_the_gate_to_those_it_names_and_nobody_else(service: Service) -> None:
    now = datetime.now(UTC)
    await publish(service, document())
    local, stranger = await _resident(service, residency="wcc"), await _resident(service, residency="rbkc")
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    assert await _decide(service, mirror, local, now) == "ok"
    assert await _decide(service, mirror, stranger, now) == "not_eligible"
    before = mirror.number
    done = await publish(service, document(who={"any": [{"resident_of": ["wcc", "rbkc"]}]}))
    assert (done["version"], done["changed"], done["feeds"]) == (2, True, {FEED: before + 2})
    await pull(reader, mirror)
    assert await _decide(service, mirror, local, now) == "ok"
    assert await _decide(service, mirror, stranger, now) == "ok"
    assert mirror.cards == await truth(service, FEED)


async def test_an_offline_gate_knows_the_birthday_and_the_last_day(service: Service) -> None:
    today = datetime.now(LONDON).date()
    birthday, last = today + timedelta(days=9), today + timedelta(days=5)
    try:
        born = birthday.replace(year=birthday.year - 16)
    except ValueError:  # the test runs nine days before 29 February
        born, birthday = birthday.replace(year=birthday.year - 16, day=28), birthday - timedelta(days=1)
    await publish(service, document(who={"all": [{"age": {"gte": 16}}, {"evidence": ["student"]}]}))
    young = await _resident(service, born=born.isoformat(), evidence="student")
    leaver = await _resident(service, evidence={"name": "student", "until": last.isoformat()})
    mirror = await take_snapshot(await enrolled_reader(service), FEED)
    midnight = datetime.combine(birthday, datetime.min.time(), LONDON)
    assert await _decide(service, mirror, young, midnight - timedelta(seconds=1)) == "not_eligible"
    assert await _decide(service, mirror, young, midnight) == "ok"
    over = datetime.combine(last + timedelta(days=1), datetime.min.time(), LONDON)
    assert await _decide(service, mirror, leaver, over - timedelta(seconds=1)) == "ok"
    assert await _decide(service, mirror, leaver, over) == "not_eligible"


async def test_the_same_document_again_changes_nothing(service: Service) -> None:
    first = await publish(service, document())
    number = await number_of(service, FEED)
    again = await publish(service, dict(reversed(document().items())))
    assert (first["version"], again["version"], again["changed"], again["feeds"]) == (1, 1, False, {})
    assert await number_of(service, FEED) == number
    renamed = await publish(service, document(title="Gym and pool"))
    assert (renamed["version"], renamed["changed"]) == (2, True)
    status, detail = await service.call("GET", "/v1/services/wcc.leisure.gym")
    assert status == 200
    assert [(version["version"], version["state"]) for version in detail["versions"]] == [
        (2, "published"),
        (1, "superseded"),
    ]
    assert detail["published"]["document"]["title"] == "Gym and pool"
    status, page = await service.call("GET", "/v1/services")
    assert [(item["service_id"], item["version"]) for item in page["items"]] == [("wcc.leisure.gym", 2)]


async def test_every_problem_of_a_document_is_named_with_its_place(service: Service) -> None:
    bad = document(who={"all": [{"age": {"gte": "sixteen"}}]}, where={"sites": []}, colour="red")
    status, problem = await service.call("PUT", "/v1/services/wcc.leisure.gym", {"document": bad})
    assert (status, problem["code"]) == (422, "document_refused")
    places = {field["at"] for field in problem["fields"]}
    assert {"/document/who/all/0/age/gte", "/document/where/sites"} <= places
    assert any("colour" in field["at"] + field["problem"] for field in problem["fields"])
    status, problem = await service.call(
        "PUT", "/v1/services/wcc.leisure.gym", {"document": document(where={"sites": ["@nowhere"]})}
    )
    assert (status, problem["fields"][0]["at"]) == (422, "/document/where/sites/0")
    for wrong, place in (
        (document("wcc.leisure.pool"), "/document/id"),
        (document(tenant="rbkc"), "/document/tenant"),
        (document() | {"extends": "wcc.base"}, "/document/extends"),
    ):
        status, problem = await service.call("PUT", "/v1/services/wcc.leisure.gym", {"document": wrong})
        assert (status, problem["code"]) == (422, "document_refused")
        assert place in {field["at"] for field in problem["fields"]}
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        assert await conn.fetchval("SELECT count(*) FROM service_version") == 0
        assert await conn.fetchval("SELECT count(*) FROM feed") == 0, "a refused document leaves nothing behind"


@pytest.mark.parametrize("area", ["Pool_1", "a:b", "Leisure"])
async def test_no_service_is_published_in_an_area_for_which_no_gate_could_be_enrolled(
    service: Service, area: str
) -> None:
    status, problem = await service.call("PUT", "/v1/services/wcc.leisure.gym", {"document": document(area=area)})
    assert (status, problem["code"]) == (422, "wrong_values")
    assert problem["fields"][0]["at"] == "/document/area"
    status, draft = await service.call("POST", "/v1/drafts", {"document": document(area=area)}, roles="manager")
    assert status == 201
    status, linted = await service.call("POST", f"/v1/drafts/{draft['draft_id']}/lint", roles="manager")
    assert (status, "area_name" in {finding["code"] for finding in linted["findings"]}) == (200, True)


async def test_a_kind_of_card_that_nobody_issues_is_refused_in_words(service: Service) -> None:
    made = document(requires=[{"factor": "pin"}, {"presentation": ["chip", "tattoo"]}])
    status, problem = await service.call("PUT", "/v1/services/wcc.leisure.gym", {"document": made})
    assert (status, problem["code"]) == (422, "rule_kind_not_served")
    assert problem["fields"] == [
        {"at": "/document/requires/1/presentation", "problem": "there is no kind of card called tattoo"}
    ]
    assert "static" in problem["detail"]


async def test_a_library_that_asks_for_a_pin_can_be_opened(service: Service) -> None:
    for kind, name in (("site_set", "@bi-libraries"), ("calendar", "@library-closures")):
        members = sorted(map(str, getattr(world(), f"{kind}s")[name]))
        status, answer = await service.call("PUT", f"/v1/lists/{kind}/{name}", {"members": members})
        assert status == 200, answer
    unstaffed = worked("open-plus")
    assert {"factor": "pin"} in unstaffed["requires"]
    assert (await publish(service, unstaffed))["version"] == 1


async def test_a_withdrawn_service_closes_and_can_come_back(service: Service) -> None:
    now = datetime.now(UTC)
    await publish(service, document())
    card = await _resident(service, residency="wcc")
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    path = "/v1/services/wcc.leisure.gym/withdraw"
    status, done = await service.call("POST", path, roles="manager")
    assert (status, done["changed"]) == (200, True)
    await pull(reader, mirror)
    assert mirror.services == {}
    assert _rights(mirror, card).grants == ()
    status, problem = await service.call("POST", path, roles="manager")
    assert (status, problem["code"]) == (409, "service_not_published")
    assert (await service.call("POST", "/v1/services/wcc.none/withdraw"))[0] == 404
    again = await publish(service, document())
    assert again["version"] == 2
    await pull(reader, mirror)
    assert await _decide(service, mirror, card, now) == "ok"


async def test_a_shared_service_opens_to_the_neighbours_people_by_its_owners_calendar(service: Service) -> None:
    today = datetime.now(LONDON).date()
    noon = datetime.combine(today, datetime.min.time(), LONDON) + timedelta(hours=12)
    for tenant, days in (("wcc", [today.isoformat()]), ("rbkc", [])):
        status, _ = await service.call(
            "PUT", "/v1/lists/calendar/@closures", {"members": days}, tenant=tenant, roles="manager"
        )
        assert status == 200
    # A row of the neighbour's feed existed before: its own service, closed by its own calendar of the same name.
    await publish(service, document("rbkc.leisure.pool", "rbkc", when={"closed": ["@closures"]}))
    card = await _resident(service, tenant="rbkc", residency="rbkc")
    made = document(who={"any": [{"resident_of": ["wcc", "rbkc"]}]}, when={"closed": ["@closures"]})
    reader_of_rbkc = await enrolled_reader(service, tenant="rbkc", site="kensington", feeds=("rbkc/leisure",))
    mirror = await take_snapshot(reader_of_rbkc, "rbkc/leisure")
    done = await publish(service, made, shared_with=("rbkc",))
    assert set(done["feeds"]) == {FEED, "rbkc/leisure"}
    await pull(reader_of_rbkc, mirror)
    assert await _decide(service, mirror, card, noon) == "outside_hours", "the owner is closed today"
    assert await _decide(service, mirror, card, noon + timedelta(days=1)) == "ok"
    assert await _decide(service, mirror, card, noon, service_id="rbkc.leisure.pool") == "ok", (
        "and the neighbour is not"
    )
    # A change of the owner's calendar reaches the neighbour's feed.
    number = mirror.number
    status, _ = await service.call("PUT", "/v1/lists/calendar/closures", {"members": []}, roles="manager")
    assert status == 200
    await pull(reader_of_rbkc, mirror)
    assert mirror.number == number + 1
    assert await _decide(service, mirror, card, noon) == "ok"
    status, page = await service.call("GET", "/v1/services", tenant="rbkc")
    assert {(item["service_id"], item["tenant"]) for item in page["items"]} == {
        ("rbkc.leisure.pool", "rbkc"),
        ("wcc.leisure.gym", "wcc"),
    }
    # No longer shared: it closes for them, and stays open at home.
    await publish(service, made)
    await pull(reader_of_rbkc, mirror)
    assert set(mirror.services) == {"rbkc.leisure.pool"}
    assert [name for name, _ in _rights(mirror, card).grants] == ["rbkc.leisure.pool"]


async def test_a_council_cannot_touch_or_take_the_neighbours_services(service: Service) -> None:
    await publish(service, document(), shared_with=("rbkc",))
    theirs = {"document": document(tenant="rbkc"), "shared_with": []}
    status, problem = await service.call("PUT", "/v1/services/wcc.leisure.gym", theirs, tenant="rbkc")
    assert (status, problem["code"]) == (409, "service_id_taken")
    status, _ = await service.call("POST", "/v1/services/wcc.leisure.gym/withdraw", tenant="rbkc")
    assert status == 404
    status, detail = await service.call("GET", "/v1/services/wcc.leisure.gym", tenant="rbkc")
    assert (status, detail["tenant"]) == (200, "wcc")
    for shared in (["nobody"], ["wcc"]):
        status, problem = await service.call(
            "PUT", "/v1/services/wcc.leisure.pool", {"document": document("wcc.leisure.pool"), "shared_with": shared}
        )
        assert (status, problem["fields"][0]["at"]) == (422, "/shared_with")
    for roles in ("desk", "operator", "auditor", "manager"):  # a manager needs a second person: /v1/drafts
        status, _ = await service.call("PUT", "/v1/services/wcc.leisure.gym", {"document": document()}, roles=roles)
        assert status == 403


async def test_a_service_that_changes_its_area_leaves_the_old_feed(service: Service) -> None:
    await publish(service, document(area="leisure"))
    card = await _resident(service, residency="wcc")
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    done = await publish(service, document(area="sport"))
    assert set(done["feeds"]) == {FEED, "wcc/sport"}
    await pull(reader, mirror)
    assert mirror.services == {}
    assert _rights(mirror, card).grants == ()
    _, areas = await service.call("GET", "/v1/areas")
    assert {(area["area"], area["services"], area["cards"]) for area in areas["items"]} == {
        ("leisure", 0, 1),
        ("sport", 1, 1),
    }


async def test_two_managers_publishing_at_once_make_two_versions_in_order(service: Service) -> None:
    answers = await asyncio.gather(
        *(
            service.call("PUT", "/v1/services/wcc.leisure.gym", {"document": document(title=f"Gym {number}")})
            for number in range(4)
        )
    )
    done = [answer for status, answer in answers if status == 200]
    refused = [answer["code"] for status, answer in answers if status != 200]
    assert sorted(answer["version"] for answer in done) == list(range(1, len(done) + 1))
    assert set(refused) <= {"service_changed", "service_id_taken"}
    assert done


async def test_a_person_blocked_at_the_desk_is_blocked_at_the_gate(service: Service) -> None:
    now = datetime.now(UTC)
    await publish(service, document())
    card = await _resident(service, residency="wcc")
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    path = f"/v1/people/{card['person_id']}/facts"
    status, _ = await service.call("POST", path, {"kind": "block", "name": "wcc.leisure.gym"})
    assert status == 201
    await pull(reader, mirror)
    assert await _decide(service, mirror, card, now) == "blocked"


async def test_a_card_that_is_over_tells_nothing_of_its_holder(service: Service) -> None:
    await publish(service, document())
    card = await _resident(service, residency="wcc")
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    await service.call("POST", f"/v1/cards/{card['card_id']}/revoke", {"reason": "found out"})
    await pull(reader, mirror)
    assert _rights(mirror, card) == Profile()
    number = mirror.number
    path = f"/v1/people/{card['person_id']}/facts"
    await service.call("POST", path, {"kind": "evidence", "name": "student"})
    assert await number_of(service, FEED) == number


async def test_what_managers_change_is_in_the_audit(service: Service) -> None:
    await publish(service, document())
    await service.call("PUT", "/v1/lists/site_set/@places", {"members": ["porchester"]}, roles="manager")
    await service.call("POST", "/v1/services/wcc.leisure.gym/withdraw", roles="manager")
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        rows = await conn.fetch("SELECT action, actor FROM audit WHERE action ~ '^(service|list)[.]' ORDER BY audit_id")
    assert [(row["action"], row["actor"]) for row in rows] == [
        ("service.published", "token:test-admin"),
        ("list.changed", "token:test-manager"),
        ("service.withdrawn", "token:test-manager"),
    ]


async def test_a_person_without_a_card_costs_no_row(service: Service) -> None:
    await publish(service, document())
    status, person = await service.call("POST", "/v1/people", {"given_name": "Teapot", "family_name": "Nonesuch"})
    assert status == 201
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        assert await conn.fetchval("SELECT count(*) FROM card_row") == 0
        assert await conn.fetchval("SELECT person_id FROM person") == UUID(person["person_id"])
