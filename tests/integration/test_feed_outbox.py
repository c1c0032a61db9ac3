"""A revocation reaches readers of other processes at once while Valkey is away, and whatever dies on the way.

Polling is made too slow in all of these tests to be what brings it: only a hint through Valkey or PostgreSQL can.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from cardservice.app import PLATFORM
from cardservice.embedded.process import Child, free_port
from cardservice.embedded.valkey import EmbeddedValkey
from cardservice.feed import outbox
from cardservice.settings import Settings
from entitlements.model import CardState
from tests.support.feed import (
    PATIENCE,
    Event,
    Mirror,
    document,
    follow,
    next_event,
    number_of,
    open_stream,
    publish,
    pull,
    take_snapshot,
)
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.registry import issue_card
from tests.support.service import Service, add_tenant, run_service

FEED = "wcc/leisure"
HOLDER = """
SELECT application_name, pid FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND application_name = 'cardservice-outbox' AND datname = current_database()
"""


@pytest.fixture
async def unpolled(settings: Settings) -> Settings:
    """Settings with a council, without Valkey, whose processes look by themselves once a minute only."""
    await add_tenant(settings, "wcc", "Westminster City Council")
    return settings.model_copy(update={"redis_url": None, "poll_seconds": 60.0})


async def two_cards(service: Service) -> list[str]:
    """A published service and two cards."""
    await publish(service, document())
    return [str((await issue_card(service))["card_id"]) for _ in range(2)]


async def revoke(service: Service, card: str) -> int:
    """Revoke a card; the number of the change."""
    status, answer = await service.call("POST", f"/v1/cards/{card}/revoke", {"reason": "found out"})
    assert status == 200, answer
    return await number_of(service, FEED)


@asynccontextmanager
async def reader_at(writer: Service, there: Service) -> AsyncIterator[tuple[AsyncIterator[Event], Mirror]]:
    """A reader of the one process's council that listens at the other."""
    here = await enrolled_reader(writer)
    mirror = await pull(here, await take_snapshot(here, FEED))
    reader = FakeReader(service=there, key=here.key, reader_id=here.reader_id)
    async with open_stream(reader, mirror) as events:
        await next_event(events, "beat")
        yield events, mirror


def revoked(mirror: Mirror) -> int:
    return sum(state is CardState.REVOKED for _, state, _ in mirror.cards.values())


async def test_a_revocation_arrives_at_once_while_valkey_is_killed_and_when_it_is_back(
    unpolled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardservice.shared.REST_SECONDS", 0.05)
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        own = unpolled.model_copy(update={"redis_url": valkey.url})
        async with run_service(own) as one, run_service(own) as other:
            cards = [*await two_cards(one), str((await issue_card(one))["card_id"])]
            async with reader_at(one, other) as (events, mirror):
                await follow(events, mirror, await revoke(one, cards[0]))
                valkey.kill()
                await follow(events, mirror, await revoke(one, cards[1]))
                with EmbeddedValkey(valkey.folder, port=valkey.port):
                    async with asyncio.timeout(PATIENCE):
                        while not other.app[PLATFORM].shared.carries("rescard:feed"):  # noqa: ASYNC110 - says no event
                            await asyncio.sleep(0.01)
                    await follow(events, mirror, await revoke(one, cards[2]))
            assert revoked(mirror) == 3


async def test_another_process_tells_when_the_one_that_told_is_killed(unpolled: Settings, tmp_path: Path) -> None:
    environment = os.environ | {
        "DATABASE_URL": unpolled.database_url,
        "RESCARD_BIND": f"127.0.0.1:{free_port()}",
        "RESCARD_KEY_ENCRYPTION_KEY": str(unpolled.key_encryption_key),
        "RESCARD_POLL_SECONDS": "60",
    }
    environment.pop("REDIS_URL", None)
    pump = Child("pump", [sys.executable, "-m", "cardservice", "serve"], log=tmp_path / "log", env=environment)
    pump.start()
    try:
        killed = await _holder(unpolled)
        async with run_service(unpolled) as one, run_service(unpolled) as other:
            cards = await two_cards(one)
            async with reader_at(one, other) as (events, mirror):
                assert await _holder(unpolled) == killed
                await follow(events, mirror, await revoke(one, cards[0]))
                pump.kill()
                await follow(events, mirror, await revoke(one, cards[1]))
            assert revoked(mirror) == 2
            assert await _holder(unpolled) != killed
            told = [service.app[PLATFORM].hub.outbox.pumping for service in (one, other)]
            assert sorted(told) == [False, True]
    finally:
        pump.kill()


async def test_a_pump_whose_connection_was_cut_goes_on(unpolled: Settings) -> None:
    async with run_service(unpolled) as one, run_service(unpolled) as other:
        cards = await two_cards(one)
        async with reader_at(one, other) as (events, mirror):
            await follow(events, mirror, await revoke(one, cards[0]))
            connection = await asyncpg.connect(unpolled.database_url)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'cardservice-outbox' AND datname = current_database()"
            )
            await connection.close()
            await follow(events, mirror, await revoke(one, cards[1]))
        assert revoked(mirror) == 2


async def test_a_process_that_valkey_does_not_reach_is_told_by_one_that_needs_no_telling(
    unpolled: Settings, tmp_path: Path
) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        linked = unpolled.model_copy(update={"redis_url": valkey.url})
        async with run_service(linked) as one:
            await _holder(unpolled)  # the pump is the process that has Valkey
            async with run_service(unpolled) as cut_off:
                cards = await two_cards(one)
                async with reader_at(one, cut_off) as (events, mirror):
                    await follow(events, mirror, await revoke(one, cards[0]))
                async with reader_at(one, one) as (events, mirror):
                    await follow(events, mirror, await revoke(cut_off, cards[1]))
                assert one.app[PLATFORM].hub.outbox.pumping
                assert revoked(mirror) == 2


async def test_a_thousand_changes_of_one_moment_are_one_notification(unpolled: Settings) -> None:
    """A notification for each change, or from within each writing transaction, would queue up all commits."""
    async with run_service(unpolled) as one:
        await publish(one, document())
        connection = await asyncpg.connect(unpolled.database_url)
        heard: list[str] = []
        first = asyncio.Event()

        def hear(*_: object) -> None:
            heard.append("")
            first.set()

        await _holder(unpolled)
        await connection.add_listener(outbox.MOVED, hear)
        await connection.execute("SELECT set_config('rescard.tenant', '*', false)")
        async with connection.transaction():
            for _ in range(1000):
                await connection.execute("UPDATE feed SET number = number + 1 WHERE area = 'leisure'")
        async with asyncio.timeout(PATIENCE):
            await first.wait()
        await connection.execute("SELECT 1")
        assert len(heard) == 1
        await connection.close()


async def _holder(settings: Settings) -> int:
    """The database's process id of the pump, as soon as there is one."""
    connection = await asyncpg.connect(settings.database_url)
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(IndexError):
                    return int((await connection.fetch(HOLDER))[0]["pid"])
                await asyncio.sleep(0.02)
    finally:
        await connection.close()
