"""The public status list: without it a relying party that is no gate of ours takes a revoked card for a good one."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import shutil
import uuid
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import jwt
import pytest

from cardservice.app import PLATFORM
from cardservice.cards.expiry import expire_due_cards
from cardservice.db import SQL_FOLDER, Database
from cardservice.feed.writer import next_issue_number
from cardservice.migrations import migrate
from cardservice.settings import Settings
from cardservice.status import lists
from cardservice.status.array import STEP, entries_for
from cardservice.status.lists import LIFETIME_SECONDS, RENEW_SECONDS, TTL_SECONDS, StatusLists
from entitlements.credential.keys import KeySet
from entitlements.credential.status import status_of
from entitlements.model import TenantId
from tests.support.registry import issue_card
from tests.support.service import Service, add_tenant, run_service

VALID, INVALID, SUSPENDED = 0, 1, 2
LISTS = "0010_status_list.sql"
WAITING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are signed as often as something changes, so that no test depends on how long signing took."""
    monkeypatch.setattr(lists, "REST", 0)


async def fetch(service: Service, tenant: str = "wcc", query: str = "", **headers: str) -> tuple[int, bytes, Any]:
    """Status, body as it came over the wire, and headers."""
    asked = {"Accept-Encoding": "identity"} | {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{service.url}/v1/tenants/{tenant}/status{query}"
    async with service.http.get(url, headers=asked) as response:
        return response.status, await response.read(), response.headers.copy()


async def keys_of(service: Service, tenant: str = "wcc") -> dict[str, Any]:
    async with service.http.get(f"{service.url}/v1/tenants/{tenant}/jwks.json?purpose=status") as response:
        return dict(await response.json())


async def claims_of(service: Service, tenant: str = "wcc", body: bytes | None = None) -> dict[str, Any]:
    """The list's claims, verified by PyJWT and the published keys alone."""
    if body is None:
        status, body, _ = await fetch(service, tenant)
        assert status == 200, body
    header = jwt.get_unverified_header(body)
    assert header["typ"] == "statuslist+jwt"
    keys = jwt.PyJWKSet.from_dict(await keys_of(service, tenant))
    return dict(jwt.decode(body, key=keys[header["kid"]], algorithms=["ES256"]))


def bits_at(claims: Mapping[str, Any], index: int) -> int:
    """A status, read by nothing of ours: the draft's rules in five lines."""
    lst, bits = claims["status_list"]["lst"], claims["status_list"]["bits"]
    octets = zlib.decompress(base64.urlsafe_b64decode(lst + "=" * (-len(lst) % 4)))
    text = "".join(f"{octet:08b}"[::-1] for octet in octets[: (index + 1) * bits // 8 + 1])
    return int(text[index * bits : (index + 1) * bits][::-1], 2)


async def told(service: Service, card: Mapping[str, Any], tenant: str = "wcc") -> int:
    """What the list says of a card now."""
    return bits_at(await claims_of(service, tenant), card["index"])


async def happens(service: Service, card: Mapping[str, Any], event: str, tenant: str = "wcc") -> Any:
    status, answer = await service.call("POST", f"/v1/cards/{card['card_id']}/{event}", tenant=tenant)
    assert status in (200, 201), answer
    return answer


def status_claim(card: Mapping[str, Any]) -> dict[str, Any]:
    """Where the signed card itself says that its status stands."""
    decoded = jwt.decode(card["token"], options={"verify_signature": False})
    return dict(decoded["status"]["status_list"])


@asynccontextmanager
async def owner(service: Service) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(service.settings.database_url)
    try:
        yield conn
    finally:
        await conn.close()


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


# When a list is signed anew


async def test_nothing_is_signed_while_no_status_changes(service: Service):
    card = await issue_card(service)
    _, before, _ = await fetch(service)
    for _ in range(3):
        await issue_card(service)
    assert (await fetch(service))[1] == before, "an issued card looks like one that was never issued"
    await happens(service, card, "suspend")
    await happens(service, card, "resume")
    assert (await fetch(service))[1] == before


async def test_a_list_never_gets_near_its_end(service: Service):
    card = await issue_card(service)
    await happens(service, card, "revoke")
    ours = service.app[PLATFORM].status
    first = await ours.current("wcc", datetime.now(UTC))
    half = datetime.fromtimestamp(first.expires_at - RENEW_SECONDS, UTC)
    assert await ours.current("wcc", half) is first
    second = await ours.current("wcc", half + timedelta(seconds=1))
    assert second.expires_at == first.expires_at + LIFETIME_SECONDS - RENEW_SECONDS + 1
    assert second.listing.packed == first.listing.packed


async def test_the_list_has_room_for_every_card_that_is_issued_while_it_is_kept(service: Service):
    first = await claims_of(service)
    assert bits_at(first, 2 * STEP - 1) == VALID
    async with owner(service) as conn:
        await conn.execute("UPDATE tenant SET cards_numbered = $1 WHERE tenant = 'wcc'", 3 * STEP)
    card = await issue_card(service)
    assert card["index"] >= 3 * STEP
    await happens(service, card, "suspend")
    claims = await claims_of(service)
    assert bits_at(claims, card["index"]) == SUSPENDED
    assert bits_at(claims, entries_for(3 * STEP) - 1) == VALID


async def test_another_address_of_the_service_makes_another_list(service: Service):
    await fetch(service)
    moved = service.settings.model_copy(update={"public_url": "https://cards.example.gov.uk"})
    async with run_service(moved) as again:
        card = await issue_card(again)
        assert (await claims_of(again))["sub"] == status_claim(card)["uri"]
        assert status_claim(card)["uri"].startswith("https://cards.example.gov.uk/")


async def test_a_revoked_key_signs_no_list_and_the_next_key_does(service: Service):
    card = await issue_card(service)
    await happens(service, card, "revoke")
    _, body, _ = await fetch(service)
    old = jwt.get_unverified_header(body)["kid"]
    async with owner(service) as conn:
        await conn.execute("UPDATE signing_key SET state = 'revoked' WHERE kid = $1", old)
    status, problem, headers = await fetch(service)
    assert (status, json.loads(problem)["code"], headers["Retry-After"]) == (503, "no_signing_key", "60")
    platform = service.app[PLATFORM]
    async with platform.db.transaction("wcc") as tenant_conn:
        new = await platform.keys.create(tenant_conn, "wcc", "status", "active")
    _, body, _ = await fetch(service)
    assert jwt.get_unverified_header(body)["kid"] == new.kid
    assert bits_at(await claims_of(service, body=body), card["index"]) == INVALID


async def test_a_list_signed_by_a_key_that_was_rolled_over_stands(service: Service):
    card = await issue_card(service)
    _, before, _ = await fetch(service)
    async with owner(service) as conn:
        await conn.execute("UPDATE signing_key SET state = 'retired' WHERE tenant = 'wcc' AND purpose = 'status'")
    platform = service.app[PLATFORM]
    async with platform.db.transaction("wcc") as tenant_conn:
        new = await platform.keys.create(tenant_conn, "wcc", "status", "active")
    assert (await fetch(service))[1] == before
    await happens(service, card, "revoke")
    _, after, _ = await fetch(service)
    assert jwt.get_unverified_header(after)["kid"] == new.kid
    for body in (before, after):
        assert (await claims_of(service, body=body))["ttl"] == TTL_SECONDS, "both keys are published"


async def test_a_stored_list_that_cannot_be_read_is_made_anew(service: Service):
    card = await issue_card(service)
    await happens(service, card, "revoke")
    await fetch(service)
    async with owner(service) as conn:
        await conn.execute("UPDATE status_list SET token = 'eyJ.AAAA.AAAA', version = version + 1")
    assert await told(service, card) == INVALID


async def test_without_the_database_the_list_stands_until_it_expires(service: Service, monkeypatch: pytest.MonkeyPatch):
    platform = service.app[PLATFORM]
    now = datetime.now(UTC)
    held = await platform.status.current("wcc", now)

    def away(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(Database, "transaction", away)
    assert await platform.status.current("wcc", now + timedelta(hours=23)) is held
    for tenant, later in (("wcc", 24), ("rbkc", 0)):
        with pytest.raises(ConnectionRefusedError):
            await platform.status.current(tenant, now + timedelta(hours=later))
    assert (await fetch(service))[1] == held.token


async def test_a_flood_of_changes_does_not_keep_the_service_signing(service: Service, monkeypatch: pytest.MonkeyPatch):
    card = await issue_card(service)
    monkeypatch.setattr(lists, "REST", 10**9)
    assert await told(service, card) == VALID
    await happens(service, card, "revoke")
    assert await told(service, card) == VALID, "this process rests"
    platform = service.app[PLATFORM]
    other = StatusLists(platform.db, platform.keys, service.settings)
    assert (await other.current("wcc", datetime.now(UTC))).listing.status(card["index"]) == INVALID
    assert await told(service, card) == INVALID, "what another signed is served at once"


# HTTP


async def test_whoever_keeps_the_list_asks_again_for_nothing_but_a_change(service: Service):
    card = await issue_card(service)
    status, body, headers = await fetch(service)
    assert (status, headers["Content-Type"]) == (200, "application/statuslist+jwt")
    assert headers["Cache-Control"] == f"public, max-age={TTL_SECONDS}"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Vary"] == "Accept, Accept-Encoding"
    status, none, again = await fetch(service, If_None_Match=headers["ETag"])
    assert (status, none, again["ETag"], again["Cache-Control"]) == (
        304,
        b"",
        headers["ETag"],
        headers["Cache-Control"],
    )
    await happens(service, card, "revoke")
    status, after, later = await fetch(service, If_None_Match=headers["ETag"])
    assert status == 200
    assert after != body
    assert later["ETag"] != headers["ETag"]


async def test_the_list_is_compressed_for_whoever_can_read_that(service: Service):
    _, plain, headers = await fetch(service)
    async with aiohttp.ClientSession(auto_decompress=False) as raw:
        for accepted, zipped in {
            "gzip, br": True,
            "*": True,
            "br, gzip;q=0": False,
            "br": False,
            "gzip;q=x": False,
        }.items():
            url = f"{service.url}/v1/tenants/wcc/status"
            async with raw.get(url, headers={"Accept-Encoding": accepted}) as response:
                body = await response.read()
                assert ("gzip" in response.headers.get("Content-Encoding", "")) == zipped, accepted
                assert (gzip.decompress(body) if zipped else body) == plain
                assert (response.headers["ETag"] == headers["ETag"]) != zipped, "other bytes, another tag"
                assert response.headers["Content-Type"] == "application/statuslist+jwt"


async def test_nobody_gets_another_form_or_another_time_than_they_asked_for(service: Service):
    accepted = {
        "application/statuslist+jwt": 200,
        "application/statuslist+cwt, application/statuslist+jwt;q=0.1": 200,
        "*/*": 200,
        "application/*;q=0.5": 200,
        "application/statuslist+cwt": 406,
        "text/html": 406,
        "*/*, application/statuslist+jwt;q=0": 406,
    }
    assert {accept: (await fetch(service, Accept=accept))[0] for accept in accepted} == accepted
    queries = {"?time=1686925000": 501, "?time=x": 501, "?colour=red": 422}
    assert {query: (await fetch(service, query=query))[0] for query in queries} == queries
