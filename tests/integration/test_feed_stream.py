"""The stream: every change once and in order, whatever happens to processes, Valkey, database and slow neighbours."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from cardservice.app import PLATFORM
from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.embedded.valkey import EmbeddedValkey
from cardservice.feed.outbox import Outbox
from cardservice.feed.subscription import Subscription
from cardservice.feed.writer import next_issue_number, publish_person, recompile_tenant
from cardservice.migrations import migrate
from cardservice.settings import Settings
from entitlements.model import CardState
from entitlements.wire.feed import Head
from tests.support.feed import (
    PATIENCE,
    Mirror,
    document,
    follow,
    next_event,
    number_of,
    open_stream,
    publish,
    pull,
    take_snapshot,
    truth,
)
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.registry import issue_card
from tests.support.service import Service, add_tenant, run_service

FEED = "wcc/leisure"
LIMIT = 300_000
"""Bytes of a queue in the test of the slow reader: three of its documents."""


async def _move(service: Service, person_id: str, day: int) -> int:
    """State a residency that ends on another day within the horizon: one card change in each feed. Its number."""
    platform = service.app[PLATFORM]
    async with platform.db.transaction("wcc") as conn:
        number = await next_issue_number(conn, "wcc")
        await conn.execute(
            "INSERT INTO fact (tenant, person_id, kind, name, until_date) "
            "VALUES ('wcc', $1, 'residency', 'wcc', current_date + $2::int)",
            UUID(person_id),
            day,
        )
        now = await conn.fetchval("SELECT now()")
        told = await publish_person(conn, "wcc", UUID(person_id), issue_number=number, now=now)
    platform.hub.wake()
    return dict(told)["leisure"]


async def _people(service: Service, count: int) -> list[str]:
    return [str((await issue_card(service))["person_id"]) for _ in range(count)]


async def _ready(service: Service, people: int) -> tuple[FakeReader, list[str], Mirror]:
    """A published service, a reader at its snapshot, and people to change."""
    await publish(service, document())
    reader = await enrolled_reader(service)
    persons = await _people(service, people)
    return reader, persons, await take_snapshot(reader, FEED)


async def test_a_reader_that_connects_knows_at_once_that_it_has_everything(service: Service) -> None:
    reader, _, mirror = await _ready(service, 1)
    async with open_stream(reader, mirror) as events:
        first = await next_event(events, "beat")
        again = await next_event(events, "beat")
    head = first.data["heads"][FEED]
    assert (head["epoch"], head["number"]) == (mirror.epoch, mirror.number)
    assert head["issue_number"] == mirror.manifest.issue_number
    assert again.data["server_time"] > first.data["server_time"]


async def test_fifty_writers_leave_no_gap_in_the_numbers(service: Service) -> None:
    _, persons, _ = await _ready(service, 50)
    before = await number_of(service, FEED)
    told = await asyncio.gather(*(_move(service, person, 3) for person in persons))
    assert sorted(told) == list(range(before + 1, before + 51))
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        rows = await conn.fetch(
            "SELECT number, issue_number FROM feed_change WHERE number > $1 ORDER BY number", before
        )
    assert [row["number"] for row in rows] == list(range(before + 1, before + 51))
    issued = [row["issue_number"] for row in rows]
    assert issued == sorted(issued), "a later number never carries an earlier issue number"


async def test_every_change_arrives_once_while_others_write(service: Service) -> None:
    reader, persons, mirror = await _ready(service, 8)
    for day in (2, 3):  # the past that the stream has to catch up with
        for person in persons:
            await _move(service, person, day)
    behind = mirror.number
    joined = asyncio.Event()

    async def write() -> None:
        for day in range(4, 14):
            await asyncio.gather(*(_move(service, person, day) for person in persons))
            if day == 8:
                await joined.wait()  # the second half is written while the stream is live

    writing = asyncio.create_task(write())
    async with open_stream(reader, mirror) as events:
        await follow(events, mirror, behind + 20)
        joined.set()
        await follow(events, mirror, behind + 8 * 12)
    await writing
    assert mirror.number == await number_of(service, FEED)
    assert mirror.cards == await truth(service, FEED)


async def test_one_stream_carries_both_councils_feeds(service: Service) -> None:
    await publish(service, document(), shared_with=("rbkc",))
    reader = await enrolled_reader(service, feeds=(FEED, "rbkc/leisure"))
    mirrors = [await take_snapshot(reader, feed) for feed in (FEED, "rbkc/leisure")]
    async with open_stream(reader, *mirrors) as events:
        await issue_card(service, tenant="rbkc")
        await follow(events, mirrors[1], mirrors[1].number + 1)
        await issue_card(service)
        await follow(events, mirrors[0], mirrors[0].number + 1)
    for mirror in mirrors:
        assert mirror.cards == await truth(service, mirror.feed)


async def _closed_outbox(_: Outbox) -> None:
    """In place of ``Outbox.open``: no hints through the database."""


async def test_a_revocation_passes_from_process_to_process(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Polling is made too slow to be what brings it: only the hint through Valkey can.
    monkeypatch.setattr(Outbox, "open", _closed_outbox)
    patient = settings.model_copy(update={"poll_seconds": 60.0})
    async with run_service(patient) as other:
        card = None
        await publish(service, document())
        card = await issue_card(service)
        reader = await enrolled_reader(service)
        mirror = await take_snapshot(reader, FEED)
        there = FakeReader(service=other, key=reader.key, reader_id=reader.reader_id)
        async with open_stream(there, mirror) as events:
            await next_event(events, "beat")
            await service.call("POST", f"/v1/cards/{card['card_id']}/revoke", {"reason": "found out"})
            await follow(events, mirror, mirror.number + 1)
    assert [state for _, state, _ in mirror.cards.values()] == [CardState.REVOKED]


async def test_without_any_hint_changes_are_found_by_polling(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outbox, "open", _closed_outbox)
    await add_tenant(settings, "wcc", "Westminster City Council")
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        own = settings.model_copy(update={"redis_url": valkey.url})
        async with run_service(own) as one, run_service(own) as other:
            reader, persons, mirror = await _ready(one, 1)
            there = FakeReader(service=other, key=reader.key, reader_id=reader.reader_id)
            async with open_stream(there, mirror) as events:
                await follow(events, mirror, await _move(one, persons[0], 2))
                valkey.kill()
                await follow(events, mirror, await _move(one, persons[0], 3))
            assert mirror.cards == await truth(one, FEED)


async def test_a_database_restart_costs_a_pause_and_no_change(settings: Settings, tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres", durable=True) as postgres:
        await migrate(postgres.url())
        own = settings.model_copy(update={"database_url": postgres.url()})
        await add_tenant(own, "wcc", "Westminster City Council")
        async with run_service(own) as service:
            reader, persons, mirror = await _ready(service, 1)
            async with open_stream(reader, mirror) as events:
                await follow(events, mirror, await _move(service, persons[0], 2))
                await asyncio.to_thread(postgres.stop)
                postgres.start()
                number = await _when_back(service, persons[0])
                await follow(events, mirror, number)
                beat = await next_event(events, "beat")
                assert beat.data["heads"][FEED]["number"] == number
            assert mirror.cards == await truth(service, FEED)


async def _when_back(service: Service, person_id: str) -> int:
    """A change, as soon as the pool has noticed that its connections are dead."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(Exception):
                return await _move(service, person_id, 5)
            await asyncio.sleep(0)


async def test_no_beat_says_all_is_well_while_the_database_is_away(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        await migrate(postgres.url())
        own = settings.model_copy(update={"database_url": postgres.url(), "stream_beat_seconds": 0.1})
        await add_tenant(own, "wcc", "Westminster City Council")
        async with run_service(own) as service:
            reader, _, mirror = await _ready(service, 1)
            hub, silent = service.app[PLATFORM].hub, asyncio.Event()
            heads = hub.heads

            def watched(feeds: Iterable[str]) -> dict[str, Head] | None:
                found = heads(feeds)
                if found is None:
                    silent.set()
                return found

            monkeypatch.setattr(hub, "heads", watched)
            async with open_stream(reader, mirror) as events:
                await next_event(events, "beat")
                await asyncio.to_thread(postgres.stop)
                async with asyncio.timeout(PATIENCE):
                    await silent.wait()
                fell_silent = time.time_ns() // 1_000_000
                postgres.start()
                # What came before the silence is read first; a beat from after it must come again.
                while (await next_event(events, "beat")).data["server_time"] < fell_silent:
                    pass


async def test_a_slow_reader_is_told_to_pull_and_holds_nobody_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Subscription] = []

    def remembered(reader_id: UUID) -> Subscription:
        opened.append(Subscription(reader_id, limit=LIMIT))
        return opened[-1]

    monkeypatch.setattr("cardservice.feed.stream.Subscription", remembered)
    reader, persons, mirror = await _ready(service, 2)
    slow = replace(mirror, cards=dict(mirror.cards), services=dict(mirror.services))
    async with open_stream(reader, slow, buffer=4096) as late, open_stream(reader, mirror) as events:
        await next_event(late, "beat")
        await next_event(events, "beat")
        # Nobody reads `late` from here on, so the sockets fill, then its queue.
        for version in range(200):
            told = await publish(service, _large_document(version))
            await follow(events, mirror, told["feeds"][FEED])
            assert opened[0].waiting <= LIMIT
            if opened[0].overflowed:
                break
        assert opened[0].overflowed
        assert not opened[1].overflowed
        assert (await next_event(late, "pull")).data == {"feed": FEED}
        await pull(reader, slow)
        assert slow.services == mirror.services
        # After the pull the stream is good again.
        number = await _move(service, persons[0], 12)
        await follow(late, slow, number, pulled=True)
        await follow(events, mirror, number)
    assert slow.cards == mirror.cards == await truth(service, FEED)


def _large_document(version: int) -> dict:
    sites = [f"site-{version}-{number}-{'x' * 80}" for number in range(1000)]
    return document(where={"sites": sites})


async def test_a_reader_whose_copy_is_of_another_life_is_told_to_pull(service: Service) -> None:
    reader, persons, mirror = await _ready(service, 1)
    async with open_stream(reader, mirror) as events:
        await next_event(events, "beat")
        platform = service.app[PLATFORM]
        async with platform.db.transaction("wcc") as conn:
            await recompile_tenant(conn, "wcc", emit_changes=False)
        platform.hub.wake()
        assert (await next_event(events, "pull")).data == {"feed": FEED}
        fresh = await take_snapshot(reader, FEED)
        await follow(events, fresh, await _move(service, persons[0], 2))
        assert fresh.cards == await truth(service, FEED)
    async with open_stream(reader, mirror) as events:
        assert (await next_event(events, "pull")).data == {"feed": FEED}, "and so is one that connects with the old one"


async def test_a_revoked_readers_stream_ends(service: Service) -> None:
    reader, _, mirror = await _ready(service, 1)
    async with open_stream(reader, mirror) as events:
        await next_event(events, "beat")
        status, _ = await service.call("POST", f"/v1/readers/{reader.reader_id}/revoke")
        assert status == 200
        async with asyncio.timeout(PATIENCE):
            assert all([event.name == "beat" async for event in events])


async def test_a_stream_asked_for_wrongly_is_refused_by_name(service: Service) -> None:
    reader, _, mirror = await _ready(service, 1)
    good = f"feed={FEED}:{mirror.epoch}:0"
    for query in ("", "feed=", f"feed={FEED}", f"feed={FEED}:x:0", f"feed={FEED}:{uuid4()}:-1", f"{good}&{good}"):
        status, problem = await reader.call("GET", f"/v1/stream?{query}")
        assert (status, problem["code"]) == (422, "wrong_values"), query
