"""What a killed reader had shown and not yet committed: it must be there after the restart, once, and as it was."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entitlements.wire.taps import Passage, TapBatch, TapBatchReply, TapResult
from readers.identifiers import TapIds
from readers.jotter import JOTTER_FILE, SLOT, SLOTS, Jotter
from readers.outbox import Outbox
from readers.uploader import Uploader

ADD_AND_DIE = """
import asyncio, os, signal, sys
from pathlib import Path
from readers.outbox import Outbox
from tests.unit.readers.test_jotter import passage

async def main():
    outbox = Outbox(Path(sys.argv[1]))
    async with outbox.database:
        await outbox.load()
        writer = asyncio.create_task(outbox.write_forever())
        for item in range(5):
            outbox.add(passage(item))
            if item < 3:
                await outbox.durable()
        os.kill(os.getpid(), signal.SIGKILL)  # the writer has had no turn since

asyncio.run(main())
"""


def passage(number: int) -> Passage:
    return Passage(tap_id=TapIds().make(1_780_315_200_000), result="passed", at=number)


class Takes:
    """A service that keeps what it is sent."""

    def __init__(self) -> None:
        self.items: list[bytes] = []

    async def send_taps(self, batch: TapBatch) -> TapBatchReply:
        self.items += [bytes(item) for item in batch.items]
        return TapBatchReply(results=[TapResult(result="stored") for _ in batch.items], server_time=1)


async def _restarted(folder: Path, service: Takes) -> int:
    """Start an outbox, let it upload everything, stop it; how many items it had found."""
    outbox = Outbox(folder)
    async with outbox.database:
        await outbox.load()
        found = outbox.waiting
        writer = asyncio.create_task(outbox.write_forever())
        if found:
            await outbox.durable()
        while await Uploader(outbox, service, lambda: 1).upload_once():
            pass
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
    outbox.close()
    return found


async def test_a_kill_between_showing_and_committing_costs_no_tap(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ADD_AND_DIE, str(tmp_path), cwd=Path.cwd())
    assert await process.wait() == -9
    service = Takes()
    assert await _restarted(tmp_path, service) == 5
    assert [f'"at":{number}'.encode() in item for number, item in enumerate(service.items)] == [True] * 5
    assert await _restarted(tmp_path, service) == 0, "what the service has is not sent again"


async def test_a_killed_reader_on_a_full_disk_starts_with_what_it_had_shown(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ADD_AND_DIE, str(tmp_path), cwd=Path.cwd())
    await process.wait()
    outbox = Outbox(tmp_path)
    async with outbox.database:
        await outbox.database.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
        await outbox.load()
        assert (outbox.waiting, outbox.in_memory) == (5, 2)
    outbox.close()
    assert await _restarted(tmp_path, Takes()) == 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jotter")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.integers(1, 5000),
    bodies=st.lists(st.binary(min_size=1, max_size=900), min_size=1, max_size=30),
    harm=st.integers(0, 2**32),
)
def test_what_a_power_cut_made_of_the_file_is_the_truth_or_nothing(
    folder: Path, first: int, bodies: list[bytes], harm: int
) -> None:
    path = folder / JOTTER_FILE
    path.unlink(missing_ok=True)
    jotter, written = Jotter(path), {first + place: body for place, body in enumerate(bodies)}
    assert jotter.open() == {}
    for number, body in written.items():
        jotter.write(number, body)
    jotter.close()
    again = Jotter(path)
    assert again.open() == written
    again.close()
    chance, octets = random.Random(harm), bytearray(path.read_bytes())
    if chance.random() < 0.5:
        del octets[chance.randrange(len(octets)) :]
    for _ in range(chance.randrange(4)):
        if octets:
            octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    path.write_bytes(octets)
    harmed = Jotter(path)
    found = harmed.open()
    harmed.close()
    assert found.items() <= written.items()
    assert path.stat().st_size == SLOT * SLOTS


def test_the_oldest_item_gives_way_when_the_database_is_far_behind(tmp_path: Path) -> None:
    jotter = Jotter(tmp_path / JOTTER_FILE)
    jotter.open()
    for number in range(1, SLOTS + 3):
        jotter.write(number, b"%d" % number)
    jotter.write(SLOTS + 3, bytes(SLOT))  # too long for a slot: it waits for the database alone
    jotter.close()
    found = jotter.open()
    jotter.close()
    assert sorted(found) == list(range(3, SLOTS + 3))
