"""Reads of one statement, without a transaction around them: the councils stay apart and sessions stay clean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from cardservice.api.tokens import REMEMBERED_SECONDS
from cardservice.app import PLATFORM, endpoints
from cardservice.db import Database, queries
from tests.support.registry import add_person
from tests.support.service import Service, run_service

TABLES = ("tenant", "person", "signing_key", "api_token", "audit")


@pytest.fixture
async def narrow(service: Service) -> AsyncIterator[Database]:
    """The service's way in with a single connection, which everybody gets in turn."""
    database = Database(service.settings.database_url, pool_size=1)
    await database.open()
    yield database
    await database.close()


async def test_a_single_read_shows_the_rows_of_one_council_and_the_next_those_of_its_own(
    service: Service, narrow: Database
):
    people = {tenant: UUID(await add_person(service, tenant=tenant)) for tenant in ("wcc", "rbkc")}
    for tenant, other in (("wcc", "rbkc"), ("rbkc", "wcc"), ("wcc", "rbkc")):
        reading = narrow.reading(tenant)
        for table in TABLES:
            seen = {row["tenant"] for row in await reading.fetch(f"SELECT tenant FROM {table}")}
            assert seen == {tenant}, table
        assert await queries().people.get(reading, tenant=tenant, person_id=people[tenant]) is not None
        assert await queries().people.get(reading, tenant=other, person_id=people[other]) is None


async def test_single_reads_of_both_councils_at_once_never_see_each_other(service: Service):
    people = {tenant: await add_person(service, tenant=tenant) for tenant in ("wcc", "rbkc")}

    async def look(tenant: str, owner: str) -> None:
        status, _ = await service.call("GET", f"/v1/people/{people[owner]}", tenant=tenant)
        assert status == (200 if tenant == owner else 404)

    pairs = [(tenant, owner) for tenant in people for owner in people]
    await asyncio.gather(*(look(*pair) for pair in pairs * 25))


async def test_after_a_single_read_the_connection_shows_nothing_to_whoever_names_no_council(
    service: Service, narrow: Database
):
    await add_person(service)
    assert await narrow.reading("wcc").fetchval("SELECT count(*) FROM person") == 1
    async with narrow.pool.acquire() as conn:
        assert not await conn.fetchval("SELECT current_setting('rescard.tenant', true)")
        assert await conn.fetchval("SELECT count(*) FROM person") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM catalogue_list RETURNING name",
        "INSERT INTO catalogue_list (tenant, name, kind, members) VALUES ('wcc', 'x', 'calendar', '{}') RETURNING name",
        "WITH gone AS (DELETE FROM catalogue_list RETURNING name) SELECT name FROM gone",
        "UPDATE person SET family_name = 'x' RETURNING person_id",
    ],
)
async def test_nothing_can_be_written_where_only_a_read_was_declared(narrow: Database, statement: str):
    with pytest.raises((asyncpg.PostgresSyntaxError, asyncpg.FeatureNotSupportedError)):
        await narrow.reading("wcc").fetch(statement)


async def test_a_read_keeps_its_order_and_its_limit(service: Service, narrow: Database):
    ids = sorted([await add_person(service) for _ in range(7)])
    rows = await narrow.reading("wcc").fetch("SELECT person_id FROM person ORDER BY person_id DESC LIMIT $1", 5)
    assert [str(row["person_id"]) for row in rows] == ids[:1:-1]


async def test_what_one_user_leaves_in_a_session_never_reaches_the_next(service: Service, narrow: Database):
    async with narrow.pool.acquire() as conn:
        await conn.execute("SELECT set_config('rescard.tenant', 'wcc', false), pg_advisory_lock(77)")
    async with narrow.pool.acquire() as conn:
        assert not await conn.fetchval("SELECT current_setting('rescard.tenant', true)")
        assert await conn.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77") == 0
    # Nor where it used a transaction in between, or left it by an error.
    async with narrow.transaction("wcc") as conn:
        pass
    async with narrow.pool.acquire() as conn:
        await conn.execute("SELECT set_config('rescard.tenant', 'wcc', false)")
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with narrow.transaction("rbkc") as conn:
            await conn.execute("SELECT set_config('rescard.tenant', 'wcc', false), 1 / 0")
    async with narrow.pool.acquire() as conn:
        assert not await conn.fetchval("SELECT current_setting('rescard.tenant', true)")


async def test_a_token_revoked_at_one_process_ends_at_another_within_a_second(service: Service):
    made = (await service.call("POST", "/v1/tokens", {"label": "Desk", "roles": ["desk"]}))[1]
    headers = {"Authorization": f"Bearer {made['token']}"}
    async with run_service(service.settings) as other:
        remembered = other.app[PLATFORM].tokens
        now = 0.0
        remembered.clock = lambda: now
        assert (await other.call("GET", "/v1/people", headers=headers))[0] == 200
        assert (await service.call("POST", f"/v1/tokens/{made['token_id']}/revoke"))[0] == 200
        assert (await service.call("GET", "/v1/people", headers=headers))[0] == 401, "at once where it was revoked"
        now += REMEMBERED_SECONDS
        assert (await other.call("GET", "/v1/people", headers=headers))[0] == 401


def test_reads_without_a_transaction_are_declared_one_by_one():
    reading = {endpoint.path for endpoint in endpoints() if endpoint.reading}
    assert "/v1/people/{person_id}" in reading
    assert all(endpoint.method == "GET" and not endpoint.raw for endpoint in endpoints() if endpoint.reading)
