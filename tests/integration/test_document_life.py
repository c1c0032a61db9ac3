"""A service goes from a template to the gates and back, by two people, and never by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from cardservice.app import PLATFORM
from cardservice.settings import Settings
from tests.support.feed import pull, take_snapshot
from tests.support.life import AUTHOR, COLLEAGUE, GYM, act, approved, begin, gym, published, text_of, until_state
from tests.support.reader import add_site, enrolled_reader
from tests.support.service import Service, add_tenant, run_service

FEED = "wcc/leisure"


async def _world(service: Service) -> None:
    await add_site(service)
    for kind, name in (("evidence", "student"), ("evidence", "universal_credit"), ("member_of", "library")):
        status, _ = await service.call(
            "PUT", f"/v1/vocabulary/{kind}/{name}", {"title": name, "supplied_by": "the desk"}, roles=AUTHOR
        )
        assert status == 200


async def test_a_service_goes_from_template_to_the_gates_by_two_people(service: Service) -> None:
    await _world(service)
    status, found = await service.call("GET", "/v1/templates", roles=AUTHOR)
    assert status == 200
    assert {item["name"] for item in found["items"]} >= {
        *("ev-charging", "hub-room", "library-visit", "leisure-access", "recycling-visits", "equipment-loan")
    }
    start = {"template": "leisure-access", "service_id": GYM, "answers": {"sites": ["porchester"], "price": 620}}
    status, draft = await service.call("POST", "/v1/drafts", start, roles=AUTHOR)
    assert status == 201, draft
    assert (draft["state"], draft["based_on"], draft["authors"]) == ("draft", None, ["token:test-manager"])
    name = draft["draft_id"]
    linted = await act(service, name, "lint")
    assert (linted["ok"], linted["errors"]) == (True, 0), linted
    status, told = await service.call("GET", f"/v1/drafts/{name}/explain", roles=AUTHOR)
    assert status == 200
    assert (told["title"], told["changes"]) == ("Swim and gym", None)
    assert "£6.20" in told["text"]
    assert "At Porchester." in told["text"]
    await act(service, name, "submit", {"why": "for the new year"})
    await act(service, name, "approve", {"why": "prices agreed on Monday"}, roles=COLLEAGUE)
    reader = await enrolled_reader(service)
    done = await act(service, name, "publish", {"why": "ready"})
    assert (done["state"], done["published_version"]) == ("published", 1)
    mirror = await take_snapshot(reader, FEED)
    assert mirror.services[GYM]["price"][2]["pence"] == 620
    assert [(event["what"], event["who"], event["why"]) for event in done["events"]] == [
        ("drafted", "token:test-manager", None),
        ("submitted", "token:test-manager", "for the new year"),
        ("approved", "token:test-manager,operator", "prices agreed on Monday"),
        ("published", "token:test-manager", "ready"),
    ]
    status, versions = await service.call("GET", f"/v1/services/{GYM}/versions", roles=AUTHOR)
    (version,) = versions["items"]
    assert (version["how"], version["why"], version["approved_by"]) == (
        "published",
        "ready",
        "token:test-manager,operator",
    )


async def test_nobody_approves_what_they_wrote_a_part_of(service: Service) -> None:
    await _world(service)
    draft = await begin(service, gym())
    name = draft["draft_id"]
    await act(service, name, "approve", {"why": "I like it"}, expect=409)
    changed = {"version": 1, "text": text_of(gym(title="Gym for all"))}
    status, answer = await service.call("PUT", f"/v1/drafts/{name}", changed, roles=COLLEAGUE)
    assert status == 200, answer
    await act(service, name, "submit")
    for roles in (AUTHOR, COLLEAGUE):
        problem = await act(service, name, "approve", {"why": "I like it"}, roles=roles, expect=403)
        assert problem["code"] == "second_person_needed"
    problem = await act(service, name, "approve", {"why": "boss"}, roles="desk", expect=403)
    assert problem["code"] == "role_missing"
    await act(service, name, "publish", expect=409)
    # An administrator is a person too, but here one who wrote none of it.
    done = await act(service, name, "approve", {"why": "read it"}, roles="admin")
    assert done["approvals"][0]["approved_by"] == "token:test-admin"


async def test_an_approval_is_of_one_text_and_of_no_other(service: Service) -> None:
    await _world(service)
    name = await approved(service, gym())
    status, problem = await service.call(
        "PUT", f"/v1/drafts/{name}", {"version": 1, "text": text_of(gym(title="Other"))}, roles=AUTHOR
    )
    assert (status, problem["code"]) == (409, "draft_state")
    await act(service, name, "recall", {"why": "a slip"})
    status, again = await service.call(
        "PUT", f"/v1/drafts/{name}", {"version": 1, "text": text_of(gym(title="Other"))}, roles=AUTHOR
    )
    assert (status, again["version"], again["state"]) == (200, 2, "draft")
    await act(service, name, "publish", expect=409)
    await act(service, name, "submit")
    await act(service, name, "reject", {"why": "call it Gym"}, roles=COLLEAGUE)
    status, problem = await service.call("PUT", f"/v1/drafts/{name}", {"version": 1, "text": "{}"}, roles=AUTHOR)
    assert (status, problem["code"], problem["version"]) == (409, "version_conflict", 2)
    # Behind the API's back: an approved draft whose text was altered is not published.
    other = await approved(service, gym())
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE draft SET text = replace(text, 'Gym', 'Sauna') WHERE draft_id = $1::uuid", other)
    problem = await act(service, other, "publish", expect=409)
    assert problem["code"] == "draft_not_approved"


async def test_what_the_linter_refuses_is_refused_with_its_line(service: Service) -> None:
    await _world(service)
    bad = gym(price=[{"band": "student", "when": {"evidence": "student"}, "pence": 100}])
    name = (await begin(service, bad))["draft_id"]
    lines = text_of(bad).splitlines()
    found = (await act(service, name, "lint"))["findings"]
    error = next(one for one in found if one["code"] == "price_without_default")
    assert '"price"' in lines[error["line"] - 1]
    problem = await act(service, name, "submit", expect=422)
    assert problem["code"] == "draft_has_errors"
    assert problem["findings"][0]["line"] == error["line"]
    # What was right when it was submitted may be wrong when it is approved.
    name = (await begin(service, gym(who={"all": [{"age": {"gte": 18}}, {"evidence": "carer"}]})))["draft_id"]
    word = {"title": "carer", "supplied_by": "the carers' centre"}
    problem = await act(service, name, "submit", expect=422)
    assert "carer" in problem["detail"]
    assert (await service.call("PUT", "/v1/vocabulary/evidence/carer", word, roles=AUTHOR))[0] == 200
    await act(service, name, "submit")
    assert (await service.call("DELETE", "/v1/vocabulary/evidence/carer", roles=AUTHOR))[0] == 204
    problem = await act(service, name, "approve", {"why": "fine"}, roles=COLLEAGUE, expect=422)
    assert problem["code"] == "draft_has_errors"


async def test_a_text_that_is_no_json_can_be_kept_and_says_where_it_breaks(service: Service) -> None:
    start = {"service_id": GYM, "text": '{\n "id": "wcc.leisure.gym",\n "title": Gym\n}'}
    status, draft = await service.call("POST", "/v1/drafts", start, roles=AUTHOR)
    assert status == 201
    (finding,) = (await act(service, draft["draft_id"], "lint"))["findings"]
    assert (finding["line"], finding["severity"]) == (3, "error")
    status, problem = await service.call("GET", f"/v1/drafts/{draft['draft_id']}/explain", roles=AUTHOR)
    assert (status, problem["code"]) == (422, "draft_has_errors")
    status, problem = await service.call("POST", "/v1/drafts", {"text": "{"}, roles=AUTHOR)
    assert (status, problem["fields"][0]["at"]) == (422, "/service_id")
    status, problem = await service.call("POST", "/v1/drafts", {"text": "{}", "template": "x"}, roles=AUTHOR)
    assert status == 422
    for body in ({"template": "none"}, {"from_version": 3, "service_id": GYM}):
        assert (await service.call("POST", "/v1/drafts", body, roles=AUTHOR))[0] == 404


async def test_a_change_is_told_as_a_difference_and_needs_the_version_it_was_made_from(service: Service) -> None:
    await _world(service)
    await published(service, gym())
    status, draft = await service.call("POST", "/v1/drafts", {"service_id": GYM, "from_version": 0}, roles=AUTHOR)
    assert (status, draft["based_on"]) == (201, 1)
    made = gym(who={"all": [{"resident_of": ["wcc"]}, {"age": {"gte": 18}}]})
    name, body = draft["draft_id"], {"version": 1, "text": text_of(made)}
    assert (await service.call("PUT", f"/v1/drafts/{name}", body, roles=AUTHOR))[0] == 200
    status, told = await service.call("GET", f"/v1/drafts/{name}/explain", roles=AUTHOR)
    assert (status, told["compared_with"]) == (200, 1)
    assert any("18" in change for change in told["changes"]), told["changes"]
    await act(service, name, "submit")
    await act(service, name, "approve", {"why": "ok"}, roles=COLLEAGUE)
    await published(service, gym(title="Gym and sauna"))
    problem = await act(service, name, "publish", expect=409)
    assert (problem["code"], problem["based_on"], problem["in_force"]) == ("service_changed", 1, 2)


async def test_a_borough_writes_only_what_differs_and_publishes_it_whole(service: Service) -> None:
    await _world(service)
    await published(service, gym())
    start = {"text": text_of({"id": "wcc.leisure.sauna", "extends": GYM, "patch": {"title": "Sauna"}})}
    status, draft = await service.call("POST", "/v1/drafts", start, roles=AUTHOR)
    assert status == 201, draft
    name = draft["draft_id"]
    await act(service, name, "submit")
    await act(service, name, "approve", {"why": "ok"}, roles=COLLEAGUE)
    await act(service, name, "publish")
    _, detail = await service.call("GET", "/v1/services/wcc.leisure.sauna", roles=AUTHOR)
    assert detail["published"]["document"] == gym() | {"id": "wcc.leisure.sauna", "title": "Sauna"}


async def test_a_scheduled_service_opens_by_itself_at_its_time(service: Service) -> None:
    await _world(service)
    name = await approved(service, gym())
    past = {"publish_at": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()}
    await act(service, name, "schedule", past, expect=422)
    due = datetime.now(UTC) + timedelta(seconds=0.4)
    scheduled = await act(service, name, "schedule", {"publish_at": due.isoformat(), "why": "as agreed"})
    assert scheduled["state"] == "scheduled"
    done = await until_state(service, name, "published")
    event = done["events"][-1]
    assert (event["what"], event["who"]) == ("published", "schedule for token:test-manager")
    assert datetime.fromisoformat(event["happened_at"]) >= due
    assert (await service.call("GET", f"/v1/services/{GYM}", roles=AUTHOR))[1]["published"]["version"] == 1


async def test_a_restart_forgets_nothing_that_was_scheduled(settings: Settings) -> None:
    await add_tenant(settings, "wcc", "Westminster City Council")
    async with run_service(settings) as before:
        await _world(before)
        name = await approved(before, gym())
        due = datetime.now(UTC) + timedelta(hours=1)
        await act(before, name, "schedule", {"publish_at": due.isoformat()})
    # An hour passes while no process runs.
    conn = await asyncpg.connect(settings.database_url)
    await conn.execute("UPDATE draft SET publish_at = now() - interval '1 second'")
    await conn.close()
    async with run_service(settings) as after:
        await until_state(after, name, "published")


async def test_what_broke_before_its_time_stays_out_of_force_and_says_why(service: Service) -> None:
    await _world(service)
    assert (await service.call("PUT", "/v1/vocabulary/evidence/carer", {"title": "carer"}, roles=AUTHOR))[0] == 200
    name = await approved(service, gym(who={"all": [{"age": {"gte": 18}}, {"evidence": "carer"}]}))
    assert (await service.call("DELETE", "/v1/vocabulary/evidence/carer", roles=AUTHOR))[0] == 204
    due = datetime.now(UTC) + timedelta(seconds=0.3)
    await act(service, name, "schedule", {"publish_at": due.isoformat()})
    failed = await until_state(service, name, "approved")
    assert failed["events"][-1]["what"] == "publication failed"
    assert "carer" in failed["events"][-1]["why"]
    assert (await service.call("GET", f"/v1/services/{GYM}", roles=AUTHOR))[0] == 404


async def test_two_processes_publish_what_is_due_once(settings: Settings) -> None:
    await add_tenant(settings, "wcc", "Westminster City Council")
    async with run_service(settings) as one, run_service(settings) as other:
        await _world(one)
        name = await approved(one, gym())
        due = datetime.now(UTC) + timedelta(seconds=0.3)
        await act(one, name, "schedule", {"publish_at": due.isoformat()})
        done = await until_state(other, name, "published")
        assert [event["what"] for event in done["events"]].count("published") == 1


async def test_one_call_during_opening_hours_brings_the_former_document_back_to_the_gates(service: Service) -> None:
    await _world(service)
    await published(service, gym())
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    await published(service, gym(title="Broken", who={"all": [{"resident_of": ["wcc"]}, {"age": {"gte": 99}}]}))
    await pull(reader, mirror)
    assert mirror.services[GYM]["title"] == "Broken"
    status, done = await service.call("POST", f"/v1/services/{GYM}/rollback", {"why": "nobody gets in"}, roles=AUTHOR)
    assert (status, done["version"], done["same_as"]) == (200, 3, 1), done
    await pull(reader, mirror)
    assert mirror.services[GYM] == gym()
    _, versions = await service.call("GET", f"/v1/services/{GYM}/versions?limit=2", roles=AUTHOR)
    assert [(each["version"], each["state"], each["how"]) for each in versions["items"]] == [
        (3, "published", "rolled back"),
        (2, "superseded", "published"),
    ]
    assert versions["items"][0]["why"] == "nobody gets in"
    status, last = await service.call(
        "GET", f"/v1/services/{GYM}/versions?limit=2&cursor={versions['next']}", roles=AUTHOR
    )
    assert [each["version"] for each in last["items"]] == [1]
    for body, code in (({"why": "x", "to_version": 9}, 404), ({"why": "x", "to_version": 3}, 409), ({"why": " "}, 422)):
        assert (await service.call("POST", f"/v1/services/{GYM}/rollback", body, roles=AUTHOR))[0] == code
    # A service taken out of force comes back as it was.
    await service.call("POST", f"/v1/services/{GYM}/withdraw", roles=AUTHOR)
    status, done = await service.call("POST", f"/v1/services/{GYM}/rollback", {"why": "a mistake"}, roles=AUTHOR)
    assert (status, done["same_as"]) == (200, 3)


async def test_the_neighbour_sees_no_draft_and_approves_none(service: Service) -> None:
    await _world(service)
    name = (await begin(service, gym()))["draft_id"]
    for method, path in (("GET", ""), ("POST", "/lint"), ("POST", "/submit"), ("GET", "/explain")):
        status, _ = await service.call(method, f"/v1/drafts/{name}{path}", tenant="rbkc")
        assert status == 404, path
    assert (await service.call("GET", "/v1/drafts", tenant="rbkc"))[1]["items"] == []
    foreign = gym(tenant="rbkc")
    finding = (await act(service, (await begin(service, foreign))["draft_id"], "lint"))["findings"][0]
    assert finding["code"] == "other_council"


async def test_the_watch_tells_a_manager_that_people_are_turned_away(service: Service) -> None:
    await _world(service)
    await published(service, gym())
    reader = await enrolled_reader(service)
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE service_version SET published_at = now() - interval '2 hours'")
    now = int(datetime.now(UTC).timestamp() * 1000)
    hour = 3_600_000

    def tap(hours: float, **more: Any) -> dict[str, Any]:
        return reader.tap(at=int(now - hours * hour), **more)

    refused = {"outcome": "deny", "reason": "outside_hours"}
    before = [tap(2.5) for _ in range(19)] + [tap(2.6, **refused)]
    after = [tap(1.5) for _ in range(10)] + [tap(1.2, **refused) for _ in range(15)]
    other = [tap(1.1, service="wcc.leisure.pool", **refused), tap(1.1, direction="exit")]
    status, _ = await reader.upload(*before, *after, *other)
    assert status == 200
    status, seen = await service.call("GET", f"/v1/services/{GYM}/watch?hours=3", roles="auditor")
    assert status == 200, seen
    assert (seen["taps_before"], seen["refused_before"]) == (20, 1)
    assert (seen["taps_after"], seen["refused_after"], seen["look"]) == (25, 15, True)
    assert sum(each["allowed"] + each["refused"] for each in seen["hours"]) == 45
    top = seen["reasons"][0]
    assert (top["reason"], top["before"], top["after"]) == ("outside_hours", 1, 15)
    assert any("60 %" in sentence for sentence in seen["sentences"])
    assert (await service.call("GET", "/v1/services/wcc.none/watch", roles=AUTHOR))[0] == 409
