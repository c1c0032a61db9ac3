"""The days move on: rights stay complete for the weeks ahead, and only what changed is told."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

from cardservice.app import PLATFORM
from cardservice.feed.horizon import advance_horizons
from cardservice.feed.window import as_horizon, window_of
from entitlements.profile import Profile
from entitlements.wire.feed import CardChange, HorizonChange, decode_change
from tests.support.feed import document, number_of, publish, pull, take_snapshot, truth
from tests.support.reader import enrolled_reader
from tests.support.registry import issue_card
from tests.support.service import Service

FEED = "wcc/leisure"


async def _card_with(service: Service, **fact: str) -> dict:
    card = await issue_card(service)
    status, answer = await service.call("POST", f"/v1/people/{card['person_id']}/facts", fact)
    assert status == 201, answer
    return card


async def test_a_reader_cut_off_tomorrow_still_knows_five_weeks(service: Service) -> None:
    now = datetime.now(UTC)
    begins, ends = window_of(now)
    assert begins <= now - timedelta(days=1)
    assert ends >= now + timedelta(days=35)
    await publish(service, document())
    mirror = await take_snapshot(await enrolled_reader(service), FEED)
    span = as_horizon(begins, ends)
    assert (mirror.meta.horizon.begins, mirror.meta.horizon.ends) == (span.start, span.end)


async def test_a_new_day_tells_only_whose_rights_came_into_sight_and_then_the_horizon(service: Service) -> None:
    now = datetime.now(UTC)
    beyond = (window_of(now)[1] + timedelta(days=2)).date().isoformat()
    await publish(service, document())
    await _card_with(service, kind="residency", name="wcc")
    leaver = await _card_with(service, kind="residency", name="wcc", until=beyond)
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    platform = service.app[PLATFORM]
    assert await advance_horizons(platform.db, platform.hub, now=now) == [], "today's work is done"
    moved = await advance_horizons(platform.db, platform.hub, now=now + timedelta(days=9))
    assert moved == [("wcc", [("leisure", mirror.number + 2)])]
    path = f"/v1/feeds/{FEED}/changes?epoch={mirror.epoch}&after={mirror.number}"
    _, answer = await reader.call("GET", path)
    first, second = (decode_change(json.dumps(change)) for change in answer["changes"])
    assert isinstance(first, CardChange)
    assert isinstance(second, HorizonChange)
    assert first.index == leaver["index"]
    (_, segments), *_ = Profile.from_wire(first.profile).grants
    assert segments[-1].until is not None, "the end of the residency has come into sight"
    await pull(reader, mirror)
    assert mirror.cards == await truth(service, FEED)


async def test_two_processes_that_wake_at_midnight_do_the_work_once(service: Service) -> None:
    await publish(service, document())
    await _card_with(service, kind="residency", name="wcc")
    number = await number_of(service, FEED)
    platform, later = service.app[PLATFORM], datetime.now(UTC) + timedelta(days=3)
    done = await asyncio.gather(*(advance_horizons(platform.db, platform.hub, now=later) for _ in range(3)))
    assert sorted(map(len, done)) == [0, 0, 1]
    assert await number_of(service, FEED) == number + 1


async def test_profiles_that_nobody_has_any_more_are_let_go(service: Service) -> None:
    await publish(service, document())
    card = await _card_with(service, kind="residency", name="wcc")
    platform = service.app[PLATFORM]

    async def profiles() -> int:
        async with platform.db.transaction("wcc") as conn:
            return int(await conn.fetchval("SELECT count(*) FROM profile"))

    assert await profiles() == 2, "without and with the right"
    await service.call("POST", f"/v1/cards/{card['card_id']}/revoke", {"reason": "found out"})
    await advance_horizons(platform.db, platform.hub, now=datetime.now(UTC) + timedelta(days=1))
    assert await profiles() == 1
    # The freed number is given again, and means the new content.
    other = await _card_with(service, kind="residency", name="wcc")
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    assert mirror.cards == await truth(service, FEED)
    assert other["index"] in mirror.cards


async def test_what_a_month_has_made_old_goes_even_if_no_reader_asks(service: Service) -> None:
    await publish(service, document())
    await take_snapshot(await enrolled_reader(service), FEED)
    await _card_with(service, kind="residency", name="wcc")
    platform = service.app[PLATFORM]
    async with platform.db.transaction("wcc") as conn:
        await conn.execute("UPDATE feed_change SET written_at = written_at - interval '31 days'")
        await conn.execute("UPDATE feed_snapshot SET created_at = created_at - interval '31 days'")
    moved = await advance_horizons(platform.db, platform.hub, now=datetime.now(UTC) + timedelta(days=1))
    async with platform.db.transaction("wcc") as conn:
        assert await conn.fetchval("SELECT count(*) FROM feed_snapshot") == 0
        kept = [row["number"] for row in await conn.fetch("SELECT number FROM feed_change")]
    assert kept == [moved[0][1][0][1]], "only the change of today"
    mirror = await take_snapshot(await enrolled_reader(service), FEED)
    assert mirror.cards == await truth(service, FEED)
