"""One council neither sees nor changes what belongs to the other: in the database itself, and over HTTP."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from cardservice.app import endpoints
from cardservice.db import Database
from tests.support.registry import add_person, issue_card
from tests.support.service import Service

SHARED_READING = {"site", "catalogue_list", "service_version", "reader_applied"}
"""Tables whose rows a council may show another on purpose; the rows of this test are shared with nobody."""


@pytest.fixture
async def owner(service: Service) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the schema, who sees everything."""
    conn = await asyncpg.connect(service.settings.database_url)
    yield conn
    await conn.close()


@pytest.fixture
async def wcc(service: Service) -> AsyncIterator[Database]:
    """The service's own way in: the role rescard_app."""
    database = Database(service.settings.database_url, pool_size=2)
    await database.open()
    yield database
    await database.close()


async def _tables(owner: asyncpg.Connection) -> list[str]:
    """All but the months of taps, which nobody but the owner may name (test_taps_by_month)."""
    rows = await owner.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' "
        "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace "
        "AND NOT a.attisdropped ORDER BY 1"
    )
    return [row["relname"] for row in rows]


async def _columns(owner: asyncpg.Connection, table: str) -> dict[str, str]:
    """Columns that must be given, with their types."""
    rows = await owner.fetch(
        "SELECT a.attname, format_type(a.atttypid, NULL) AS kind FROM pg_attribute a "
        "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
        "WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = '' "
        "AND d.oid IS NULL AND a.attnotnull",
        table,
    )
    return {row["attname"]: row["kind"] for row in rows}


VALUES = {
    "text": "'x'",
    "uuid": "gen_random_uuid()",
    "bytea": "'\\x0102030405060708'::bytea",
    "integer": "1",
    "smallint": "1",
    "bigint": "1",
    "double precision": "1",
    "boolean": "true",
    "timestamp with time zone": "now()",
    "jsonb": "'{}'",
    "text[]": "'{}'",
    "date": "current_date",
}


async def _plant(owner: asyncpg.Connection, table: str, tenant: str) -> None:
    """A row of ``tenant`` whatever the table: constraints that are not about tenants are out of the way."""
    columns = await _columns(owner, table)
    values = {name: f"'{tenant}'" if name == "tenant" else VALUES[kind] for name, kind in columns.items()}
    await owner.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})")


async def _loosen(owner: asyncpg.Connection) -> None:
    """Drop checks and foreign keys in this test's own database, so that any table takes a made-up row."""
    rows = await owner.fetch(
        "SELECT conrelid::regclass::text AS tab, conname FROM pg_constraint "
        "WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace AND coninhcount = 0 "
        "ORDER BY contype = 'c'"
    )
    for row in rows:
        await owner.execute(f'ALTER TABLE {row["tab"]} DROP CONSTRAINT IF EXISTS "{row["conname"]}"')


async def test_every_table_of_a_council_has_row_level_security_that_nobody_slips_past(owner: asyncpg.Connection):
    tables = await _tables(owner)
    assert len(tables) > 15
    rows = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relname = ANY ($1) AND NOT (relrowsecurity AND relforcerowsecurity)", tables
    )
    assert [row["relname"] for row in rows] == []
    role = await owner.fetchrow(
        "SELECT rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = 'rescard_app'"
    )
    assert tuple(role) == (False, False, False)


async def test_no_row_of_another_council_can_be_read_changed_moved_or_made(owner: asyncpg.Connection, wcc: Database):
    await _loosen(owner)
    for table in await _tables(owner):
        if not await owner.fetchval(f"SELECT count(*) FROM {table} WHERE tenant = 'rbkc'"):
            await _plant(owner, table, "rbkc")
        there = await owner.fetchval(f"SELECT count(*) FROM {table} WHERE tenant = 'rbkc'")
        assert there > 0
        async with wcc.transaction("wcc") as conn:
            assert await conn.fetchval(f"SELECT count(*) FROM {table} WHERE tenant = 'rbkc'") == 0, table
            for statement in (f"UPDATE {table} SET tenant = tenant", f"DELETE FROM {table}"):
                try:
                    async with conn.transaction():
                        done = await conn.execute(f"{statement} WHERE tenant = 'rbkc'")
                except asyncpg.InsufficientPrivilegeError:
                    continue  # the role may not do this to the table at all
                assert done.rpartition(" ")[2] == "0", (table, statement)
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"row-level security|permission denied"):
                async with conn.transaction():
                    await _insert_as_app(conn, owner, table)
        assert await owner.fetchval(f"SELECT count(*) FROM {table} WHERE tenant = 'rbkc'") == there, table


async def _insert_as_app(conn: Any, owner: asyncpg.Connection, table: str) -> None:
    columns = await _columns(owner, table)
    values = {name: "'rbkc'" if name == "tenant" else VALUES[kind] for name, kind in columns.items()}
    await conn.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})")


async def test_a_row_cannot_be_moved_to_another_council(owner: asyncpg.Connection, service: Service, wcc: Database):
    person_id = uuid.UUID(await add_person(service))
    async with wcc.transaction("wcc") as conn:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute("UPDATE person SET tenant = 'rbkc' WHERE person_id = $1", person_id)


async def test_a_transaction_that_names_no_council_sees_nothing(service: Service, wcc: Database):
    await add_person(service)
    async with wcc.pool.acquire() as conn:
        for table in ("person", "tenant", "signing_key", "api_token", "audit"):
            assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_the_service_cannot_rewrite_the_audit_a_ledger_or_what_a_gate_decided(owner: asyncpg.Connection):
    for table in ("audit", "tap", "passage", "ledger_entry", "money_transfer"):
        for right in ("UPDATE", "DELETE", "TRUNCATE"):
            assert not await owner.fetchval("SELECT has_table_privilege('rescard_app', $1, $2)", table, right)


async def test_over_http_the_ids_of_one_council_do_not_exist_for_the_other(service: Service):
    card = await issue_card(service)
    person_id = card["person_id"]
    fact = (await service.call("POST", f"/v1/people/{person_id}/facts", {"kind": "role", "name": "staff"}))[1]
    token = (await service.call("POST", "/v1/tokens", {"label": "x", "roles": ["desk"]}))[1]
    key = (await service.call("GET", "/v1/keys"))[1]["items"][0]
    ids = {
        "person_id": person_id,
        "card_id": card["card_id"],
        "fact_id": fact["fact_id"],
        "token_id": token["token_id"],
        "kid": key["kid"],
    }
    bodies: dict[tuple[str, str], dict[str, Any]] = {
        ("PUT", "/v1/people/{person_id}"): {"given_name": "a", "family_name": "b", "version": 1},
        ("POST", "/v1/people/{person_id}/facts"): {"kind": "role", "name": "staff"},
        ("PUT", "/v1/people/{person_id}/pin"): {"pin": "847301"},
        ("POST", "/v1/cards/{card_id}/chip"): {"uid": "04C0FFEE112233"},
        ("POST", "/v1/cards/{card_id}/uid"): {"uid": "04C0FFEE112233"},
    }
    tried = 0
    for endpoint in endpoints():
        names = re.findall(r"{([a-z_]+)}", endpoint.path)
        if endpoint.access != "staff" or not names or not set(names) <= ids.keys():
            continue
        path = endpoint.path.format_map(ids)
        body = bodies.get((endpoint.method, endpoint.path))
        status, problem = await service.call(endpoint.method, path, body, tenant="rbkc")
        assert (status, problem["code"][-9:]) == (404, "not_found"), (endpoint.method, path)
        tried += 1
    assert tried >= 20
    assert (await service.call("POST", "/v1/cards", {"person_id": person_id}, tenant="rbkc"))[0] == 404
    for path in ("/v1/people", "/v1/cards", f"/v1/cards?person_id={person_id}"):
        assert (await service.call("GET", path, tenant="rbkc"))[1]["items"] == []
    state = (await service.call("GET", f"/v1/cards/{card['card_id']}"))[1]["state"]
    assert state == "active", "nothing happened to it"


async def test_a_token_does_not_act_for_another_council_by_naming_it(service: Service):
    status, problem = await service.call("GET", "/v1/people", headers={"Rescard-Tenant": "rbkc"})
    assert (status, problem["code"]) == (403, "other_tenant")
    assert (await service.call("GET", "/v1/people", headers={"Rescard-Tenant": "*"}))[0] == 403


async def test_a_token_of_the_platform_acts_for_one_named_council_and_never_for_all(service: Service):
    person_id = await add_person(service)
    for name, wanted in (("wcc", 200), ("rbkc", 404), ("nobody", 404), ("*", 404)):
        headers = {"Rescard-Tenant": name}
        assert (await service.call("GET", f"/v1/people/{person_id}", tenant="*", headers=headers))[0] == wanted, name
    status, problem = await service.call("GET", "/v1/people", tenant="*")
    assert (status, problem["code"]) == (400, "tenant_missing")
