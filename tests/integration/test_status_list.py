"""The public status list: without it a relying party that is no gate of ours takes a revoked card for a good one."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cardservice.app import PLATFORM
from cardservice.cards.expiry import expire_due_cards
from cardservice.db import SQL_FOLDER
from cardservice.feed.writer import next_issue_number
from cardservice.migrations import migrate
from cardservice.settings import Settings
from cardservice.status import lists
from cardservice.status.array import STEP
from cardservice.status.lists import LIFETIME_SECONDS, TTL_SECONDS
from entitlements.credential.keys import KeySet
from entitlements.credential.status import status_of
from entitlements.model import TenantId
from tests.support.registry import issue_card
from tests.support.service import Service, add_tenant, run_service
from tests.support.status import (
    INVALID,
    SUSPENDED,
    VALID,
    bits_at,
    claims_of,
    fetch,
    happens,
    keys_of,
    owner,
    status_claim,
    told,
)

LISTS = "0010_status_list.sql"
WAITING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are signed as often as something changes, so that no test depends on how long signing took."""
    monkeypatch.setattr(lists, "REST", 0)


async def test_a_relying_party_with_nothing_of_ours_sees_which_card_is_revoked_or_held(service: Service):
    cards = {
        event: await issue_card(service) for event in ("", "revoke", "suspend", "lost", "replace", "renew", "resume")
    }
    await happens(service, cards["resume"], "suspend")
    successors = {event: await happens(service, cards[event], event) for event in cards if event}
    claims = await claims_of(service)
    assert {event: bits_at(claims, card["index"]) for event, card in cards.items()} == {
        "": VALID,
        "revoke": INVALID,
        "suspend": SUSPENDED,
        "lost": INVALID,
        "replace": INVALID,
        "renew": INVALID,
        "resume": VALID,
    }
    assert bits_at(claims, successors["renew"]["index"]) == VALID
    for card in cards.values():
        assert status_claim(card) == {"idx": card["index"], "uri": claims["sub"]}
    assert claims["exp"] - claims["iat"] == LIFETIME_SECONDS
    assert claims["ttl"] == TTL_SECONDS
    assert claims["status_list"]["bits"] == 2
    assert claims.keys() == {"sub", "iat", "exp", "ttl", "status_list"}, "nothing of who or how many"
    _, body, _ = await fetch(service)
    keys = KeySet.from_jwks(TenantId("wcc"), await keys_of(service))
    for card in cards.values():
        ours = status_of(body, keys, card["index"], claims["iat"], uri=claims["sub"], issuer=TenantId("wcc"))
        assert ours == bits_at(claims, card["index"]), "our own verifier agrees"


async def test_each_change_is_in_the_next_list(service: Service):
    card = await issue_card(service)
    seen = [await told(service, card)]
    for event in ("suspend", "resume", "suspend", "revoke"):
        await happens(service, card, event)
        seen.append(await told(service, card))
    assert seen == [VALID, SUSPENDED, VALID, SUSPENDED, INVALID]


async def test_a_card_that_is_over_stops_at_whoever_forgets_to_look_at_its_expiry(service: Service):
    card, other = [await issue_card(service) for _ in range(2)]
    platform = service.app[PLATFORM]
    async with owner(service) as conn:
        await conn.execute("UPDATE card SET expires_at = now() WHERE card_index = $1", card["index"])
    assert await expire_due_cards(platform, datetime.now(UTC) + timedelta(seconds=1)) == 1
    claims = await claims_of(service)
    assert [bits_at(claims, each["index"]) for each in (card, other)] == [INVALID, VALID]


async def test_two_councils_never_mix(service: Service):
    ours, theirs = await issue_card(service), await issue_card(service, tenant="rbkc")
    async with owner(service) as conn:  # the very same index in both
        await conn.execute("UPDATE card SET card_index = $1 WHERE tenant = 'rbkc'", ours["index"])
    await happens(service, theirs, "revoke", "rbkc")
    wcc, rbkc = await claims_of(service), await claims_of(service, "rbkc")
    assert (bits_at(wcc, ours["index"]), bits_at(rbkc, ours["index"])) == (VALID, INVALID)
    assert wcc["sub"].endswith("/v1/tenants/wcc/status")
    assert rbkc["sub"].endswith("/v1/tenants/rbkc/status")
    kids = [{key["kid"] for key in (await keys_of(service, tenant))["keys"]} for tenant in ("wcc", "rbkc")]
    assert not kids[0] & kids[1]


async def test_no_name_of_a_council_opens_the_lists_of_all(service: Service):
    for tenant in ("nobody", "*", "%2A", "WCC", "x" * 100, "wcc%00"):
        status, body, _ = await fetch(service, tenant)
        assert (status, json.loads(body)["code"]) == (404, "tenant_not_found"), tenant


# Several processes, restarts, late commits


async def test_a_restart_serves_the_very_same_list(service: Service):
    cards = [await issue_card(service) for _ in range(3)]
    await happens(service, cards[1], "revoke")
    _, before, headers = await fetch(service)
    async with run_service(service.settings) as again:
        status, after, later = await fetch(again)
        assert (status, after, later["ETag"]) == (200, before, headers["ETag"])
        await happens(again, cards[2], "suspend")
        claims = await claims_of(again)
    assert [bits_at(claims, card["index"]) for card in cards] == [VALID, INVALID, SUSPENDED]


async def test_a_process_killed_while_it_signs_leaves_the_list_whole(service: Service, monkeypatch: pytest.MonkeyPatch):
    card = await issue_card(service)
    _, before, _ = await fetch(service)
    await happens(service, card, "revoke")

    def die(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(lists, "_encoded", die)  # the list is written and its transaction is still open
        assert (await fetch(service))[0] == 500
    async with owner(service) as conn:
        assert await conn.fetchval("SELECT token FROM status_list") == before.decode()
    assert await told(service, card) == INVALID


async def test_all_processes_serve_one_list_and_each_sees_what_another_changed(service: Service):
    async with run_service(service.settings) as second:
        cards = [await issue_card(service) for _ in range(2)]
        bodies = {(await fetch(each))[1] for each in (service, second, service)}
        assert len(bodies) == 1
        for here, there, card in ((service, second, cards[0]), (second, service, cards[1])):
            await happens(here, card, "revoke")
            assert await told(there, card) == INVALID
            assert (await fetch(here))[1] == (await fetch(there))[1]
        last = await issue_card(service)
        await happens(service, last, "revoke")
        answers = await asyncio.gather(*(fetch(each) for each in (service, second) for _ in range(8)))
        assert {status for status, _, _ in answers} == {200}
        assert len({body for _, body, _ in answers}) == 1
    async with owner(service) as conn:
        assert await conn.fetchval("SELECT version FROM status_list") == 4, "signed once for each change"


async def test_a_revocation_that_commits_late_is_not_skipped(service: Service):
    for numbered in (True, False):  # as the office does, and by a hand that knows nothing of numbers
        slow, quick = [await issue_card(service) for _ in range(2)]
        await fetch(service)
        async with service.app[PLATFORM].db.transaction("wcc") as conn:
            if numbered:
                await next_issue_number(conn, "wcc")
            await conn.execute("UPDATE card SET state = 'revoked' WHERE card_index = $1", slow["index"])
            later = asyncio.create_task(happens(service, quick, "revoke"))
            async with owner(service) as watch:
                while not later.done() and not await watch.fetchval(WAITING):
                    pass  # it either waits for the lock, or gets past, and then the list would have both numbers
            assert await told(service, slow) == VALID, "not committed yet"
        await later
        claims = await claims_of(service)
        assert [bits_at(claims, card["index"]) for card in (slow, quick)] == [INVALID, INVALID]


async def test_cards_imported_as_revoked_are_in_the_list(service: Service):
    card = await issue_card(service)
    await fetch(service)
    async with owner(service) as conn:
        await conn.execute(
            "INSERT INTO card (tenant, card_id, card_index, person_id, state, kid, issue_number, issued_at, expires_at)"
            " SELECT tenant, '\\x0102030405060708', $1, person_id, 'revoked', kid, 1, now(), expires_at FROM card",
            3 * STEP,
        )
    claims = await claims_of(service)
    assert [bits_at(claims, index) for index in (card["index"], 3 * STEP)] == [VALID, INVALID]


async def test_more_changes_than_are_read_at_a_time(service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lists, "PAGE", 3)
    cards = [await issue_card(service) for _ in range(10)]
    for card in cards[:2]:
        await happens(service, card, "revoke")
    async with owner(service) as conn:  # five more at one number, as an hour's expired cards have
        await conn.execute(
            "UPDATE card SET state = 'expired' WHERE card_index = ANY ($1)", [c["index"] for c in cards[2:7]]
        )
    async with run_service(service.settings) as fresh:
        claims = await claims_of(fresh)
    assert [bits_at(claims, card["index"]) for card in cards] == [INVALID] * 7 + [VALID] * 3


async def test_a_council_that_revoked_cards_before_there_were_lists(postgres_url: str, redis_url: str, tmp_path: Path):
    name = f"rescard_{uuid.uuid4().hex[:16]}"
    url = f"{postgres_url.rpartition('/')[0]}/{name}"
    admin = await asyncpg.connect(postgres_url)
    old = tmp_path / "migrations"
    old.mkdir()
    for file in (SQL_FOLDER / "migrations").glob("*.sql"):
        if file.name != LISTS:
            shutil.copy(file, old)
    settings = Settings(
        database_url=url, redis_url=redis_url, bind="127.0.0.1:0", key_encryption_key="a secret of the past " * 2
    )
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        await migrate(url, old)
        await add_tenant(settings, "wcc", "Westminster City Council")
        conn = await asyncpg.connect(url)
        await conn.execute("DELETE FROM signing_key WHERE purpose = 'status'")  # nor was there a key for lists
        person = await conn.fetchval(
            "INSERT INTO person (tenant, given_name, family_name) VALUES ('wcc', 'Ada', 'Test') RETURNING person_id"
        )
        for index, (state, version) in enumerate([("active", 1), ("revoked", 2), ("suspended", 2), ("active", 3)]):
            await conn.execute(
                "INSERT INTO card (tenant, card_id, card_index, person_id, state, version, kid, issue_number,"
                " issued_at, expires_at) SELECT 'wcc', $1, $2, $3, $4, $5, kid, 1, now(), now() + interval '1 year'"
                " FROM signing_key WHERE purpose = 'card'",
                *(index.to_bytes(8, "big"), index, person, state, version),
            )
        await conn.close()
        assert list(await migrate(url)) == [LISTS]
        async with run_service(settings) as service:
            claims = await claims_of(service)
        assert [bits_at(claims, index) for index in range(4)] == [VALID, INVALID, SUSPENDED, VALID]
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()
