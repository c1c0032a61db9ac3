"""A publication for many is prepared beside the old one: gates see the old or the new, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from cardservice.api.call import Actor, Errand
from cardservice.app import PLATFORM
from cardservice.catalogue.services import intend
from cardservice.catalogue.services import publish as publish_in_transaction
from cardservice.feed.filling import prepare_area
from cardservice.settings import Settings
from entitlements.profile import Verdict
from tests.support.feed import Mirror, document, job_done, publish, pull, take_snapshot, truth
from tests.support.life import AUTHOR, GYM, act, approved, gym, until_state
from tests.support.reader import FakeReader, add_site, enrolled_reader
from tests.support.service import Service, add_tenant, run_service

FEED = "wcc/leisure"
PATIENCE_SECONDS = 60.0
"""Each preparation starts a process; several of them share a busy machine."""
HELD = 4711
"""An advisory lock of the test's own."""
CHILD = (datetime.now(UTC) - timedelta(days=17 * 365 + 30)).date().isoformat()
"""Day of birth of somebody of 17 years, whenever this runs."""
ADULTS = {"all": [{"resident_of": ["wcc"]}, {"age": {"gte": 18}}]}
OLD = gym(who={"all": [{"resident_of": ["wcc"]}, {"age": {"gte": 16}}]})
NEW = gym(who=ADULTS, title="Gym for adults")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With more than two cards everything goes to the background."""
    return settings.model_copy(update={"background_cards": 2})


async def _person(service: Service, born: str = "1990-02-03") -> dict[str, Any]:
    person = {"given_name": "Juniper", "family_name": "Exampleton", "date_of_birth": born}
    status, made = await service.call("POST", "/v1/people", person)
    assert status == 201
    path = f"/v1/people/{made['person_id']}/facts"
    status, fact = await service.call("POST", path, {"kind": "residency", "name": "wcc"})
    assert status == 201
    status, card = await service.call("POST", "/v1/cards", {"person_id": made["person_id"]})
    assert status == 201
    return dict(card) | {"fact": fact["fact_id"]}


async def _at_once(service: Service, made: dict[str, Any]) -> None:
    """Put a document in force in one transaction, as with few people."""
    platform = service.app[PLATFORM]
    async with platform.db.transaction("wcc") as conn:
        errand = Errand(conn=conn, actor=Actor(name="test", tenant="wcc"))
        await publish_in_transaction(errand, await intend(errand, made["id"], made, ()))
    platform.hub.wake()


async def _crowd(service: Service, count: int = 6) -> tuple[FakeReader, list[dict[str, Any]]]:
    await add_site(service)
    people = [await _person(service, "1990-02-03" if number % 2 else CHILD) for number in range(count)]
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        # Directly, as an administrator's set-up does: the former document is there before anybody counts.
        assert await conn.fetchval("SELECT cards_numbered FROM tenant") == count
    await _at_once(service, OLD)
    return await enrolled_reader(service), people


@asynccontextmanager
async def _held(database_url: str) -> AsyncIterator[None]:
    """Nothing can be staged within the block: the preparation stands in the middle of its first people."""
    conn = await asyncpg.connect(database_url)
    try:
        await conn.execute(
            "CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN PERFORM pg_advisory_xact_lock({HELD}); RETURN NULL; END $$"
        )
        await conn.execute(
            "CREATE OR REPLACE TRIGGER held BEFORE INSERT ON staged_row FOR EACH STATEMENT EXECUTE FUNCTION hold()"
        )
        await conn.execute(f"SELECT pg_advisory_lock({HELD})")
        yield
    finally:
        await conn.close()


async def _job(service: Service, job: str) -> dict[str, Any]:
    status, answer = await service.call("GET", f"/v1/jobs/{job}", roles=AUTHOR)
    assert status == 200, answer
    return dict(answer)


async def _until(service: Service, job: str, **wanted: Any) -> dict[str, Any]:
    """The job once it has these values."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await _job(service, job)
            if all(answer[name] == value for name, value in wanted.items()):
                return answer


async def _until_stuck(database_url: str) -> None:
    """Until the preparation, which has read its first people, may not go on."""
    conn = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await conn.fetchval(
                f"SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = {HELD}"
            ):
                await conn.execute("SELECT pg_sleep(0.01)")
    finally:
        await conn.close()


def _allowed(mirror: Mirror, people: list[dict[str, Any]]) -> list[bool]:
    """Who is eligible from the first instant on: a grant whose facts are unknown lets nobody in."""
    grants = [json.loads(mirror.cards[one["index"]][2])[0] for one in people]
    return [any(segments[0][2] == Verdict.ELIGIBLE for _, segments in found) for found in grants]


async def test_a_publication_for_many_is_prepared_with_progress_and_then_in_force_at_once(service: Service) -> None:
    reader, people = await _crowd(service)
    before = await take_snapshot(reader, FEED)
    service.app[PLATFORM].publications.chunk = 1
    draft = await approved(service, NEW)
    async with _held(service.settings.database_url):
        begun = await act(service, draft, "publish", {"why": "adults only"})
        assert (begun["state"], begun["published_version"]) == ("publishing", None)
        running = await _until(service, begun["job_id"], state="running")
        assert (running["done"], running["problem"]) == (0, None)
        await _until_stuck(service.settings.database_url)
        problem = await act(service, draft, "publish", expect=409)
        assert "being published" in problem["detail"]
        unchanged = await take_snapshot(reader, FEED)
        assert (unchanged.epoch, unchanged.services[GYM]["title"]) == (before.epoch, "Gym")
    seen = [0]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (job := await _job(service, begun["job_id"]))["state"] == "running":
            seen.append(job["done"])
    assert seen == sorted(seen)
    assert (job["state"], job["done"], job["total"]) == ("done", 6, 6), job
    assert (job["result"]["version"], job["result"]["people"]) == (2, 6)
    done = await until_state(service, draft, "published")
    assert [event["what"] for event in done["events"]][-2:] == ["publication begun", "published"]
    assert done["events"][-1]["why"] == "adults only"
    mirror = await take_snapshot(reader, FEED)
    assert mirror.epoch != before.epoch
    assert mirror.number > before.number
    assert mirror.services[GYM]["title"] == "Gym for adults"
    assert _allowed(mirror, people) == [False, True] * 3
    assert mirror.cards == await truth(service, FEED)
    conn = await asyncpg.connect(service.settings.database_url)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for table in ("staged_row", "staged_profile", "staged_holder", "touched_person"):
                while await conn.fetchval(f"SELECT count(*) FROM {table}"):
                    await conn.execute("SELECT pg_sleep(0.01)")
    finally:
        await conn.close()


async def test_facts_and_cards_that_change_meanwhile_are_right_after_the_swap(service: Service) -> None:
    reader, people = await _crowd(service)
    draft = await approved(service, NEW)
    service.app[PLATFORM].publications.chunk = 1
    async with _held(service.settings.database_url):
        begun = await act(service, draft, "publish")
        await _until_stuck(service.settings.database_url)
        # Everything has been read of the first person at least, and of nobody after the last change.
        for one in people:
            path = f"/v1/people/{one['person_id']}/facts/{one['fact']}/end"
            assert (await service.call("POST", path))[0] == 200
        back = people[1]
        path = f"/v1/people/{back['person_id']}/facts"
        assert (await service.call("POST", path, {"kind": "residency", "name": "wcc"}))[0] == 201
        newcomer = await _person(service)
        gone = people[3]["card_id"]
        assert (await service.call("POST", f"/v1/cards/{gone}/revoke", {"reason": "stolen"}))[0] == 200
    await _until(service, begun["job_id"], state="done")
    mirror = await take_snapshot(reader, FEED)
    assert _allowed(mirror, people) == [False, True, False, False, False, False]
    assert _allowed(mirror, [newcomer]) == [True]
    assert mirror.cards[people[3]["index"]][1] == "revoked"
    assert mirror.cards == await truth(service, FEED)


async def test_a_crash_in_the_middle_leaves_the_old_and_the_next_process_finishes(settings: Settings) -> None:
    await add_tenant(settings, "wcc", "Westminster City Council")
    await add_tenant(settings, "rbkc", "Royal Borough of Kensington and Chelsea")
    async with _held(settings.database_url):
        async with run_service(settings) as first:
            reader, people = await _crowd(first)
            before = await take_snapshot(reader, FEED)
            draft = await approved(first, NEW)
            begun = await act(first, draft, "publish")
            await _until_stuck(settings.database_url)
        # The first process is gone in the middle of it. What a gate asks a new one for is the old.
        async with run_service(settings) as second:
            reader.service = second
            after = await take_snapshot(reader, FEED)
            assert (after.epoch, after.number, after.services) == (before.epoch, before.number, before.services)
            assert after.cards == before.cards
            job = await _until(second, begun["job_id"], attempts=2)
            assert job["state"] == "running"
    async with run_service(settings) as third:
        reader.service = third
        await _until(third, begun["job_id"], state="done")
        mirror = await take_snapshot(reader, FEED)
        assert mirror.services[GYM]["title"] == "Gym for adults"
        assert _allowed(mirror, people) == [False, True] * 3


async def test_what_is_published_meanwhile_is_not_undone_by_the_swap(service: Service) -> None:
    reader, people = await _crowd(service)
    draft = await approved(service, NEW)
    async with _held(service.settings.database_url):
        begun = await act(service, draft, "publish")
        await _until_stuck(service.settings.database_url)
        other = gym(id="wcc.leisure.sauna", title="Sauna", who={"all": [{"age": {"gte": 30}}]})
        await _at_once(service, other)
    await _until(service, begun["job_id"], state="done")
    mirror = await take_snapshot(reader, FEED)
    assert set(mirror.services) == {GYM, "wcc.leisure.sauna"}
    grants = [{name for name, _ in json.loads(mirror.cards[one["index"]][2])[0]} for one in people]
    assert grants == [set(), {GYM, "wcc.leisure.sauna"}] * 3


async def test_a_publication_that_lost_its_ground_is_given_up_and_says_why(service: Service) -> None:
    reader, _ = await _crowd(service)
    draft = await approved(service, NEW)
    async with _held(service.settings.database_url):
        begun = await act(service, draft, "publish")
        await _until_stuck(service.settings.database_url)
        older = {"all": [{"resident_of": ["wcc"]}, {"age": {"gte": 21}}]}
        await _at_once(service, gym(title="Direct", who=older))
        status, problem = await service.call("POST", f"/v1/services/{GYM}/rollback", {"why": "x"}, roles=AUTHOR)
        assert (status, problem["code"]) == (409, "publication_running")
    job = await _until(service, begun["job_id"], state="failed")
    assert "Another version came into force" in job["problem"]
    failed = await until_state(service, draft, "approved")
    assert (failed["events"][-1]["what"], failed["job_id"]) == ("publication failed", None)
    assert (await take_snapshot(reader, FEED)).services[GYM]["title"] == "Direct"
    status, jobs = await service.call("GET", "/v1/jobs", roles=AUTHOR)
    assert [each["job_id"] for each in jobs["items"]] == [begun["job_id"]]
    assert (await service.call("GET", f"/v1/jobs/{begun['job_id']}", tenant="rbkc"))[0] == 404


async def test_rollback_and_schedule_take_the_same_way(service: Service) -> None:
    reader, people = await _crowd(service)
    draft = await approved(service, NEW)
    due = datetime.now(UTC) + timedelta(seconds=2)
    await act(service, draft, "schedule", {"publish_at": due.isoformat()})
    done = await until_state(service, draft, "published")
    assert done["published_version"] == 2
    status, back = await service.call("POST", f"/v1/services/{GYM}/rollback", {"why": "too strict"}, roles=AUTHOR)
    assert (status, back["version"], back["same_as"]) == (200, None, 1)
    await _until(service, back["job_id"], state="done")
    mirror = await take_snapshot(reader, FEED)
    assert mirror.services[GYM] == OLD
    assert _allowed(mirror, people) == [True] * 6
    _, versions = await service.call("GET", f"/v1/services/{GYM}/versions", roles=AUTHOR)
    assert [(each["version"], each["how"], each["why"]) for each in versions["items"]][:2] == [
        (3, "rolled back", "too strict"),
        (2, "published", "scheduled"),
    ]


async def test_people_of_a_council_it_is_shared_with_are_prepared_too(service: Service) -> None:
    _, people = await _crowd(service)
    status, person = await service.call(
        "POST", "/v1/people", {"given_name": "A", "family_name": "B", "date_of_birth": "1990-01-01"}, tenant="rbkc"
    )
    path = f"/v1/people/{person['person_id']}/facts"
    assert (await service.call("POST", path, {"kind": "residency", "name": "rbkc"}, tenant="rbkc"))[0] == 201
    status, card = await service.call("POST", "/v1/cards", {"person_id": person["person_id"]}, tenant="rbkc")
    assert status == 201
    made = gym(who={"all": [{"resident_of": ["wcc", "rbkc"]}, {"age": {"gte": 18}}]})
    status, draft = await service.call("POST", "/v1/drafts", {"document": made, "shared_with": ["rbkc"]}, roles=AUTHOR)
    name = draft["draft_id"]
    await act(service, name, "submit")
    await act(service, name, "approve", {"why": "agreed with them"}, roles="admin")
    begun = await act(service, name, "publish")
    await _until(service, begun["job_id"], state="done")
    theirs = await enrolled_reader(service, tenant="rbkc", site="kensington", feeds=("rbkc/leisure",))
    mirror = await take_snapshot(theirs, "rbkc/leisure")
    assert _allowed(mirror, [card]) == [True]
    assert set(mirror.services) == {GYM}
    ours = await take_snapshot(await enrolled_reader(service), FEED)
    assert _allowed(ours, people) == [False, True] * 3


async def test_a_service_is_taken_from_many_without_holding_up_a_revocation(service: Service) -> None:
    reader, people = await _crowd(service)
    before = await take_snapshot(reader, FEED)
    path = f"/v1/services/{GYM}/withdraw"
    async with _held(service.settings.database_url):
        status, begun = await service.call("POST", path, roles=AUTHOR)
        assert (status, begun["version"], begun["changed"]) == (200, None, False)
        await _until_stuck(service.settings.database_url)
        status, problem = await service.call("POST", path, roles=AUTHOR)
        assert (status, problem["code"]) == (409, "publication_running")
        gone = people[1]["card_id"]
        assert (await service.call("POST", f"/v1/cards/{gone}/revoke", {"reason": "stolen"}))[0] == 200
        mirror = await pull(reader, before)
        assert mirror.cards[people[1]["index"]][1] == "revoked"
        assert set(mirror.services) == {GYM}, "the old until all of the new is there"
    job = await job_done(service, begun["job_id"])
    assert (job["kind"], job["result"]["version"]) == ("withdraw", 1)
    after = await take_snapshot(reader, FEED)
    assert after.services == {}
    assert _granted(after, people) == [[]] * 6
    assert after.cards[people[1]["index"]][1] == "revoked"
    assert after.cards == await truth(service, FEED)
    status, problem = await service.call("POST", path, roles=AUTHOR)
    assert (status, problem["code"]) == (409, "service_not_published")


def _granted(mirror: Mirror, people: list[dict[str, Any]]) -> list[list[str]]:
    return [[name for name, _ in json.loads(mirror.cards[one["index"]][2])[0]] for one in people]


async def test_what_an_administrator_puts_in_force_for_many_tells_how_far_it_is(service: Service) -> None:
    reader, people = await _crowd(service)
    status, begun = await service.call("PUT", f"/v1/services/{GYM}", {"document": NEW})
    assert (status, begun["version"], begun["changed"], begun["feeds"]) == (200, None, False, {})
    job = await job_done(service, begun["job_id"])
    assert (job["kind"], job["done"], job["total"], job["result"]["version"]) == ("publish", 6, 6, 2)
    mirror = await take_snapshot(reader, FEED)
    assert mirror.services[GYM] == NEW
    assert _allowed(mirror, people) == [False, True] * 3
    status, same = await service.call("PUT", f"/v1/services/{GYM}", {"document": NEW})
    assert (status, same["version"], same["changed"], same["job_id"]) == (200, 2, False, None)
    wrong = {"document": gym(who=ADULTS, where={"sites": ["@nowhere"]})}
    assert (await service.call("PUT", f"/v1/services/{GYM}", wrong))[0] == 422


async def test_other_opening_hours_are_told_at_once_however_many_residents_there_are(service: Service) -> None:
    reader, _ = await _crowd(service)
    mirror = await take_snapshot(reader, FEED)
    made = OLD | {"when": {"windows": [{"days": ["mon"], "from": "09:00", "until": "17:00"}]}}
    status, done = await service.call("PUT", f"/v1/services/{GYM}", {"document": made})
    assert (status, done["version"], done["job_id"]) == (200, 2, None)
    assert done["feeds"] == {FEED: mirror.number + 1}, "the document, and not one card"
    await pull(reader, mirror)
    assert mirror.services[GYM] == made


async def test_a_lane_of_a_new_area_knows_every_card_and_who_may_use_nothing(service: Service) -> None:
    _, people = await _crowd(service)
    status, _ = await service.call("POST", f"/v1/people/{people[2]['person_id']}/facts", {"kind": "block", "name": "*"})
    assert status == 201
    gone = people[3]["card_id"]
    assert (await service.call("POST", f"/v1/cards/{gone}/revoke", {"reason": "stolen"}))[0] == 200
    # Somebody began to make the area and was killed; since then a card has changed and another was issued.
    db = service.app[PLATFORM].db
    await prepare_area(db, "wcc", "waste")
    late = people[4]["card_id"]
    assert (await service.call("POST", f"/v1/cards/{late}/suspend", {"reason": "asked for"}))[0] == 200
    people.append(await _person(service))
    lane = {"lane": "9", "name": "Lane 9", "areas": ["waste"]}
    status, _ = await service.call("PUT", "/v1/sites/tip", {"name": "The tip", "lanes": [lane]}, roles=AUTHOR)
    assert status == 200
    reader = await enrolled_reader(service, site="tip", feeds=("wcc/waste",))
    mirror = await take_snapshot(reader, "wcc/waste")
    assert mirror.cards == await truth(service, "wcc/waste")
    assert len(mirror.cards) == 7
    blocked = [json.loads(mirror.cards[one["index"]][2])[2] for one in people]
    assert blocked == [[], [], ["*"], [], [], [], []]
    assert mirror.cards[people[4]["index"]][1] == "suspended"
    assert mirror.cards[people[3]["index"]][1] == "revoked"
    await publish(service, document("wcc.waste.tip", area="waste"))
    assert len(_granted(await take_snapshot(reader, "wcc/waste"), people)) == 7
