"""A key signs when every gate has it and not before: nobody may stand at a gate that has not heard of their card."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
from aiohttp import web

from cardservice.app import PLATFORM
from cardservice.keys.rotation import end_keys
from cardservice.settings import Settings
from tests.conftest import SECRET
from tests.support.feed import Mirror, document, publish, take_snapshot
from tests.support.keys import grown_up, key_of, published_key, rotated, until_key
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.registry import add_person, issue_card
from tests.support.service import Service, add_tenant, run_service
from tests.support.state import changes_after, post

FEED = "wcc/leisure"
START_SECONDS = 30.0


async def _report(reader: FakeReader, mirror: Mirror) -> None:
    """The reader says how far it is."""
    feeds = {mirror.feed: (mirror.epoch, mirror.number)}
    assert (await reader.call("POST", "/v1/reader/status", reader.status(feeds=feeds)))[0] == 200


async def _learn(reader: FakeReader, mirror: Mirror) -> None:
    """The reader applies what there is, and says so."""
    await changes_after(reader, mirror)
    await _report(reader, mirror)


async def _site(service: Service, *, feeds: tuple[str, ...] = (FEED,), **more: Any) -> tuple[FakeReader, Mirror]:
    """A reader that has everything so far."""
    reader = await enrolled_reader(service, feeds=feeds, **more)
    mirror = await take_snapshot(reader, feeds[0])
    await _report(reader, mirror)
    return reader, mirror


async def _activate(service: Service, kid: str, body: Any = None) -> tuple[int, Any]:
    return await service.call("POST", f"/v1/keys/{kid}/activate", body)


async def _audited(service: Service, action: str) -> list[dict[str, Any]]:
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        rows = await conn.fetch(
            "SELECT actor, subject, detail FROM audit WHERE tenant = 'wcc' AND action = $1 ORDER BY audit_id", action
        )
    return [dict(row) for row in rows]


async def test_a_key_that_a_gate_has_not_does_not_sign(service: Service):
    await publish(service, document())
    reader, mirror = await _site(service)
    key = await published_key(service)
    await grown_up(service, key["kid"])
    status, problem = await _activate(service, key["kid"])
    assert (status, problem["code"]) == (409, "key_not_everywhere")
    (late,) = problem["readers"]
    assert (late["reader_id"], late["name"]) == (reader.reader_id, "porchester daemon")
    assert late["feeds"] == [{"area": "leisure", "needs": mirror.number + 1, "has": mirror.number}]
    assert late["seconds"] is not None
    assert "porchester daemon" in problem["detail"]
    assert (await key_of(service, key["kid"]))["awaited"] == [late]
    await _learn(reader, mirror)
    assert (await key_of(service, key["kid"]))["awaited"] == []
    assert (await _activate(service, key["kid"]))[1]["state"] == "active"


async def test_a_key_is_known_to_others_before_it_signs(service: Service):
    key = await published_key(service)
    status, problem = await _activate(service, key["kid"])
    assert (status, problem["code"]) == (409, "key_too_young")
    assert problem["earliest"] == (await key_of(service, key["kid"]))["earliest"].replace("Z", "+00:00")
    await grown_up(service, key["kid"])
    assert (await _activate(service, key["kid"]))[0] == 200


async def test_an_emergency_need_not_wait_and_is_on_record(service: Service):
    await publish(service, document())
    await _site(service)
    key = await published_key(service)
    assert (await _activate(service, key["kid"], {"force": True}))[0] == 422
    assert (await _activate(service, key["kid"], {"reason": "in a hurry"}))[0] == 409, "a reason alone forces nothing"
    status, active = await _activate(service, key["kid"], {"force": True, "reason": "the old key was stolen"})
    assert (status, active["state"]) == (200, "active")
    (entry,) = await _audited(service, "key.activate")
    assert entry["detail"]["forced"] == "the old key was stolen"
    assert entry["detail"]["without"] == ["porchester daemon"]


async def test_gates_that_are_gone_hold_nobody_up_but_are_named(service: Service):
    await publish(service, document())
    gone, _ = await _site(service, site="queens-hall")
    ended, _ = await _site(service, site="jubilee")
    key = await published_key(service)
    await grown_up(service, key["kid"])
    assert len((await _activate(service, key["kid"]))[1]["readers"]) == 2
    assert (await service.call("POST", f"/v1/readers/{ended.reader_id}/revoke"))[0] == 200
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE reader SET last_seen_at = now() - interval '8 days'")
    status = await key_of(service, key["kid"])
    assert (status["awaited"], [reader["reader_id"] for reader in status["absent"]]) == ([], [gone.reader_id])
    assert (await _activate(service, key["kid"]))[0] == 200


async def test_gates_of_the_neighbour_that_take_our_cards_are_waited_for(service: Service):
    shared = document("wcc.leisure.gym", who={"all": [{"resident_of": ["wcc", "rbkc"]}]})
    await publish(service, shared, shared_with=("rbkc",))
    theirs, mirror = await _site(service, tenant="rbkc", site="kensington", feeds=(FEED, "rbkc/leisure"))
    key = await published_key(service)
    await grown_up(service, key["kid"])
    status, problem = await _activate(service, key["kid"])
    assert (status, [reader["tenant"] for reader in problem["readers"]]) == (409, ["rbkc"])
    await _learn(theirs, mirror)
    assert (await _activate(service, key["kid"]))[0] == 200


async def test_a_gate_that_took_everything_anew_has_the_key_whatever_the_numbers_say(service: Service):
    await publish(service, document())
    reader, mirror = await _site(service)
    key = await published_key(service)
    await grown_up(service, key["kid"])
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE feed SET epoch = gen_random_uuid() WHERE tenant = 'wcc'")
        await conn.execute("DELETE FROM feed_snapshot")
    assert (await _activate(service, key["kid"]))[1]["code"] == "key_not_everywhere"
    await publish(service, document("wcc.libraries.visit"))  # a feed that begins after the key begins with it
    again = await take_snapshot(reader, FEED)
    assert again.epoch != mirror.epoch
    assert key["kid"] in {each["kid"] for each in again.meta.keys["keys"]}
    await _report(reader, again)
    assert (await _activate(service, key["kid"]))[0] == 200


async def test_keys_of_other_purposes_wait_for_age_alone(service: Service):
    await publish(service, document())
    await _site(service)
    key = await published_key(service, purpose="status")
    assert (await _activate(service, key["kid"]))[1]["code"] == "key_too_young"
    await grown_up(service, key["kid"])
    assert (await _activate(service, key["kid"]))[0] == 200


async def test_a_rotation_ends_by_itself_when_the_slowest_gate_has_the_key(service: Service):
    await publish(service, document())
    quick, slow = await _site(service), await _site(service, site="queens-hall")
    old = jwt.get_unverified_header((await issue_card(service))["token"])["kid"]
    key = await rotated(service)
    assert (key["state"], key["rotation_by"]) == ("published", "token:test-admin")
    again = await service.call("POST", "/v1/keys/rotate")
    assert (again[0], again[1]["code"], again[1]["kid"]) == (409, "key_rotation_going", key["kid"])
    await grown_up(service, key["kid"])
    await _learn(*quick)
    await until_key(service, key["kid"], lambda found: [each["site"] for each in found["awaited"]] == ["Queens-Hall"])
    service.app[PLATFORM].rotations.wake()
    assert jwt.get_unverified_header((await issue_card(service))["token"])["kid"] == old
    await _learn(*slow)
    service.app[PLATFORM].rotations.wake()
    done = await until_key(service, key["kid"], lambda found: found["state"] == "active")
    assert (done["rotation_by"], done["awaited"]) == ("token:test-admin", [])
    assert jwt.get_unverified_header((await issue_card(service))["token"])["kid"] == key["kid"]
    (entry,) = await _audited(service, "key.activate")
    assert entry["actor"] == "rotation for token:test-admin"
    assert (await rotated(service))["state"] == "published", "and the next one may begin"


async def test_a_rotation_can_be_called_off_and_be_forced(service: Service):
    key = await rotated(service)
    assert (await service.call("POST", f"/v1/keys/{key['kid']}/retire"))[1]["state"] == "retired"
    await grown_up(service, key["kid"])
    service.app[PLATFORM].rotations.wake()
    forced = await rotated(service, force=True, reason="the key custodian left")
    assert forced["state"] == "active"
    assert (await key_of(service, key["kid"]))["state"] in ("retired", "ended")
    assert jwt.get_unverified_header((await issue_card(service))["token"])["kid"] == forced["kid"]


async def test_a_forced_key_is_not_put_out_of_place_by_a_rotation_that_was_on_its_way(service: Service):
    pending = await rotated(service)
    forced = await rotated(service, force=True, reason="the administrator's machine was stolen")
    await grown_up(service, pending["kid"])
    service.app[PLATFORM].rotations.wake()
    found = await key_of(service, pending["kid"])
    assert (found["state"], found["rotation_by"]) == ("published", None)
    (entry,) = await _audited(service, "key.activate")
    assert entry["detail"]["called_off"] == [pending["kid"]]
    assert (await key_of(service, forced["kid"]))["state"] == "active"


async def test_after_a_stolen_feed_key_a_gate_can_still_begin(service: Service):
    await publish(service, document())
    reader, before = await _site(service)
    stolen = next(key["kid"] for key in (await service.call("GET", "/v1/keys"))[1]["items"] if key["purpose"] == "feed")
    await rotated(service, purpose="feed", force=True, reason="stolen")
    await service.call("POST", f"/v1/keys/{stolen}/revoke")
    again = await take_snapshot(reader, FEED)  # verified with the keys that are believed now
    assert again.number == before.number


async def test_of_many_processes_one_moves_the_key_on(service: Service, settings: Settings):
    async with run_service(settings), run_service(settings) as third:
        key = await rotated(service)
        await grown_up(service, key["kid"])
        for one in (service, third):
            one.app[PLATFORM].rotations.wake()
        await until_key(third, key["kid"], lambda found: found["state"] == "active")
        service.app[PLATFORM].rotations.wake()
    assert len(await _audited(service, "key.activate")) == 1


async def test_cards_are_issued_and_keys_changed_at_the_same_moment(service: Service):
    """The key that a card refers to is locked by whoever changes it: they must not wait for each other."""
    people = [await add_person(service) for _ in range(12)]

    async def issue(person: str) -> str:
        return str((await post(service, "/v1/cards", {"person_id": person}))["token"])

    async def force() -> str:
        return str((await rotated(service, force=True, reason="drill"))["kid"])

    done = await asyncio.gather(*(work for person in people for work in (issue(person), force())))
    kids = set(done[1::2])
    first = {key["kid"] for key in (await service.call("GET", "/v1/keys"))[1]["items"]} - kids
    assert {jwt.get_unverified_header(token)["kid"] for token in done[0::2]} <= kids | first
    keys = jwt.PyJWKSet.from_dict(await (await service.http.get(f"{service.url}/v1/tenants/wcc/jwks.json")).json())
    for token in done[0::2]:
        jwt.decode(token, key=keys[jwt.get_unverified_header(token)["kid"]], algorithms=["ES256"])


@asynccontextmanager
async def _process(settings: Settings) -> AsyncIterator[tuple[asyncio.subprocess.Process, Service]]:
    """The service in a process of its own that can be killed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESCARD_", "REDIS_URL"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cardservice", "serve"),
        env={
            **kept,
            "DATABASE_URL": settings.database_url,
            "RESCARD_KEY_ENCRYPTION_KEY": SECRET,
            "RESCARD_BIND": "127.0.0.1:0",
            "RESCARD_LOG_FORMAT": "json",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as http:
            while True:
                line = await process.stderr.readline()
                assert line, "it ended before it served"
                told = json.loads(line)
                if told.get("event") == "serving":
                    break
            yield process, Service(url=told["address"], settings=settings, app=web.Application(), http=http)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_service_killed_between_publishing_and_activating_goes_on_where_it_was(settings: Settings):
    await add_tenant(settings, "wcc", "Westminster City Council")
    async with _process(settings) as (process, service):
        await publish(service, document())
        card = await issue_card(service)
        key = await rotated(service)
        process.kill()
        await process.wait()
    async with run_service(settings) as service:
        old = jwt.get_unverified_header(card["token"])["kid"]
        assert (await key_of(service, key["kid"]))["state"] == "published"
        assert jwt.get_unverified_header((await issue_card(service))["token"])["kid"] == old
        reader, mirror = await _site(service)
        assert key["kid"] in {each["kid"] for each in mirror.meta.keys["keys"]}
        await grown_up(service, key["kid"])
        await _report(reader, mirror)
        service.app[PLATFORM].rotations.wake()
        await until_key(service, key["kid"], lambda found: found["state"] == "active")
        new = (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[1]["token"]
        assert jwt.get_unverified_header(new)["kid"] == key["kid"]


async def test_a_retired_key_is_believed_until_the_last_card_that_it_may_have_signed_is_over(service: Service):
    await publish(service, document())
    platform = service.app[PLATFORM]
    card = await issue_card(service, valid_days=30)
    old = jwt.get_unverified_header(card["token"])["kid"]
    new = (await rotated(service, force=True, reason="drill"))["kid"]
    async with platform.db.transaction("wcc") as conn:
        await conn.execute("UPDATE signing_key SET retired_at = retired_at - interval '40 days' WHERE kid = $1", old)
        now = await conn.fetchval("SELECT now()")
        await conn.execute("UPDATE card SET issued_at = issued_at - interval '41 days'")
    await issue_card(service)  # younger than the old key's last signature: it keeps nothing
    assert await end_keys(platform.db, platform.hub, now) == 0, "a card is about"
    async with platform.db.transaction("wcc") as conn:
        await conn.execute(
            "UPDATE card SET expires_at = now() - interval '1 day' WHERE card_id = decode($1, 'base64')",
            card["card_id"].replace("-", "+").replace("_", "/") + "=",
        )
    assert await end_keys(platform.db, platform.hub, now) == 1
    assert (await key_of(service, old))["state"] == "ended"
    body = await (await service.http.get(f"{service.url}/v1/tenants/wcc/jwks.json")).json()
    assert [each["kid"] for each in body["keys"]] == [new]
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    assert [each["kid"] for each in mirror.meta.keys["keys"]] == [new], "gates are told"
    assert await end_keys(platform.db, platform.hub, now) == 0


async def test_after_an_emergency_the_desk_is_told_how_many_cards_need_a_new_code(service: Service):
    first = [await issue_card(service) for _ in range(3)]
    old = jwt.get_unverified_header(first[0]["token"])["kid"]
    await service.call("POST", f"/v1/cards/{first[2]['card_id']}/revoke", {"reason": "moved away"})
    new = (await rotated(service, force=True, reason="the machine was stolen"))["kid"]
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE card SET issued_at = issued_at - interval '2 days'")
        await conn.execute("UPDATE signing_key SET retired_at = retired_at - interval '1 day' WHERE kid = $1", old)
    await issue_card(service)
    assert (await key_of(service, new))["cards"] == {"issued": 1, "perhaps": 2}
    status, answer = await service.call("POST", f"/v1/keys/{old}/revoke", {"reason": "the machine was stolen"})
    assert (status, answer["state"], answer["cards"]) == (200, "revoked", {"issued": 2, "perhaps": 0})
    (entry,) = await _audited(service, "key.revoke")
    assert entry["detail"]["reason"] == "the machine was stolen"
    for card in first[:2]:
        again = (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[1]["token"]
        assert jwt.get_unverified_header(again)["kid"] == new
