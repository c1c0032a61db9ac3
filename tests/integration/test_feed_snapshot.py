"""A reader that starts: the snapshot is whole, signed, and leads without a gap into the changes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest

from cardservice.app import PLATFORM
from cardservice.db import Connection, queries
from cardservice.feed.access import FeedRef
from cardservice.feed.snapshot import Built, Snapshots, build
from cardservice.feed.telling import milliseconds
from cardservice.feed.writer import recompile_tenant
from entitlements.credential.errors import TokenError
from entitlements.model import CardState
from entitlements.wire.feed import Manifest
from tests.support.feed import (
    PATIENCE,
    document,
    number_of,
    publish,
    pull,
    take_snapshot,
    truth,
    verified_manifest,
)
from tests.support.reader import enrolled_reader
from tests.support.registry import add_person, issue_card
from tests.support.service import Service, run_service

FEED = "wcc/leisure"


async def _residents(service: Service, count: int) -> list[dict]:
    cards = []
    for number in range(count):
        card = await issue_card(service)
        if number % 2:
            body = {"kind": "residency", "name": "wcc", "from": "2020-01-01"}
            status, answer = await service.call("POST", f"/v1/people/{card['person_id']}/facts", body)
            assert status == 201, answer
        cards.append(card)
    return cards


async def test_a_gate_that_starts_has_every_card_and_every_document(service: Service) -> None:
    await publish(service, document())
    await _residents(service, 5)
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    assert mirror.cards == await truth(service, FEED)
    assert len(mirror.cards) == mirror.manifest.cards == 5
    assert len({profile for _, _, profile in mirror.cards.values()}) == 2, "residents and others"
    assert set(mirror.services) == {"wcc.leisure.gym"}
    assert mirror.meta.keys["keys"], "a gate needs the keys that cards are signed with"
    assert mirror.meta.world.world["tenants"].keys() == {"wcc", "rbkc"}
    assert "porchester" in mirror.meta.world.sites


async def test_snapshot_and_later_changes_are_the_database(service: Service) -> None:
    await publish(service, document())
    reader = await enrolled_reader(service)
    cards = await _residents(service, 4)
    mirror = await take_snapshot(reader, FEED)
    await _residents(service, 3)
    status, _ = await service.call("POST", f"/v1/cards/{cards[1]['card_id']}/revoke", {"reason": "found out"})
    assert status == 200
    await publish(service, document(title="Gym and sauna", who={"all": [{"age": {"gte": 18}}]}))
    await pull(reader, mirror, limit=3)
    assert mirror.cards == await truth(service, FEED)
    assert mirror.services["wcc.leisure.gym"]["title"] == "Gym and sauna"
    assert [state for _, state, _ in mirror.cards.values()].count(CardState.REVOKED) == 1
    assert mirror.number == await number_of(service, FEED)


async def test_a_flipped_bit_is_found_by_signature_or_digest(service: Service) -> None:
    await publish(service, document())
    await _residents(service, 2)
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    _, answer = await reader.call("GET", f"/v1/feeds/{FEED}/snapshot")
    header, payload, signature = answer["manifest"].split(".")
    changed = bytearray(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    changed[len(changed) // 2] ^= 1
    forged = ".".join((header, base64.urlsafe_b64encode(changed).decode().rstrip("="), signature))
    with pytest.raises(TokenError):
        await verified_manifest(service, FEED, forged)
    _, rows = await reader.call("GET", f"/v1/feeds/{FEED}/parts/{mirror.manifest.rows.sha256}")
    broken = bytes([rows[0] ^ 1]) + rows[1:]
    assert hashlib.sha256(broken).hexdigest() != mirror.manifest.rows.sha256


async def test_parts_may_be_kept_and_fetched_in_pieces(service: Service) -> None:
    await publish(service, document())
    await _residents(service, 2)
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    part = mirror.manifest.meta
    path = f"/v1/feeds/{FEED}/parts/{part.sha256}"

    async def get(**headers: str) -> tuple[int, bytes, Mapping[str, str]]:
        signed = {"Authorization": f"Reader {reader.assertion('GET', path)}", **headers}
        async with service.http.get(service.url + path, headers=signed) as response:
            return response.status, await response.read(), response.headers

    status, whole, headers = await get()
    assert (status, headers["ETag"]) == (200, f'"{part.sha256}"')
    assert "immutable" in headers["Cache-Control"]
    assert (await get(**{"If-None-Match": f'"{part.sha256}"'}))[0] == 304
    first = await get(Range="bytes=0-99")
    rest = await get(Range="bytes=100-")
    assert (first[0], rest[0]) == (206, 206)
    assert first[2]["Content-Range"] == f"bytes 0-99/{part.size}"
    assert first[1] + rest[1] == whole
    assert (await get(Range="bytes=-10"))[1] == whole[-10:]
    assert (await get(Range=f"bytes={part.size}-"))[0] == 416
    assert (await get(Range="bytes=5-2", **{"If-Range": '"other"'}))[1] == whole, "of another part: send all"
    status, problem = await reader.call("GET", f"/v1/feeds/{FEED}/parts/{'0' * 64}")
    assert (status, problem["code"]) == (404, "part_not_found")


async def test_readers_that_start_at_once_at_two_processes_cost_one_snapshot(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    async def counted(conn: Connection, feed: FeedRef, now: datetime) -> Built:
        built.append(feed.name)
        return await build(conn, feed, now)

    monkeypatch.setattr("cardservice.feed.snapshot.build", counted)
    await publish(service, document())
    await _residents(service, 2)
    here = await enrolled_reader(service)
    async with run_service(service.settings) as other:
        there = replace(here, service=other)
        asking = (reader.call("GET", f"/v1/feeds/{FEED}/snapshot") for _ in range(12) for reader in (here, there))
        answers = await asyncio.gather(*asking)
    assert {status for status, _ in answers} == {200}
    assert len({answer["manifest"] for _, answer in answers}) == 1
    assert built == [FEED]


async def test_who_waits_for_another_processs_snapshot_keeps_no_connection_and_does_not_fail(service: Service) -> None:
    await publish(service, document())
    platform = service.app[PLATFORM]
    feed = FeedRef(tenant="wcc", area="leisure")
    building = await asyncpg.connect(service.settings.database_url)
    looks = 0

    async def look(_: float) -> None:
        nonlocal looks
        looks += 1
        held = await building.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        assert held == 0, "a statement waits for the lock, until it fails with the limit of statements"
        async with asyncio.timeout(PATIENCE):  # one that waits for the lock never becomes idle
            while platform.db.pool.get_idle_size() < platform.db.pool.get_size():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        if looks == 3:  # the other process gives up before it has a snapshot
            await queries().feed.snapshot_unlock(building, tenant=feed.tenant, area=feed.area)

    try:
        assert await queries().feed.try_snapshot_lock(building, tenant=feed.tenant, area=feed.area)
        snapshots = Snapshots(platform.db, platform.keys, pause=look)
        async with asyncio.timeout(PATIENCE):
            made = await asyncio.gather(*(snapshots.manifest(feed, datetime.now(UTC)) for _ in range(4)))
    finally:
        await building.close()
    assert looks == 3, "one of them looks, the others wait for it"
    assert len(set(made)) == 1


async def test_a_snapshot_is_of_when_it_was_made_and_not_of_when_somebody_asked_for_it(service: Service) -> None:
    """Who waited while another process built one and the feed began anew got one that looked older than that one, and a
    reader that had it would not go over to the new epoch.
    """
    await publish(service, document())
    platform = service.app[PLATFORM]
    feed = FeedRef(tenant="wcc", area="leisure")
    asked, begun = datetime.now(UTC) - timedelta(seconds=30), await platform.db.pool.fetchval("SELECT now()")
    made = await verified_manifest(service, FEED, await platform.snapshots.manifest(feed, asked))
    assert msgspec.json.decode(made, type=Manifest).created_at >= milliseconds(begun)


async def test_who_waits_for_a_snapshot_that_never_comes_is_told_to_come_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardservice.feed.snapshot.WAIT_SECONDS", 0.0)
    await publish(service, document())
    reader = await enrolled_reader(service)
    async with service.app[PLATFORM].db.pool.acquire() as building:
        assert await queries().feed.try_snapshot_lock(building, tenant="wcc", area="leisure")
        status, problem = await reader.call("GET", f"/v1/feeds/{FEED}/snapshot")
        assert (status, problem["code"]) == (503, "snapshot_not_ready")
        await queries().feed.snapshot_unlock(building, tenant="wcc", area="leisure")
    assert (await take_snapshot(reader, FEED)).cards == {}


async def test_a_reader_of_another_life_of_the_feed_starts_over(service: Service) -> None:
    await publish(service, document())
    reader = await enrolled_reader(service)
    await _residents(service, 2)
    mirror = await take_snapshot(reader, FEED)

    async def changes(epoch: str, after: int) -> tuple[int, str]:
        path = f"/v1/feeds/{FEED}/changes?epoch={epoch}&after={after}"
        status, answer = await reader.call("GET", path)
        return status, answer.get("code", "")

    assert await changes(mirror.epoch, mirror.number) == (200, "")
    assert await changes(mirror.epoch, mirror.number + 1) == (409, "feed_epoch"), "a reader from the future"
    assert await changes("00000000-0000-4000-8000-000000000000", 0) == (409, "feed_epoch")
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await recompile_tenant(conn, "wcc", emit_changes=False)
    assert await changes(mirror.epoch, mirror.number) == (409, "feed_epoch"), "after a restore"
    fresh = await take_snapshot(reader, FEED)
    assert fresh.epoch != mirror.epoch
    assert fresh.cards == mirror.cards


async def test_a_reader_away_for_too_long_is_told_that_the_past_is_gone(service: Service) -> None:
    await publish(service, document())
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    await _residents(service, 4)
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("DELETE FROM feed_change WHERE number <= $1", mirror.number + 1)
    path = f"/v1/feeds/{FEED}/changes?epoch={mirror.epoch}&after={mirror.number}"
    status, problem = await reader.call("GET", path)
    assert (status, problem["code"]) == (410, "feed_pruned")


async def test_old_snapshots_and_changes_are_let_go_but_never_what_a_snapshot_needs(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardservice.feed.snapshot.RECENT", 0)
    await publish(service, document())
    reader = await enrolled_reader(service)
    numbers = []
    for _ in range(5):
        await _residents(service, 1)
        numbers.append((await take_snapshot(reader, FEED)).number)
        async with service.app[PLATFORM].db.transaction("wcc") as conn:
            await conn.execute("UPDATE feed_change SET written_at = written_at - interval '31 days'")
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        kept = [row["number"] for row in await conn.fetch("SELECT number FROM feed_snapshot ORDER BY number")]
        oldest = await conn.fetchval("SELECT min(number) FROM feed_change")
    assert kept == numbers[-3:]
    assert oldest == kept[0] + 1


async def test_a_reader_gets_no_feed_that_its_enrolment_does_not_name(service: Service) -> None:
    await publish(service, document("rbkc.care.wallet", "rbkc", area="care"))
    await publish(service, document("wcc.care.home", "wcc", area="care"))
    await add_person(service, tenant="rbkc")
    reader = await enrolled_reader(service)
    epoch = "00000000-0000-4000-8000-000000000000"
    for feed in ("rbkc/care", "wcc/care", "wcc/nothing", "rbkc/leisure"):
        for path in (
            f"/v1/feeds/{feed}/snapshot",
            f"/v1/feeds/{feed}/changes?epoch={epoch}&after=0",
            f"/v1/feeds/{feed}/parts/{'0' * 64}",
            f"/v1/stream?feed={feed}:{epoch}:0",
        ):
            status, problem = await reader.call("GET", path)
            assert (status, problem["code"]) == (403, "feed_not_enrolled"), path
    status, _ = await service.call("GET", "/v1/feeds/wcc/leisure/snapshot")
    assert status == 401, "staff tokens open no feed"


async def test_a_neighbours_feed_opens_to_the_reader_that_is_enrolled_for_it(service: Service) -> None:
    await publish(service, document("wcc.leisure.pool"), shared_with=("rbkc",))
    await issue_card(service, tenant="rbkc")
    reader = await enrolled_reader(service, feeds=("wcc/leisure", "rbkc/leisure"))
    mirror = await take_snapshot(reader, "rbkc/leisure")
    assert mirror.cards == await truth(service, "rbkc/leisure")
    assert len(mirror.cards) == 1
