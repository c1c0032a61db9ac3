"""The outbox: no tap may be lost or stored twice, whatever happens to disk, process or service."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from entitlements.model import Outcome
from entitlements.wire.taps import Tap, TapBatch, TapBatchReply, TapResult
from readers.errors import (
    DatabaseFaultError,
    DiskFullError,
    ServiceRefusedError,
    ServiceReplyError,
    ServiceUnreachableError,
)
from readers.identifiers import TapIds
from readers.outbox import Outbox
from readers.uploader import Uploader

IDS = TapIds()


def tap(reason: str = "ok") -> Tap:
    return Tap(
        tap_id=IDS.make(1_780_315_200_000),
        site="porchester",
        lane="in-1",
        direction="entry",
        at=1_780_315_200_000,
        outcome=Outcome.ALLOW,
        reason=reason,
        media="qr",
        online=True,
        clock_trusted=True,
        clock_offset_ms=0,
    )


@asynccontextmanager
async def opened(folder: Path, **options: int) -> AsyncIterator[Outbox]:
    outbox = Outbox(folder, **options)
    async with outbox.database:
        await outbox.load()
        writer = asyncio.create_task(outbox.write_forever())
        try:
            yield outbox
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)


class Service:
    """Stores what it is sent, after the answers that a test wants first."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.faults: list[Exception] = []
        self.reject: set[str] = set()
        self.poison: set[str] = set()

    async def send_taps(self, batch: TapBatch) -> TapBatchReply:
        items = [msgspec.json.decode(raw) for raw in batch.items]
        if any(item["reason"] in self.poison for item in items):
            raise ServiceRefusedError("POST /v1/taps", status=400, code="bad", detail="cannot be read")
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, ServiceUnreachableError):
            raise fault
        results = []
        for item in items:
            if item["reason"] in self.reject:
                results.append(TapResult(result="rejected", problem="no such lane"))
            elif item["tap_id"] in self.stored:
                results.append(TapResult(result="duplicate"))
            else:
                self.stored.append(item["tap_id"])
                results.append(TapResult(result="stored"))
        if fault is not None:
            raise fault
        return TapBatchReply(results=results, server_time=0)


def uploader(outbox: Outbox, service: Service) -> Uploader:
    return Uploader(outbox, service, lambda: 5)


async def test_taps_wait_on_disk_through_a_restart_in_their_order(tmp_path: Path) -> None:
    taps = [tap() for _ in range(1200)]
    async with opened(tmp_path) as outbox:
        for item in taps:
            outbox.add(item)
        await outbox.durable()
        assert outbox.waiting == 1200
    async with opened(tmp_path) as outbox:
        assert outbox.waiting == 1200
        service = Service()
        while await uploader(outbox, service).upload_once():
            pass
        assert outbox.waiting == 0
    assert service.stored == [str(item.tap_id) for item in taps]


async def test_an_answer_that_got_lost_stores_nothing_twice(tmp_path: Path) -> None:
    service = Service()
    service.faults = [ServiceReplyError("POST", "cut off"), ServiceUnreachableError("POST", "gone")]
    async with opened(tmp_path) as outbox:
        outbox.add(tap())
        await outbox.durable()
        for _ in range(2):
            with pytest.raises((ServiceReplyError, ServiceUnreachableError)):
                await uploader(outbox, service).upload_once()
        assert outbox.waiting == 1
        assert await uploader(outbox, service).upload_once()
        assert outbox.waiting == 0
    assert len(service.stored) == 1


async def test_a_rejected_tap_is_parked_with_its_reason_and_never_dropped(tmp_path: Path) -> None:
    service = Service()
    service.reject = {"blocked"}
    async with opened(tmp_path) as outbox:
        good, bad = tap(), tap("blocked")
        outbox.add(good)
        outbox.add(bad)
        await outbox.durable()
        await uploader(outbox, service).upload_once()
        assert (outbox.waiting, outbox.parked) == (0, 1)
    async with opened(tmp_path) as outbox:
        ((_, body, problem),) = await outbox.parked_items()
        assert msgspec.json.decode(body)["tap_id"] == str(bad.tap_id)
        assert problem == "no such lane"
        assert outbox.parked == 1


async def test_one_tap_that_spoils_its_batch_does_not_hold_up_the_others(tmp_path: Path) -> None:
    service = Service()
    service.poison = {"full"}
    async with opened(tmp_path) as outbox:
        for position in range(40):
            outbox.add(tap("full" if position == 17 else "ok"))
        await outbox.durable()
        await uploader(outbox, service).upload_once()
        assert (outbox.waiting, outbox.parked) == (0, 1)
    assert len(service.stored) == 39


async def test_a_reply_with_too_few_results_is_not_believed(tmp_path: Path) -> None:
    class Short(Service):
        async def send_taps(self, batch: TapBatch) -> TapBatchReply:
            return TapBatchReply(results=[TapResult(result="stored")], server_time=0)

    async with opened(tmp_path) as outbox:
        outbox.add(tap())
        outbox.add(tap())
        await outbox.durable()
        with pytest.raises(ServiceReplyError):
            await uploader(outbox, Short()).upload_once()
        assert outbox.waiting == 2


class FullDisk:
    """Makes the outbox's database refuse to grow, as a full disk does."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def fill(self) -> None:
        def limit(connection: sqlite3.Connection) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages}")

        await self._outbox.database.run(limit)

    async def free(self) -> None:
        def lift(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA max_page_count=1000000")

        await self._outbox.database.run(lift)


async def until_problem(outbox: Outbox) -> None:
    while outbox.problem is None:
        outbox.changed.clear()
        await outbox.changed.wait()


async def test_on_a_full_disk_taps_stay_in_memory_loudly_and_are_written_when_there_is_room(tmp_path: Path) -> None:
    async with opened(tmp_path) as outbox:
        disk = FullDisk(outbox)
        await disk.fill()
        with capture_logs() as logs:
            for _ in range(500):
                outbox.add(tap())
            await until_problem(outbox)
            assert "the disk is full" in str(outbox.problem)
            assert outbox.waiting == 500
            await disk.free()
            await outbox.durable()
            while outbox.problem is not None:  # noqa: ASYNC110 -- the writer's next step, which says no event
                await asyncio.sleep(0)
        assert (outbox.waiting, outbox.in_memory, outbox.lost) == (500, 0, 0)
    said = [(line["log_level"], line["event"], line.get("problem", line.get("was"))) for line in logs]
    full = "the disk is full: 500 taps are kept in memory only"
    assert said == [
        ("critical", "taps cannot be written to disk; gates go on", full),
        ("warning", "taps are written to disk again", full),
    ]
    async with opened(tmp_path) as outbox:
        assert outbox.waiting == 500


async def test_on_a_full_disk_taps_still_reach_the_service(tmp_path: Path) -> None:
    service = Service()
    service.reject = {"blocked"}
    async with opened(tmp_path) as outbox:
        disk = FullDisk(outbox)
        await disk.fill()
        for position in range(700):
            outbox.add(tap("blocked" if position == 3 else "ok"))
        await until_problem(outbox)
        while await uploader(outbox, service).upload_once():
            pass
        assert (outbox.waiting, outbox.parked, outbox.lost) == (0, 1, 0)
        assert len(service.stored) == 699
        await disk.free()
        while not await outbox.parked_items():
            outbox.changed.clear()
            await outbox.changed.wait()


async def test_beyond_the_memory_queue_people_are_still_let_in_and_each_missing_tap_is_counted(tmp_path: Path) -> None:
    async with opened(tmp_path, max_in_memory=300) as outbox:
        disk = FullDisk(outbox)
        await disk.fill()
        for _ in range(320):
            outbox.add(tap())
        await until_problem(outbox)
        assert outbox.lost == 20
        await disk.free()
        await outbox.durable()
        assert outbox.waiting == 300
        assert "20 taps were not kept" in str(outbox.problem)


async def test_a_full_disk_is_told_from_other_faults(tmp_path: Path) -> None:
    async with opened(tmp_path) as outbox:

        def full(connection: sqlite3.Connection) -> None:
            raise OSError(28, "No space left on device")

        def other(connection: sqlite3.Connection) -> None:
            connection.execute("SELECT * FROM nothing")

        with pytest.raises(DiskFullError):
            await outbox.database.run(full)
        with pytest.raises(DatabaseFaultError, match="nothing"):
            await outbox.database.run(other)


async def test_a_damaged_outbox_is_kept_for_rescue_and_a_new_one_begun(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"this is no database" * 1000)
    async with opened(tmp_path) as outbox:
        assert outbox.database.was_set_aside is not None
        assert outbox.database.was_set_aside.read_bytes().startswith(b"this is no database")
        outbox.add(tap())
        await outbox.durable()


WRITER = """
import asyncio, sys
from pathlib import Path
from tests.unit.readers.test_outbox import opened, tap

async def main():
    async with opened(Path(sys.argv[1])) as outbox:
        while True:
            for _ in range(7):
                item = tap()
                outbox.add(item)
            await outbox.durable()
            print(item.tap_id, outbox.waiting, flush=True)

asyncio.run(main())
"""


async def test_every_tap_that_was_durable_survives_a_killed_process(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path.cwd()
    )
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(30)]
    process.kill()
    lines += (await process.stdout.read()).decode().splitlines(keepends=True)
    await process.wait()
    said = [line.split() for line in lines if line.endswith("\n") and len(line.split()) == 2]
    async with opened(tmp_path) as outbox:
        bodies = await outbox.database.run(
            lambda connection: connection.execute("SELECT body FROM waiting ORDER BY seq").fetchall()
        )
    ids = [msgspec.json.decode(body)["tap_id"] for (body,) in bodies]
    assert len(ids) >= int(said[-1][1])
    assert {tap_id for tap_id, _ in said} <= set(ids)
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids), "UUIDv7 in the order they were made"
