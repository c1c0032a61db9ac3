"""One reader daemon against a service that speaks the contract: what people at the gate would notice."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from entitlements.model import CardState
from readers.errors import FeedError, NotEnrolledError, ServiceRefusedError, SettingsError
from readers.identity import Identity
from readers.journal import Journal
from tests.unit.readers.kit.council import Council
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.service import FakeService, card_text
from tests.unit.readers.kit.site import ready, running, site_settings, until


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    made = FakeService(Council())
    await made.start()
    yield made
    await made.stop()


async def test_a_resident_walks_in_and_the_service_gets_the_tap(service: FakeService, tmp_path: Path) -> None:
    card = service.council.issue(in_snapshot=True)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        devices.sources["qr:in-1"].present(card.token)
        await service.until(lambda: len(service.taps) == 2)
    (tap,) = service.tap_list()
    assert (tap["outcome"], tap["reason"], tap["card"]) == ("allow", "ok", card_text(card.claims.card_id))
    passage = next(item for item in service.taps.values() if item["t"] == "passage")
    assert (passage["tap_id"], passage["result"]) == (tap["tap_id"], "passed")
    assert devices.gates["gate:in-1"].releases == ["entry"]


async def test_a_card_revoked_while_the_stream_is_open_is_refused(service: FakeService, tmp_path: Path) -> None:
    card = service.council.issue(in_snapshot=True)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path, poll_seconds=3600.0), devices) as daemon:
        await service.until(lambda: service.streams_opened == 1)
        await ready(daemon)
        change = service.council.put(card, CardState.REVOKED)
        service.push(change)
        await service.until(lambda: service.number_reported() == change.n)
        devices.sources["qr:in-1"].present(card.token)
        await devices.displays["show:in-1"].until("This card cannot be used")
        await service.until(lambda: len(service.taps) == 1)
    assert service.tap_list()[0]["reason"] == "card_revoked"
    assert devices.gates["gate:in-1"].releases == []


async def test_a_card_issued_a_moment_ago_opens_the_gate_at_its_first_tap(service: FakeService, tmp_path: Path) -> None:
    service.council.issue(in_snapshot=True)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path, poll_seconds=3600.0), devices) as daemon:
        await ready(daemon)
        await service.until(lambda: service.streams_opened == 1)
        fresh = service.council.issue()  # not pushed: the gate must ask
        devices.sources["qr:in-1"].present(fresh.token)
        await service.until(lambda: len(service.taps) == 2)
    assert service.tap_list()[0]["outcome"] == "allow"


async def test_gates_decide_and_keep_every_tap_while_the_service_is_away(service: FakeService, tmp_path: Path) -> None:
    cards = [service.council.issue(in_snapshot=True) for _ in range(5)]
    devices = Devices()
    settings = site_settings(service.url, tmp_path)
    async with running(settings, devices) as daemon:
        await ready(daemon)
    await service.stop()
    async with running(settings, Devices(), code=None) as daemon:
        devices = daemon._maker  # type: ignore[assignment]
        await ready(daemon)
        for count, card in enumerate(cards, start=1):
            devices.sources["qr:in-1"].present(card.token)
            await until(lambda count=count: daemon.lanes[0].counts["passed"] == count)
        assert daemon.clock.trusted
        assert daemon.outbox.waiting == 10
        await service.start()
        await service.until(lambda: len(service.taps) == 10)
        await until(lambda: daemon.outbox.waiting == 0)
    assert {tap["card"] for tap in service.tap_list()} == {card_text(card.claims.card_id) for card in cards}


async def test_a_new_key_is_taken_up_even_if_the_reply_that_ended_the_old_one_got_lost(
    service: FakeService, tmp_path: Path
) -> None:
    service.council.issue(in_snapshot=True)
    settings = site_settings(service.url, tmp_path)
    async with running(settings, Devices()) as daemon:
        await ready(daemon)
        old = daemon.identity.thumbprint
        service.lose_roll = True
        with pytest.raises(ServiceRefusedError, match="the reply got lost"):
            await daemon.client.roll_key()
        await daemon.client.roll_key()
        assert daemon.identity.thumbprint != old
        service.lose_roll = False
        await daemon.client.roll_key()
        assert (await daemon.client.site()).tenant == "wcc"
    assert Identity(tmp_path).thumbprint == daemon.identity.thumbprint


async def test_the_person_beside_the_gate_can_ask_the_daemon_how_it_does(service: FakeService, tmp_path: Path) -> None:
    service.council.issue(in_snapshot=True)
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{daemon.health_port}") as session:
            seen = {}
            for path in ("/healthz", "/readyz", "/metrics", "/status"):
                async with session.get(path) as reply:
                    seen[path] = (reply.status, await reply.text())
    assert {status for status, _ in seen.values()} == {200}
    assert 'rescard_reader_feed_number{feed="wcc/leisure"} 0.0' in seen["/metrics"][1]
    assert json.loads(seen["/status"][1])["problems"] == []


async def test_a_reader_that_is_not_enrolled_says_how_to_enrol(service: FakeService, tmp_path: Path) -> None:
    with pytest.raises(NotEnrolledError, match="cardreader enrol"):
        async with running(site_settings(service.url, tmp_path), Devices(), code=None):
            pass
    with pytest.raises(ServiceRefusedError, match="not known or was used"):
        async with running(site_settings(service.url, tmp_path), Devices(), code="wrong"):
            pass


async def test_two_daemons_cannot_share_a_data_folder(service: FakeService, tmp_path: Path) -> None:
    async with running(site_settings(service.url, tmp_path), Devices()):
        with pytest.raises(SettingsError, match="in use by another"):
            async with running(site_settings(service.url, tmp_path), Devices()):
                pass


async def test_a_revoked_reader_wipes_itself_and_refers_everybody_to_staff(
    service: FakeService, tmp_path: Path
) -> None:
    card = service.council.issue(in_snapshot=True)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        service.revoked = True
        await until(lambda: daemon.health.revoked and not (tmp_path / "enrolment.json").exists())
        devices.sources["qr:in-1"].present(card.token)
        await devices.displays["show:in-1"].until("This gate cannot check cards")
        await asyncio.sleep(0)
    assert not (tmp_path / "reader-key.pem").exists()
    assert not (tmp_path / "feeds").exists()
    assert devices.gates["gate:in-1"].releases == []


async def test_a_reader_that_is_stopped_while_it_wipes_itself_ends_well(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.council.issue(in_snapshot=True)
    wipe, begun = Journal.wipe, asyncio.Event()

    async def held(self: Journal) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await wipe(self)

    monkeypatch.setattr(Journal, "wipe", held)
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        service.revoked = True
        await begun.wait()
    assert not (tmp_path / "enrolment.json").exists()
    assert not (tmp_path / "reader-key.pem").exists()


async def test_a_revoked_reader_writes_down_no_change_that_was_under_way(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = service.council.issue(in_snapshot=True)
    write, begun = Journal.add_changes, asyncio.Event()

    async def slowly(self: Journal, *args: Any) -> None:
        begun.set()
        for _ in range(20):
            await asyncio.sleep(0)
        await write(self, *args)

    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        monkeypatch.setattr(Journal, "add_changes", slowly)
        feed = daemon.feeds["wcc/leisure"]
        service.council.put(card, CardState.REVOKED)
        feed.hint.set()
        await begun.wait()
        feed.forget()
        await daemon.journal.wipe()
        for _ in range(40):
            await asyncio.sleep(0.005)
        assert await daemon.journal.changes_after("wcc/leisure", "e1", 0) == []


async def test_a_feed_that_was_taken_from_a_reader_does_not_come_back_by_a_pull(
    service: FakeService, tmp_path: Path
) -> None:
    service.council.issue(in_snapshot=True)
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        feed = daemon.feeds["wcc/leisure"]
        feed.forget()
        for ask in (feed.pull, feed.take_snapshot):
            with pytest.raises(FeedError, match="any more"):
                await ask()
        assert feed.cache is None


async def test_a_reader_asks_the_service_while_all_its_threads_are_at_work(
    service: FakeService, tmp_path: Path
) -> None:
    """They write a new base, or check one: that may take seconds, and a revocation is reported meanwhile."""
    service.council.issue(in_snapshot=True)
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        ended, threads = threading.Event(), ThreadPoolExecutor(1)
        asyncio.get_running_loop().set_default_executor(threads)
        busy = asyncio.create_task(asyncio.to_thread(ended.wait))
        try:
            async with asyncio.timeout(20):
                assert (await daemon.client.site()).tenant == "wcc"
            assert not busy.done()
        finally:
            ended.set()
            await busy
