"""Parked taps: what the service rejected must not lie on a gate's disk unseen, nor be lost by being sent again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from readers.cli import main
from readers.folder import own_folder
from readers.jotter import JOTTER_FILE, Jotter
from readers.outbox import Outbox
from readers.parked import read_parked, send_again
from tests.unit.readers.kit.console import settings_file
from tests.unit.readers.test_outbox import Service, opened, tap, uploader


@pytest.fixture(autouse=True)
def _logs_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readers.cli.set_up_logging", lambda form: None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def park(folder: Path, *reasons: str) -> list[str]:
    """Have taps with these reasons rejected, and one stored; their ids."""
    folder.mkdir(exist_ok=True)
    service, taps = Service(), [tap(reason) for reason in reasons]
    service.reject = set(reasons)
    async with opened(folder) as outbox:
        for item in [*taps, tap()]:
            outbox.add(item)
        await outbox.durable()
        await uploader(outbox, service).upload_once()
        outbox.close()
    assert len(service.stored) == 1
    return [str(item.tap_id) for item in taps]


def cardreader(data: Path, *arguments: str) -> Result:
    config = settings_file(data.parent)
    return CliRunner().invoke(main, ["parked", "--config", str(config), *arguments])


async def uploaded(outbox: Outbox, service: Service) -> None:
    while await uploader(outbox, service).upload_once():
        pass


async def test_whoever_looks_sees_each_rejected_tap_with_its_reason_and_nobodys_card(data: Path) -> None:
    first, second = await park(data, "blocked", "hours")
    said = cardreader(data)
    assert said.exit_code == 0
    assert "2 parked" in said.output
    for name, reason in ((first, "blocked"), (second, "hours")):
        assert f"tap {name} at lane in-1, 2026-06-01T12:00:00Z: allow ({reason})" in said.output
    assert said.output.count("no such lane") == 2
    whole = json.loads(cardreader(data, "--json").output)
    assert [(item["item"]["tap_id"], item["problem"], item["at"]) for item in whole] == [
        (first, "no such lane", 5), (second, "no such lane", 5),
    ]  # fmt: skip


def test_a_reader_that_never_ran_has_nothing_parked_and_looking_makes_no_files(data: Path) -> None:
    data.mkdir()
    for arguments in ((), ("--retry",)):
        said = cardreader(data, *arguments)
        assert said.exit_code == 0
    assert "Nothing is parked." in cardreader(data).output
    assert not (data / "outbox.db").exists()


async def test_looking_while_the_daemon_runs_disturbs_nothing_and_sending_again_is_refused(data: Path) -> None:
    (name,) = await park(data, "blocked")
    with own_folder(data):
        async with opened(data) as outbox:
            assert name in cardreader(data).output
            said = await asyncio.to_thread(cardreader, data, "--retry")
            assert said.exit_code == 1
            assert "in use by another reader daemon" in said.output
            outbox.add(tap())
            await outbox.durable()
            assert (outbox.waiting, outbox.parked) == (1, 1)


async def test_what_is_sent_again_reaches_the_service_once_and_behind_what_waits(data: Path) -> None:
    parked = await park(data, "blocked", "hours")
    async with opened(data) as outbox:
        outbox.add(waiting := tap())
        await outbox.durable()
        outbox.close()
    assert await send_again(data) == 2
    assert read_parked(data) == []
    assert await send_again(data) == 0
    service = Service()
    async with opened(data) as outbox:
        assert (outbox.waiting, outbox.parked) == (3, 0)
        outbox.add(fresh := tap())
        await outbox.durable()
        await uploaded(outbox, service)
        assert (outbox.waiting, outbox.parked) == (0, 0)
    assert service.stored == [str(waiting.tap_id), *parked, str(fresh.tap_id)]


async def test_what_is_rejected_again_is_parked_again(data: Path) -> None:
    (name,) = await park(data, "blocked")
    await send_again(data)
    service = Service()
    service.reject = {"blocked"}
    async with opened(data) as outbox:
        await uploaded(outbox, service)
        assert (outbox.waiting, outbox.parked) == (0, 1)
    assert [item.item["tap_id"] for item in read_parked(data) if item.item] == [name]


async def test_a_tap_that_a_killed_daemon_had_only_jotted_down_is_not_lost_by_sending_others_again(data: Path) -> None:
    (name,) = await park(data, "blocked")
    missed = tap()
    jotter = Jotter(data / JOTTER_FILE)
    number = max(jotter.open()) + 1
    jotter.write(number, msgspec.json.encode(missed))
    jotter.close()
    assert await send_again(data) == 1
    service = Service()
    async with opened(data) as outbox:
        await uploaded(outbox, service)
    assert service.stored == [str(missed.tap_id), name]


def test_an_outbox_that_cannot_be_read_is_told_in_words(data: Path) -> None:
    data.mkdir()
    (data / "outbox.db").write_bytes(b"this is no database" * 1000)
    said = cardreader(data)
    assert said.exit_code == 1
    assert "outbox.db" in said.output
    assert "Traceback" not in said.output
    assert list(data.glob("*.damaged-*")) == [], "a look moves nothing under a running daemon"
