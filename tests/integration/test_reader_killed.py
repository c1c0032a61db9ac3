"""A reader killed in the middle of its work: it must decide with the same data and lose no tap that was on disk."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from entitlements.model import CardState
from readers.database import Database
from readers.journal import Journal
from tests.unit.readers.kit.council import Council
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.service import FakeService, card_text
from tests.unit.readers.kit.site import ready, running, site_settings, until

READER = """
import asyncio, sys
from pathlib import Path
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.site import ready, running, site_settings, until

async def main():
    devices = Devices()
    async with running(site_settings(sys.argv[1], Path(sys.argv[2])), devices) as daemon:
        await ready(daemon)
        await until(lambda: daemon.feeds["wcc/leisure"].cache.number == 1)
        await until(lambda: daemon.clock.trusted)
        await daemon._write_clock()
        print("ready", flush=True)
        lane = daemon.lanes[0]
        for count, line in enumerate(sys.stdin, start=1):
            devices.sources["qr:in-1"].present(line.strip().encode())
            await until(lambda: lane.counts["tried"] == count and lane.state == "idle")
            await daemon.outbox.durable()
            print(count, flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    made = FakeService(Council())
    await made.start()
    yield made
    await made.stop()


async def test_a_killed_reader_decides_offline_as_before_and_every_tap_arrives_once(
    service: FakeService, tmp_path: Path
) -> None:
    council = service.council
    cards = [council.issue(in_snapshot=True) for _ in range(6)]
    revoked = council.issue(in_snapshot=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READER, service.url, str(tmp_path),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd=Path.cwd(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await service.until(lambda: service.streams_opened > 0)
        service.push(council.put(revoked, CardState.REVOKED))
        while (line := await process.stdout.readline()) != b"ready\n":
            assert line, "the reader ended before it was ready"
        await service.stop()
        for card in cards[:3]:
            process.stdin.write(card.token + b"\n")
            while not (await process.stdout.readline()).strip().isdigit():
                pass
        process.stdin.write(cards[3].token + b"\n")
        await process.stdin.drain()
    finally:
        process.kill()
        await process.wait()

    devices = Devices()
    async with running(site_settings(service.url, tmp_path), devices, code=None) as daemon:
        await ready(daemon)
        assert daemon.clock.trusted
        assert abs(daemon.clock.now_ms() - service.now_ms()) < 5_000
        kept = await daemon.outbox.database.run(
            lambda connection: connection.execute("SELECT body FROM waiting").fetchall()
        )
        before = {msgspec.json.decode(body)["tap_id"] for (body,) in kept}
        assert len(before) >= 3
        for card in (cards[4], revoked, cards[5]):
            tried = daemon.lanes[0].counts["tried"]
            devices.sources["qr:in-1"].present(card.token)
            await until(lambda tried=tried: daemon.lanes[0].counts["tried"] > tried and daemon.lanes[0].state == "idle")
        await service.start()
        await until(lambda: daemon.outbox.waiting == 0)
    taps = service.tap_list()
    outcomes = {tap["card"]: tap["reason"] for tap in taps}
    assert [outcomes[card_text(card.claims.card_id)] for card in (*cards[:3], *cards[4:])] == ["ok"] * 5
    assert outcomes[card_text(revoked.claims.card_id)] == "card_revoked"
    assert before <= {tap["tap_id"] for tap in taps}
    # Each card was held up once, so each has one tap; the one that was killed half-way may have none.
    assert len(taps) == len(outcomes)


async def test_a_reader_that_is_told_to_stop_applies_nothing_that_it_cannot_write_down(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull is shared and shielded: it would go on after the journal was closed, and a restart would be behind it."""
    card = service.council.issue(in_snapshot=True)
    writing, go_on = asyncio.Event(), asyncio.Event()
    write, close, loop = Journal.add_changes, Database._close, asyncio.get_running_loop()

    async def held(self: Journal, *args: Any) -> None:
        writing.set()
        await go_on.wait()
        await write(self, *args)

    def closed(self: Database) -> None:
        close(self)
        loop.call_soon_threadsafe(go_on.set)

    def shut_down(self: ThreadPoolExecutor, **how: Any) -> None:
        time.sleep(0.1)  # a busy machine
        end(self, **how)

    end = ThreadPoolExecutor.shutdown
    monkeypatch.setattr(Database, "_close", closed)
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shut_down)
    async with running(site_settings(service.url, tmp_path), Devices()) as daemon:
        await ready(daemon)
        monkeypatch.setattr(Journal, "add_changes", held)
        feed = daemon.feeds["wcc/leisure"]
        service.council.put(card, CardState.REVOKED)
        feed.hint.set()
        await writing.wait()
    assert go_on.is_set()
    assert feed.cache is not None
    assert feed.cache.number == 0
