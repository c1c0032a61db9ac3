"""People and the facts stated on them. The desk writes; auditors read."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.models import encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.db import queries
from cardservice.people import register
from cardservice.people.facts import FactDraft, FactReply, FactsPage, FactsQuery
from cardservice.people.models import PeoplePage, PeopleQuery, PersonDraft, PersonReply, PersonUpdate

routes = Routes(tag="people")


@routes.add("POST", "/v1/people", "Register a person", roles=("desk",), status=201)
async def add_person(call: Call, body: PersonDraft) -> PersonReply:
    return PersonReply.of(await register.add_person(call, body))


@routes.add("GET", "/v1/people", "List people", roles=("desk", "auditor"), reading=True)
async def list_people(call: Call, query: PeopleQuery) -> PeoplePage:
    (after,) = read_cursor(query.cursor, UUID)
    rows = [
        row
        async for row in queries().people.page(
            call.conn,
            tenant=call.tenant,
            after=after,
            household=query.household,
            family_name=query.family_name,
            limit=query.limit + 1,
        )
    ]
    items = [PersonReply.of(row) for row in rows[: query.limit]]
    more = len(rows) > query.limit
    return PeoplePage(items=items, next=encode_cursor(str(items[-1].person_id)) if more else None)


@routes.add("GET", "/v1/people/{person_id}", "Look up a person", roles=("desk", "auditor"), reading=True)
async def get_person(call: Call) -> PersonReply:
    return PersonReply.of(await register.get_person(call, call.path_uuid("person_id", "person")))


@routes.add("PUT", "/v1/people/{person_id}", "Replace what is known of a person", roles=("desk",))
async def update_person(call: Call, body: PersonUpdate) -> PersonReply:
    return PersonReply.of(await register.update_person(call, call.path_uuid("person_id", "person"), body))


@routes.add("POST", "/v1/people/{person_id}/facts", "State a fact on a person", roles=("desk",), status=201)
async def add_fact(call: Call, body: FactDraft) -> FactReply:
    return FactReply.of(await register.add_fact(call, call.path_uuid("person_id", "person"), body))


@routes.add(
    "GET", "/v1/people/{person_id}/facts", "List the facts stated on a person", roles=("desk", "auditor"), reading=True
)
async def list_facts(call: Call, query: FactsQuery) -> FactsPage:
    person_id = call.path_uuid("person_id", "person")
    await register.get_person(call, person_id)
    after_time, after_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    rows = [
        row
        async for row in queries().people.facts_page(
            call.conn,
            tenant=call.tenant,
            person_id=person_id,
            after_time=after_time,
            after_id=after_id,
            withdrawn=query.withdrawn,
            limit=query.limit + 1,
        )
    ]
    items = [FactReply.of(row) for row in rows[: query.limit]]
    last = items[-1] if len(rows) > query.limit else None
    return FactsPage(items=items, next=encode_cursor(last.created_at.isoformat(), str(last.fact_id)) if last else None)


@routes.add("POST", "/v1/people/{person_id}/facts/{fact_id}/end", "Withdraw a fact", roles=("desk",))
async def end_fact(call: Call) -> FactReply:
    person_id, fact_id = call.path_uuid("person_id", "person"), call.path_uuid("fact_id", "fact")
    return FactReply.of(await register.end_fact(call, person_id, fact_id))
