"""Keeping up to date against a service that loses, repeats, breaks and forgets: no revocation may be missed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import msgspec
import pytest
from structlog.testing import capture_logs

from entitlements.credential.keys import SigningKey
from entitlements.model import CardState, TenantId
from entitlements.wire.feed import CardChange, KeysChange, ServiceChange, ServiceWithdrawn, encode
from entitlements.wire.rows import pack_row
from readers.daemon import Daemon
from tests.unit.readers.kit.council import GYM, Council
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.service import FakeService
from tests.unit.readers.kit.site import ready, running, site_settings, until

NEVER = 3600.0
"""Seconds between polls where a test must see that the stream alone, or its loss, does the work."""


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    made = FakeService(Council())
    await made.start()
    yield made
    await made.stop()


def number(daemon: Daemon) -> int:
    cache = daemon.feeds["wcc/leisure"].cache
    return -1 if cache is None else cache.number


def state(daemon: Daemon, card: object) -> object:
    found = daemon.feeds["wcc/leisure"].lookup(card.claims.index, card.tag)  # type: ignore[attr-defined]
    return None if found is None else found[0]


async def test_a_change_lost_by_the_stream_is_pulled(service: FakeService, tmp_path: Path) -> None:
    card = service.council.issue(in_snapshot=True)
    other = service.council.issue(in_snapshot=True)
    async with running(site_settings(service.url, tmp_path, poll_seconds=NEVER), Devices()) as daemon:
        await ready(daemon)
        await service.until(lambda: service.streams_opened == 1)
        service.council.put(card, CardState.REVOKED)  # never sent
        service.push(service.council.put(other, CardState.SUSPENDED))
        await until(lambda: number(daemon) == 2)
        assert state(daemon, card) is CardState.REVOKED
        assert state(daemon, other) is CardState.SUSPENDED


async def test_a_change_sent_twice_or_late_changes_nothing(service: FakeService, tmp_path: Path) -> None:
    card = service.council.issue(in_snapshot=True)
    async with running(site_settings(service.url, tmp_path, poll_seconds=NEVER), Devices()) as daemon:
        await ready(daemon)
        await service.until(lambda: service.streams_opened == 1)
        first = service.council.put(card, CardState.SUSPENDED)
        second = service.council.put(card, CardState.ACTIVE)
        for change in (first, second, first, second, first):
            service.push(change)
        service.council.issue()
        service.push(service.council.changes[-1])
        await until(lambda: number(daemon) == 3)
        assert state(daemon, card) is CardState.ACTIVE


async def test_a_beat_that_is_ahead_makes_the_reader_pull(service: FakeService, tmp_path: Path) -> None:
    card = service.council.issue(in_snapshot=True)
    async with running(site_settings(service.url, tmp_path, poll_seconds=NEVER), Devices()) as daemon:
        await ready(daemon)
        await service.until(lambda: service.streams_opened == 1)
        service.council.put(card, CardState.LOST)
        service.send(service.beat())
        await until(lambda: state(daemon, card) is CardState.LOST)


async def test_a_silent_stream_is_dropped_and_opened_again(service: FakeService, tmp_path: Path) -> None:
    card = service.council.issue(in_snapshot=True)
    service.stream_mode = "silent"
    settings = site_settings(service.url, tmp_path, poll_seconds=NEVER, beat_seconds=0.05)
    async with running(settings, Devices()) as daemon:
        await service.until(lambda: service.streams_opened >= 2)
        service.council.put(card, CardState.REVOKED)
        await until(lambda: state(daemon, card) is CardState.REVOKED)


@pytest.mark.parametrize("way", ["epoch", "pruned"])
async def test_a_feed_that_cannot_be_continued_is_taken_anew(service: FakeService, tmp_path: Path, way: str) -> None:
    card = service.council.issue(in_snapshot=True)
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        service.council.put(card, CardState.REVOKED)
        service.council.put(card, CardState.REVOKED)
        if way == "epoch":
            service.council.epoch, service.council.number = "e2", 0
            service.council.changes.clear()
            service.council.created_at += 1
        else:
            service.pruned_to = 2
        await until(lambda: state(daemon, card) is CardState.REVOKED)
        cache = daemon.feeds["wcc/leisure"].cache
        assert cache is not None
        assert (cache.epoch, cache.number) == (service.council.epoch, service.council.number)


def go_back(service: FakeService, number: int) -> None:
    """The service's database is restored as it was at a change: what came later is lost, the epoch is the same."""
    council = service.council
    del council.changes[number:]
    council.number = number
    for change in council.changes:
        if isinstance(change, CardChange):
            council.rows[change.index] = pack_row(tag=change.tag, profile=0, state=change.state)


async def test_a_reader_from_the_future_goes_back_with_the_service(service: FakeService, tmp_path: Path) -> None:
    card, other = (service.council.issue(in_snapshot=True) for _ in range(2))
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        service.council.put(card, CardState.SUSPENDED)
        for _ in range(3):
            service.council.put(other, CardState.LOST)
        await until(lambda: number(daemon) == 4)
        go_back(service, 1)
        service.council.rows[other.claims.index] = pack_row(tag=other.tag, profile=0, state=CardState.ACTIVE)
        service.send(service.beat())
        await until(lambda: number(daemon) == 1)
        assert state(daemon, card) is CardState.SUSPENDED
        assert state(daemon, other) is CardState.ACTIVE
        service.push(service.council.put(card, CardState.REVOKED))
        await until(lambda: state(daemon, card) is CardState.REVOKED)
        assert number(daemon) == 2


async def test_changes_of_another_past_are_not_put_on_ours_even_when_their_numbers_fit(
    service: FakeService, tmp_path: Path
) -> None:
    card, other = (service.council.issue(in_snapshot=True) for _ in range(2))
    for _ in range(4):
        service.council.put(other, CardState.LOST)
    service.council.rows[other.claims.index] = pack_row(tag=other.tag, profile=0, state=CardState.LOST)
    settings = site_settings(service.url, tmp_path)
    async with running(settings, Devices()) as daemon:
        await ready(daemon)
        assert number(daemon) == 4
        go_back(service, 1)
        service.council.created_at -= 1000  # the newest snapshot that it still has is older than ours
        await until(lambda: "new epoch" in str(daemon.feeds["wcc/leisure"].problem))
        assert state(daemon, other) is CardState.LOST, "the last good data stays"
    for _ in range(5):
        service.council.put(card, CardState.REVOKED)
    async with running(settings, Devices(), code=None) as daemon:
        feed = daemon.feeds["wcc/leisure"]
        service.push(service.council.changes[-2])  # number 5, which would be the next one here
        await until(lambda: "new epoch" in str(feed.problem))
        assert number(daemon) == 4
        assert not feed.online
        service.council.epoch, service.council.created_at = "e2", service.council.created_at + 5000
        await until(lambda: state(daemon, card) is CardState.REVOKED)
        assert state(daemon, other) is CardState.LOST
        assert number(daemon) == service.council.number


@pytest.mark.parametrize("how", ["half", "other"])
async def test_half_a_snapshot_is_refused_and_fetched_again(service: FakeService, tmp_path: Path, how: str) -> None:
    card = service.council.issue(in_snapshot=True)
    service.broken_parts = [how, "", how]
    with capture_logs() as logs:
        async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
            await ready(daemon)
            assert state(daemon, card) is CardState.ACTIVE
    assert service.snapshots_given >= 3
    said = [line for line in logs if line["event"] == "a feed cannot be brought up to date now"]
    assert (said[0]["log_level"], said[0]["feed"]) == ("warning", "wcc/leisure")
    sentence = {"half": r"\d+ octets came of a part of \d+", "other": r"SHA-256"}[how]
    assert re.search(sentence, said[0]["problem"]), said[0]["problem"]


async def test_a_part_that_broke_off_is_taken_up_where_it_broke(service: FakeService, tmp_path: Path) -> None:
    card = service.council.issue(in_snapshot=True)
    service.broken_parts = ["lost", "", "lost", ""]
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        assert state(daemon, card) is CardState.ACTIVE
    assert service.snapshots_given == 1
    sizes = sorted(len(part) // 2 for part in service.parts.values())
    assert sorted(int(asked.strip("bytes=-")) for asked in service.ranges) == sizes


async def test_a_snapshot_signed_by_a_stranger_is_refused_and_the_last_good_data_stays(
    service: FakeService, tmp_path: Path
) -> None:
    card = service.council.issue(in_snapshot=True)
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        pinned = service.council.feed_key
        service.council.put(card, CardState.REVOKED)
        stranger = SigningKey.of(TenantId("wcc"), SigningKey.generate(TenantId("wcc")).private, pinned.kid)
        service.council.feed_key, service.council.epoch = stranger, "e2"
        await until(lambda: "manifest is refused" in str(daemon.feeds["wcc/leisure"].problem))
        assert number(daemon) == 0
        assert state(daemon, card) is CardState.ACTIVE
        assert any("manifest is refused" in problem for problem in daemon.health.problems())
        service.council.feed_key = pinned
        service.council.created_at += 1
        await until(lambda: state(daemon, card) is CardState.REVOKED)


async def test_an_old_snapshot_cannot_bring_a_revoked_card_back(service: FakeService, tmp_path: Path) -> None:
    card = service.council.issue(in_snapshot=True)
    service.council.put(card, CardState.REVOKED)
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        service.council.epoch, service.council.created_at = "e0", service.council.created_at - 60
        service.council.put(card, CardState.ACTIVE)
        await until(lambda: "older than the one in use" in str(daemon.feeds["wcc/leisure"].problem))
        assert state(daemon, card) is CardState.REVOKED


async def test_a_reader_ten_minutes_wrong_corrects_itself_and_works(service: FakeService, tmp_path: Path) -> None:
    card = service.council.issue(in_snapshot=True)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        assert abs(daemon.clock.now_ms() - service.now_ms()) < 2000
        assert daemon.clock.trusted
        devices.sources["qr:in-1"].present(card.token)
        await service.until(lambda: len(service.taps) == 2)
    (tap,) = service.tap_list()
    assert abs(tap["at"] - service.now_ms()) < 10_000
    assert abs(tap["clock_offset_ms"] - service.seconds_off * 1000) < 2000
    assert tap["clock_trusted"] is True


async def test_a_change_of_an_unknown_kind_keeps_the_last_good_data_and_is_told(
    service: FakeService, tmp_path: Path
) -> None:
    card = service.council.issue(in_snapshot=True)
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        service.council.format = "rescard.feed/2"
        service.council.created_at += 1
        change = service.council.put(card, CardState.SUSPENDED)
        strange = msgspec.json.decode(encode(change)) | {"t": "hologram", "n": 2}
        service.council.add(lambda _: _Strange(n=2, body=msgspec.json.encode(strange)))
        # Of the change and of the snapshot in turn, whichever was tried last.
        await until(lambda: "not known to this" in str(daemon.feeds["wcc/leisure"].problem))
        assert state(daemon, card) is CardState.SUSPENDED, "what came before the unknown change is applied"
        assert number(daemon) == 1


class _Strange(bytes):
    """A change that no reader knows, as bytes with a number."""

    n: int

    def __new__(cls, *, n: int, body: bytes) -> Self:
        made = super().__new__(cls, body)
        made.n = n
        return made


async def test_a_service_document_of_a_later_version_leaves_the_working_one_in_use(
    service: FakeService, tmp_path: Path
) -> None:
    card = service.council.issue(in_snapshot=True)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        later = GYM | {"schema": "rescard.service/2", "moon": "full"}
        service.council.add(lambda n: ServiceChange(n=n, tn=1, at=0, version=2, document=later))
        await until(lambda: number(daemon) == 1)
        assert any("wcc.leisure.gym" in problem for problem in daemon.health.problems())
        devices.sources["qr:in-1"].present(card.token)
        await service.until(lambda: len(service.taps) == 2)
        assert service.tap_list()[0]["service_version"] == 1
        service.council.add(lambda n: ServiceChange(n=n, tn=1, at=0, version=3, document=GYM | {"title": "New gym"}))
        await until(lambda: number(daemon) == 2)
        assert not any("wcc.leisure.gym" in problem for problem in daemon.health.problems())


async def test_a_withdrawn_service_opens_no_gate_and_a_rule_without_state_refers_to_staff(
    service: FakeService, tmp_path: Path
) -> None:
    card = service.council.issue(in_snapshot=True)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        pin = GYM | {"requires": [{"factor": "pin"}]}
        service.council.add(lambda n: ServiceChange(n=n, tn=1, at=0, version=2, document=pin))
        await until(lambda: number(daemon) == 1)
        devices.sources["qr:in-1"].present(card.token)
        await service.until(lambda: len(service.taps) == 1)
        service.council.add(lambda n: ServiceWithdrawn(n=n, tn=1, at=0, service="wcc.leisure.gym"))
        await until(lambda: number(daemon) == 2)
        devices.sources["qr:in-1"].present(card.token)
        await service.until(lambda: len(service.taps) == 2)
    referred, refused = service.tap_list()
    assert (referred["outcome"], referred["reason"]) == ("refer", "offline_staff_only")
    assert "PIN" in referred["detail"]
    assert refused["outcome"] == "deny"


async def test_cards_of_a_key_taken_out_are_refused_at_once(service: FakeService, tmp_path: Path) -> None:
    card = service.council.issue(in_snapshot=True)
    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices) as daemon:
        await ready(daemon)
        devices.sources["qr:in-1"].present(card.token)
        await service.until(lambda: len(service.taps) == 2)
        service.council.add(lambda n: KeysChange(n=n, tn=9, at=0, keys={"keys": []}))
        await until(lambda: number(daemon) == 1)
        devices.sources["qr:in-1"].present(card.token)
        await service.until(lambda: len(service.taps) == 3)
    assert service.tap_list()[1]["reason"] == "bad_signature"


@pytest.mark.parametrize("where", ["header", "profiles", "rows", "half gone", "empty"])
async def test_a_cache_damaged_while_the_reader_was_off_is_rebuilt(
    service: FakeService, tmp_path: Path, where: str
) -> None:
    card = service.council.issue(in_snapshot=True)
    settings = site_settings(service.url, tmp_path)
    async with running(settings, Devices()) as daemon:
        await ready(daemon)
        base = daemon.feeds["wcc/leisure"]._store.path
    data = bytearray(base.read_bytes())
    rows = len(data) - 8 * len(service.council.rows)
    # What is in the header is found at the start, the others when they are used or checked.
    data[{"header": 20, "profiles": rows - 4096, "rows": rows + 3}.get(where, 0)] ^= 0x40
    base.write_bytes(data[: {"half gone": len(data) // 2, "empty": 0}.get(where, len(data))])
    with capture_logs() as logs:
        async with running(settings, Devices(), code=None) as daemon:
            await until(lambda: list(base.parent.glob("*.damaged-*")))
            await ready(daemon)
            await until(lambda: state(daemon, card) is CardState.ACTIVE)
    said = [line for line in logs if line["event"].startswith("the cache file is damaged")]
    assert [(line["log_level"], line["event"]) for line in said] == [
        ("error", "the cache file is damaged; it is set aside and will be rebuilt from a snapshot")
    ]
    assert said[0]["feed"] == "wcc/leisure"
    assert said[0]["problem"]
    assert Path(said[0]["kept"]) in list(base.parent.glob("*.damaged-*"))
