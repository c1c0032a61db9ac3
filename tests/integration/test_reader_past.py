"""A reader and a service that remember different pasts: years apart, ahead after a restore, or in another epoch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cardservice.administration import begin_new_epoch
from cardservice.app import PLATFORM
from cardservice.errors import RefusedError
from cardservice.feed.writer import recompile_tenant
from entitlements.model import CardState
from readers.cache import FeedCache
from readers.daemon import Daemon
from readers.settings import Settings
from tests.support.feed import document, number_of, publish, truth
from tests.support.reader import add_site
from tests.support.service import Service
from tests.support.state import post, resident
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.site import ready, running, site_settings, until

FEED = "wcc/leisure"


async def enrolled(service: Service, folder: Path) -> tuple[Settings, str]:
    """Settings and code of a new reader."""
    await publish(service, document())
    await add_site(service)
    body = {"site": "porchester", "name": "gates", "feeds": [FEED]}
    return site_settings(service.url, folder, ("1",)), str((await post(service, "/v1/readers/codes", body))["code"])


@asynccontextmanager
async def on(settings: Settings, code: str | None = None) -> AsyncIterator[Daemon]:
    """The reader, switched on."""
    async with running(settings, Devices(), code=code) as daemon:
        await ready(daemon)
        yield daemon


def cache_of(daemon: Daemon) -> FeedCache:
    cache = daemon.feeds[FEED].cache
    assert cache is not None
    return cache


async def same_as_the_database(service: Service, daemon: Daemon) -> None:
    """Wait until the reader has the head and every card as the database has it."""
    head, rows = await number_of(service, FEED), await truth(service, FEED)

    def same() -> bool:
        cache = daemon.feeds[FEED].cache
        if cache is None or cache.number != head:
            return False
        found = {index: cache.lookup(index, tag) for index, (tag, _, _) in rows.items()}
        return all(each is not None and each[0] is rows[index][1] for index, each in found.items())

    await until(same)


async def revoke(service: Service, card: dict[str, object]) -> None:
    await post(service, f"/v1/cards/{card['card_id']}/revoke", {"reason": "lost"}, wanted=200)


async def test_a_reader_switched_on_after_years_takes_a_snapshot_and_knows_every_revocation(
    service: Service, tmp_path: Path
) -> None:
    settings, code = await enrolled(service, tmp_path)
    cards = [await resident(service) for _ in range(3)]
    async with on(settings, code) as daemon:
        await same_as_the_database(service, daemon)
        before = cache_of(daemon).number
    await revoke(service, cards[0])
    await revoke(service, cards[1])
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("DELETE FROM feed_change WHERE number <= $1", before + 1)
        await conn.execute("DELETE FROM feed_snapshot")
    async with on(settings) as daemon:
        await same_as_the_database(service, daemon)
        assert cache_of(daemon).base.header.number > before, "it came by a snapshot"
        states = sorted(state for _, state, _ in (await truth(service, FEED)).values())
    assert states == [CardState.ACTIVE, CardState.REVOKED, CardState.REVOKED]


async def test_a_reader_ahead_of_a_restored_database_goes_back_and_holds_the_databases_truth(
    service: Service, tmp_path: Path
) -> None:
    settings, code = await enrolled(service, tmp_path)
    card = await resident(service)
    async with on(settings, code) as daemon:
        await same_as_the_database(service, daemon)
        past = cache_of(daemon).number
        async with service.app[PLATFORM].db.transaction("wcc") as conn:
            rows = await conn.fetch("SELECT * FROM card_row")
        await revoke(service, card)
        await same_as_the_database(service, daemon)
        assert cache_of(daemon).number > past
    async with service.app[PLATFORM].db.transaction("wcc") as conn:  # as a backup would bring it back
        await conn.execute("DELETE FROM feed_change WHERE number > $1", past)
        await conn.execute("UPDATE feed SET number = $1", past)
        await conn.execute("UPDATE card SET state = 'active'")
        for row in rows:
            await conn.execute("UPDATE card_row SET state = $1 WHERE card_index = $2", row["state"], row["card_index"])
    async with on(settings) as daemon:
        await same_as_the_database(service, daemon)
        assert cache_of(daemon).number == past
        await revoke(service, card)
        await same_as_the_database(service, daemon)


async def test_a_reader_of_the_time_before_a_restore_begins_anew_with_the_new_epoch(
    service: Service, tmp_path: Path
) -> None:
    settings, code = await enrolled(service, tmp_path)
    cards = [await resident(service) for _ in range(2)]
    async with on(settings, code) as daemon:
        await same_as_the_database(service, daemon)
        before = cache_of(daemon).epoch
        async with service.app[PLATFORM].db.transaction("wcc") as conn:
            await recompile_tenant(conn, "wcc", emit_changes=False)
        await revoke(service, cards[0])
        await until(lambda: cache_of(daemon).epoch != before)
        await same_as_the_database(service, daemon)


async def _restored(service: Service, past: int) -> None:
    """The database as a backup made at change ``past`` brings it back: all cards active."""
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("DELETE FROM feed_change WHERE number > $1", past)
        await conn.execute("DELETE FROM feed_snapshot WHERE number > $1", past)
        await conn.execute("UPDATE feed SET number = $1", past)
        await conn.execute("UPDATE card SET state = 'active'")
        await conn.execute("UPDATE card_row SET state = (SELECT min(state) FROM card_row)")


@pytest.mark.parametrize("revoked_since", [1, 2, 3])
async def test_a_reader_ahead_of_a_restored_database_that_has_caught_up_knows_every_revocation(
    service: Service, tmp_path: Path, revoked_since: int
) -> None:
    """The numbers say nothing: the service has given those that the reader has to other changes."""
    settings, code = await enrolled(service, tmp_path)
    cards = [await resident(service) for _ in range(4)]
    async with on(settings, code) as daemon:
        await same_as_the_database(service, daemon)
        past = cache_of(daemon).number
        await revoke(service, cards[0])
        await revoke(service, cards[1])
        await same_as_the_database(service, daemon)
    await _restored(service, past)
    for card in cards[4 - revoked_since :]:
        await revoke(service, card)
    async with on(settings) as daemon:
        await same_as_the_database(service, daemon)
        await revoke(service, cards[0])
        await same_as_the_database(service, daemon)
        assert daemon.feeds[FEED].problem is None


async def test_a_reader_that_stays_connected_through_a_restore_starts_over_with_it(
    service: Service, tmp_path: Path
) -> None:
    settings, code = await enrolled(service, tmp_path)
    cards = [await resident(service) for _ in range(4)]
    async with on(settings, code) as daemon:
        await same_as_the_database(service, daemon)
        past = cache_of(daemon).number
        await revoke(service, cards[0])
        await same_as_the_database(service, daemon)
        await _restored(service, past)
        await revoke(service, cards[2])
        await revoke(service, cards[3])
        await same_as_the_database(service, daemon)


async def test_a_stream_that_brought_no_change_yet_notices_a_restore_too(service: Service, tmp_path: Path) -> None:
    """What its reader has came by a snapshot, and the service's process has handed out nothing."""
    settings, code = await enrolled(service, tmp_path)
    cards = [await resident(service) for _ in range(4)]
    await revoke(service, cards[0])
    past = await number_of(service, FEED) - 1
    async with on(settings, code) as daemon:
        await same_as_the_database(service, daemon)
        hub = service.app[PLATFORM].hub
        await until(lambda: FEED in hub._channels and hub._channels[FEED].last is not None)
        await _restored(service, past)
        await revoke(service, cards[2])
        await revoke(service, cards[3])
        await same_as_the_database(service, daemon)


async def test_a_service_whose_database_came_back_with_as_many_other_changes_notices_before_the_next_one(
    service: Service, tmp_path: Path
) -> None:
    settings, code = await enrolled(service, tmp_path)
    cards = [await resident(service) for _ in range(3)]
    async with on(settings, code) as daemon:
        await same_as_the_database(service, daemon)
        past = cache_of(daemon).number
        await revoke(service, cards[0])
        await same_as_the_database(service, daemon)
        hub = service.app[PLATFORM].hub
        hub._away = True  # as after any time in which the database did not answer
        await _restored(service, past)
        await revoke(service, cards[1])
        await same_as_the_database(service, daemon)


async def test_the_operators_command_after_a_restore_lets_connected_readers_begin_anew(
    service: Service, tmp_path: Path
) -> None:
    settings, code = await enrolled(service, tmp_path)
    await resident(service)
    async with on(settings, code) as daemon:
        await same_as_the_database(service, daemon)
        before = cache_of(daemon).epoch
        with pytest.raises(RefusedError, match="nothing was ever published in pools of wcc"):
            await begin_new_epoch(service.settings, tenant="wcc", area="pools")
        assert [area for area, _ in await begin_new_epoch(service.settings, tenant="wcc", area=None)] == ["leisure"]
        await until(lambda: cache_of(daemon).epoch != before)
        await same_as_the_database(service, daemon)
