"""People and facts over HTTP."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.support.registry import add_person, issue_card
from tests.support.service import Service

NOBODY = "0b0d1f5e-2f0a-4f57-9d53-5a3a6f6d0c11"


async def test_what_the_desk_writes_down_is_what_it_reads(service: Service):
    body = {
        "given_name": "  Zoë ",
        "family_name": "O'Fixture-李",
        "date_of_birth": "2012-02-29",
        "household": "wcc-h1",
        "email": "zoe@example.org",
        "phone": "+44 20 7946 0000",
    }
    status, made = await service.call("POST", "/v1/people", body, roles="desk")
    assert status == 201
    assert made["given_name"] == "Zoë"
    assert made["version"] == 1
    assert made["created_at"].endswith("Z")
    assert await service.call("GET", f"/v1/people/{made['person_id']}", roles="auditor") == (200, made)


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"given_name": "   "}, "/given_name"),
        ({"given_name": "a\u0000b"}, "/given_name"),
        ({"given_name": "x" * 201}, "/given_name"),
        ({"given_name": 7}, "/given_name"),
        ({"family_name": None}, "/family_name"),
        ({"date_of_birth": "1990-02-30"}, "/date_of_birth"),
        ({"date_of_birth": "1066-10-14"}, "/date_of_birth"),
        ({"date_of_birth": "2999-01-01"}, "/date_of_birth"),
        ({"date_of_birth": 19900203}, "/date_of_birth"),
        ({"email": "nobody"}, "/email"),
        ({"phone": "ring me"}, "/phone"),
        ({"household": "../h1"}, "/household"),
        ({"benefits": "all"}, "/benefits"),
    ],
)
async def test_a_wrong_value_is_named_and_nothing_is_kept(service: Service, change: dict[str, object], at: str):
    body = {"given_name": "Ada", "family_name": "Exampleton", **change}
    status, problem = await service.call("POST", "/v1/people", body)
    assert (status, problem["code"], problem["fields"][0]["at"]) == (422, "wrong_values", at)
    assert (await service.call("GET", "/v1/people"))[1]["items"] == []


async def test_two_desks_do_not_overwrite_each_other(service: Service):
    person_id = await add_person(service)
    body = {"given_name": "Juniper", "family_name": "Married-Name", "version": 1}
    status, person = await service.call("PUT", f"/v1/people/{person_id}", body)
    assert (status, person["version"], person["date_of_birth"]) == (200, 2, None)
    status, problem = await service.call("PUT", f"/v1/people/{person_id}", {**body, "family_name": "Other"})
    assert (status, problem["code"], problem["version"]) == (409, "version_conflict", 2)
    assert (await service.call("GET", f"/v1/people/{person_id}"))[1]["family_name"] == "Married-Name"


async def test_every_person_is_on_exactly_one_page(service: Service):
    made = {await add_person(service, family_name=name) for name in ("Fauxley", "fauxley", "Nonesuch", "Madeupson")}
    seen: list[str] = []
    path = "/v1/people?limit=1"
    while path:
        status, page = await service.call("GET", path)
        assert status == 200
        seen += [item["person_id"] for item in page["items"]]
        path = f"/v1/people?limit=1&cursor={page['next']}" if page["next"] else ""
    assert sorted(seen) == sorted(made)
    assert len((await service.call("GET", "/v1/people?family_name=FAUXLEY"))[1]["items"]) == 2


@pytest.mark.parametrize("query", ["cursor=rubbish", "cursor=%00", "limit=0", "limit=501", "limit=many", "colour=red"])
async def test_a_wrong_query_is_refused_and_not_guessed(service: Service, query: str):
    status, problem = await service.call("GET", f"/v1/people?{query}")
    assert (status, problem["code"]) == (422, "wrong_values")
    assert problem["fields"][0]["at"] == "/" + query.partition("=")[0]


@pytest.mark.parametrize("person_id", [NOBODY, "7", "%00", "' OR 1=1 --"])
async def test_an_unknown_person_is_not_found_whatever_is_asked(service: Service, person_id: str):
    draft = {"given_name": "Ada", "family_name": "Exampleton", "version": 1}
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "", draft),
        ("GET", "/facts", None),
        ("POST", "/facts", {"kind": "role", "name": "staff"}),
        ("POST", f"/facts/{NOBODY}/end", None),
    ):
        status, problem = await service.call(method, f"/v1/people/{person_id}{path}", body)
        assert (status, problem["code"][-9:]) == (404, "not_found"), (method, path, problem)


FACTS: list[dict[str, Any]] = [
    {"kind": "residency", "name": "rbkc", "from": "2020-01-01"},
    {"kind": "evidence", "name": "universal_credit", "from": "2026-01-01", "until": "2026-01-01"},
    {"kind": "member_of", "name": "library"},
    {"kind": "permit", "name": "ev_vehicle", "detail": {"id": "LM26-ABC"}},
    {"kind": "role", "name": "teacher", "checked_by": "A. Desk"},
    {"kind": "linked", "name": "parent_consent"},
    {"kind": "prerequisite", "name": "open-plus-induction", "detail": {"sites": ["pimlico-lib", "*"]}},
    {"kind": "block", "name": "*"},
    {"kind": "block", "name": "wcc.leisure.gym-offpeak"},
]


async def test_a_fact_of_each_kind_is_kept_as_it_was_stated(service: Service):
    person_id = await add_person(service)
    path = f"/v1/people/{person_id}/facts"
    for fact in FACTS:
        status, made = await service.call("POST", path, fact, roles="desk")
        assert status == 201, made
        assert made | {"detail": fact.get("detail", {})} | fact == made
    listed: list[tuple[str, str]] = []
    query = "?limit=4"
    while query:
        page = (await service.call("GET", path + query, roles="auditor"))[1]
        listed += [(item["kind"], item["name"]) for item in page["items"]]
        query = f"?limit=4&cursor={page['next']}" if page["next"] else ""
    assert listed == [(fact["kind"], fact["name"]) for fact in FACTS]


@pytest.mark.parametrize(
    ("fact", "at"),
    [
        ({"kind": "wish", "name": "x"}, "/kind"),
        ({"name": "x"}, "/kind"),
        ({"kind": "residency", "name": "Westminster"}, "/name"),
        ({"kind": "residency"}, "/name"),
        ({"kind": "residency", "name": "wcc", "detail": {}}, "/detail"),
        ({"kind": "evidence", "name": "two words"}, "/name"),
        ({"kind": "evidence", "name": "student", "from": "2026-02-01", "until": "2026-01-31"}, "/"),
        ({"kind": "evidence", "name": "student", "from": "2026-13-01"}, "/from"),
        ({"kind": "evidence", "name": "student", "from_date": "2026-01-01"}, "/from_date"),
        ({"kind": "prerequisite", "name": "induction"}, "/detail"),
        ({"kind": "prerequisite", "name": "induction", "detail": {"sites": []}}, "/detail/sites"),
        ({"kind": "prerequisite", "name": "induction", "detail": {"sites": ["ok", "no no"]}}, "/detail/sites/1"),
        ({"kind": "block", "name": "**"}, "/name"),
        ({"kind": "delegate", "detail": {"person": "me", "scopes": ["use"]}}, "/detail/person"),
        ({"kind": "delegate", "detail": {"person": NOBODY, "scopes": ["use"]}}, "/detail/person"),
        ({"kind": "delegate", "detail": {"person": NOBODY, "scopes": []}}, "/detail/scopes"),
        (
            {"kind": "delegate", "detail": {"person": NOBODY, "scopes": ["use"], "max_pence": -1}},
            "/detail/max_pence",
        ),
    ],
)
async def test_a_fact_that_no_rule_could_use_is_refused_where_it_is_wrong(
    service: Service, fact: dict[str, object], at: str
):
    person_id = await add_person(service)
    status, problem = await service.call("POST", f"/v1/people/{person_id}/facts", fact)
    assert (status, problem["fields"][0]["at"]) == (422, at), problem


async def test_a_delegate_is_another_person_of_the_same_council(service: Service):
    holder, helper = await add_person(service), await add_person(service)
    stranger = await add_person(service, tenant="rbkc")
    for person, wanted in ((holder, 422), (stranger, 422), (helper, 201)):
        fact = {"kind": "delegate", "detail": {"person": person, "scopes": ["use", "spend"], "max_pence": 8000}}
        status, made = await service.call("POST", f"/v1/people/{holder}/facts", fact)
        assert status == wanted, made
    assert made["name"] == helper


async def test_a_withdrawn_fact_no_longer_counts_but_stays_on_record(service: Service):
    person_id = await add_person(service)
    path = f"/v1/people/{person_id}/facts"
    fact = (await service.call("POST", path, {"kind": "role", "name": "teacher"}))[1]
    status, ended = await service.call("POST", f"{path}/{fact['fact_id']}/end")
    assert status == 200
    assert ended["ended_at"] is not None
    assert (await service.call("GET", path))[1]["items"] == []
    assert (await service.call("GET", path + "?withdrawn=true"))[1]["items"] == [ended]
    status, problem = await service.call("POST", f"{path}/{fact['fact_id']}/end")
    assert (status, problem["code"]) == (409, "fact_withdrawn")


async def test_only_the_desk_writes_and_a_manager_does_not_even_look(service: Service):
    person_id = await add_person(service)
    draft = {"given_name": "Ada", "family_name": "Exampleton"}
    for roles in ("auditor", "manager", "operator"):
        assert (await service.call("POST", "/v1/people", draft, roles=roles))[0] == 403
    for roles, status in (("auditor", 200), ("desk", 200), ("manager", 403), ("operator", 403)):
        assert (await service.call("GET", f"/v1/people/{person_id}", roles=roles))[0] == status


async def test_every_change_leaves_its_name_in_the_audit(service: Service):
    card = await issue_card(service)
    person_id = card["person_id"]
    await service.call("POST", f"/v1/people/{person_id}/facts", {"kind": "role", "name": "teacher"})
    conn = await asyncpg.connect(service.settings.database_url)
    try:
        rows = await conn.fetch("SELECT actor, action, subject, request_id FROM audit ORDER BY audit_id")
    finally:
        await conn.close()
    assert [row["action"] for row in rows] == ["person.added", "card.issued", "fact.added"]
    assert {row["actor"] for row in rows} == {"token:test-admin"}
    assert rows[0]["subject"] == f"person:{person_id}"
    assert all(row["request_id"] for row in rows)
