"""When a list is signed anew and how it is served: without this a revocation is told late, or for ever told wrongly."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import jwt
import pytest

from cardservice.app import PLATFORM
from cardservice.db import Database
from cardservice.status import lists
from cardservice.status.array import STEP, entries_for
from cardservice.status.lists import LIFETIME_SECONDS, RENEW_SECONDS, TTL_SECONDS, StatusLists
from tests.support.registry import issue_card
from tests.support.service import Service, run_service
from tests.support.status import (
    INVALID,
    SUSPENDED,
    VALID,
    bits_at,
    claims_of,
    fetch,
    happens,
    owner,
    status_claim,
    told,
)


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are signed as often as something changes, so that no test depends on how long signing took."""
    monkeypatch.setattr(lists, "REST", 0)


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
