"""Limits at a running reader: two lanes, a line that is cut, a process that is killed, a disk that is damaged."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from readers.daemon import Daemon
from tests.unit.readers.kit import counted
from tests.unit.readers.kit.council import NOON, Card
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.service import FakeService
from tests.unit.readers.kit.site import ready, running, site_settings, until

FEED = "wcc/leisure"

CUT_OFF = """
import asyncio, sys
from pathlib import Path
import readers.feed
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.site import ready, running, site_settings, until

async def main():
    devices = Devices()
    async with running(site_settings(sys.argv[1], Path(sys.argv[2])), devices) as daemon:
        await ready(daemon)
        await until(lambda: daemon.clock.trusted)
        await daemon._write_clock()
        print("ready", flush=True)
        sys.stdin.readline()
        readers.feed.ONLINE_MS = 0  # no confirmation is recent enough any more
        lane = daemon.lanes[0]
        for count, line in enumerate(sys.stdin, start=1):
            devices.sources["qr:in-1"].present(line.strip().encode())
            await until(lambda: lane.counts["tried"] == count and lane.state == "idle")
            await daemon.outbox.durable()
            await daemon.own.durable()
            print(count, lane.recent[0]["reason"], flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    council = counted.council_with(counted.swims(1, lease=1))
    made = FakeService(council)
    await made.start()
    yield made
    await made.stop()


def swimmer(service: FakeService) -> Card:
    card = service.council.issue(in_snapshot=True)
    counted.holder(service.council, card, in_snapshot=True)
    return card


async def present(daemon: Daemon, devices: Devices, card: Card, lane: str = "in-1") -> str:
    """Hold a card up, wait for all that follows, and tell the reason shown."""
    found = next(item for item in daemon.lanes if item.name == lane)
    tried = found.counts["tried"]
    devices.sources[f"qr:{lane}"].present(card.token)
    await until(lambda: found.counts["tried"] > tried and found.state == "idle")
    return str(found.recent[0]["reason"])


def echo(service: FakeService, tap: dict[str, Any]) -> None:
    """What the service writes into the feed when it has stored a tap."""
    for effect in tap["effects"]:
        counted.units(service.council, effect["key"], effect["units"], at=tap["at"] // 1000, entry=tap["tap_id"])
        service.push(service.council.changes[-1])


async def test_a_killed_reader_that_is_cut_off_does_not_give_its_lease_a_second_time(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.council = counted.council_with(counted.swims(9, lease=2))
    card = swimmer(service)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CUT_OFF, service.url, str(tmp_path),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd=Path.cwd(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    async def said(words: tuple[bytes, ...]) -> bytes:
        assert process.stdout is not None
        while not (line := await process.stdout.readline()).startswith(words):
            assert line, "the reader ended too early"
        return line.strip()

    try:
        await said((b"ready",))
        await service.stop()
        process.stdin.write(b"cut off\n" + card.token + b"\n")
        assert await said((b"1 ",)) == b"1 ok"
    finally:
        process.kill()
        await process.wait()

    monkeypatch.setattr("readers.feed.ONLINE_MS", 0)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices, code=None) as daemon:
        await ready(daemon)
        assert not daemon.feeds[FEED].online
        assert daemon.own.waiting == 1
        assert await present(daemon, devices, card) == "ok"
        assert await present(daemon, devices, card) == "offline_allowance_used"
        await service.start()
        await until(lambda: daemon.outbox.waiting == 0)
        for tap in service.tap_list():
            echo(service, tap)
        await until(lambda: daemon.own.waiting == 0)
        assert await present(daemon, devices, card) == "ok", "the service knows of both, so the lease is whole again"
        holdings = daemon.feeds[FEED].cache.contents.holdings  # type: ignore[union-attr]
        assert daemon.own.ledger(holdings).used("swims", "person-0", None, None) == 3


async def test_two_lanes_do_not_both_give_the_last_unit_and_a_timed_out_release_gives_it_back(
    service: FakeService, tmp_path: Path
) -> None:
    card, partner = swimmer(service), service.council.issue(in_snapshot=True)
    counted.holder(service.council, partner, in_snapshot=True, keys={"person": "person-0"})
    devices = Devices()
    settings = site_settings(service.url, tmp_path, ("in-1", "in-2"))
    # Long enough that the second lane has decided by then on a busy machine too.
    lanes = tuple(msgspec.structs.replace(lane, passage_timeout_seconds=2.0) for lane in settings.lanes)
    async with running(msgspec.structs.replace(settings, lanes=lanes), devices) as daemon:
        await ready(daemon)
        devices.gates["gate:in-1"].walks = False
        devices.sources["qr:in-1"].present(card.token)
        await devices.gates["gate:in-1"].released.wait()
        assert await present(daemon, devices, partner, "in-2") == "quota_used"
        await until(lambda: daemon.lanes[0].counts["timed_out"] == 1 and daemon.lanes[0].state == "idle")
        assert daemon.own.waiting == 0
        assert await present(daemon, devices, partner, "in-2") == "ok"
        assert daemon.own.waiting == 1


async def test_the_echo_is_counted_once_and_one_of_another_site_counts_as_well(
    service: FakeService, tmp_path: Path
) -> None:
    service.council = counted.council_with(counted.swims(3))
    card = swimmer(service)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        assert await present(daemon, devices, card) == "ok"
        await service.until(lambda: len(service.tap_list()) == 1)
        (tap,) = service.tap_list()
        assert tap["effects"] == [{"account": "swims", "units": 1, "key": "person-0"}]
        echo(service, tap)
        await until(lambda: daemon.own.waiting == 0)
        counted.units(service.council, "person-0", at=NOON - 3600)
        service.push(service.council.changes[-1])
        await until(lambda: daemon.feeds[FEED].cache.number == 2)  # type: ignore[union-attr]
        assert [await present(daemon, devices, card) for _ in range(2)] == ["ok", "quota_used"]


async def test_units_of_a_tap_that_the_service_rejects_are_given_back(service: FakeService, tmp_path: Path) -> None:
    card = swimmer(service)
    service.reject = {"ok"}
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        assert await present(daemon, devices, card) == "ok"
        await until(lambda: daemon.outbox.parked == 1)
        assert daemon.own.waiting == 0
        assert await present(daemon, devices, card) == "ok"


async def test_a_damaged_base_is_rebuilt_with_all_that_was_used(service: FakeService, tmp_path: Path) -> None:
    card, fresh = swimmer(service), swimmer(service)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        path = daemon.feeds[FEED]._store.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    counted.units(service.council, "person-0", at=NOON - 60)
    state = service.council.state
    service.council.state = type(state)(
        holders=state.holders, units=[change.entry for change in service.council.changes if hasattr(change, "entry")]
    )
    service.council.created_at += 1
    given = service.snapshots_given
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices, code=None) as daemon:
        await ready(daemon)
        assert service.snapshots_given > given
        assert await present(daemon, devices, card) == "quota_used"
        assert await present(daemon, devices, fresh) == "ok"
    assert list(path.parent.glob("*.damaged-*"))


async def test_a_service_that_is_no_entrance_takes_its_units_at_the_release(
    service: FakeService, tmp_path: Path
) -> None:
    service.council = counted.council_with(counted.swims(1, presence={"min_gap": "PT10M"}) | {"kind": "consume"})
    card = swimmer(service)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        devices.gates["gate:in-1"].walks = False  # a charging bay: nobody walks through anything
        assert await present(daemon, devices, card) == "ok"
        assert daemon.own.waiting == 1
        assert await present(daemon, devices, card) == "repeat_scan"
        taps = daemon.own.ledger(daemon.feeds[FEED].cache.contents.holdings)  # type: ignore[union-attr]
        assert taps.used("swims", "person-0", None, None) == 1


async def test_a_delegates_tap_tells_the_service_for_whom(service: FakeService, tmp_path: Path) -> None:
    from entitlements.model import CardState
    from entitlements.wire.state import Acting, ActingGrant

    text = counted.swims(1, delegation={"acts_for": {"scopes": ["collect"]}})
    service.council = council = counted.council_with(text)
    owner, friend = swimmer(service), council.issue(in_snapshot=True)
    council.put(friend, CardState.ACTIVE, profile=1)
    acting = Acting(index=owner.claims.index, tag=owner.tag, grants=(ActingGrant(scopes=("collect",)),))
    counted.holder(council, friend, in_snapshot=True, acts_for=(acting,))
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        assert await present(daemon, devices, friend) == "ok"
        assert await present(daemon, devices, owner) == "quota_used"
        await service.until(lambda: len(service.tap_list()) == 2)
    assert [tap.get("acts_for") for tap in service.tap_list()] == [owner.claims.index, None]


async def test_nothing_in_the_log_tells_an_account_key(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = swimmer(service)
    service.reject = {"ok"}
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        await present(daemon, devices, card)
        await until(lambda: daemon.outbox.parked == 1)
        await daemon.own.durable()
    printed = capsys.readouterr()
    assert "parked" in printed.out + printed.err
    assert "person-0" not in printed.out + printed.err
