"""State that service processes share through Valkey: what is left of it when Valkey is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cardservice.embedded.valkey import EmbeddedValkey
from cardservice.settings import Settings
from cardservice.shared import Shared

PATIENCE_SECONDS = 20


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey that a test may kill."""
    with EmbeddedValkey(tmp_path) as server:
        yield server


@asynccontextmanager
async def shared(url: str | None, database: str = "postgresql:///one") -> AsyncIterator[Shared]:
    one = Shared(Settings(database_url=database, redis_url=url))
    await one.open()
    yield one
    await one.close()


async def test_two_processes_count_together_and_two_installations_apart(valkey: EmbeddedValkey) -> None:
    async with shared(valkey.url) as one, shared(valkey.url) as two, shared(valkey.url, "postgresql:///b") as other:
        assert [await one.count("x", 60), await two.count("x", 60), await one.reached("x")] == [1, 2, 2]
        assert await one.first_sight("jti", 60)
        assert not await two.first_sight("jti", 60)
        assert await other.first_sight("jti", 60)
        assert await other.reached("x") == 0


async def test_a_count_ends(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shared(valkey.url) as one:
        await one.count("x", 60)
        ends_in = await one._redis.ttl(one._prefix + "x") if one._redis is not None else -1
        assert 0 < ends_in <= 60
    async with shared(None) as alone:
        clock = 1000.0
        monkeypatch.setattr("cardservice.shared.time.monotonic", lambda: clock)
        assert [await alone.count("x", 60), await alone.count("x", 60)] == [1, 2]
        clock += 61
        assert [await alone.reached("x"), await alone.count("x", 60)] == [0, 1]


async def test_a_second_use_is_still_refused_by_this_process_when_valkey_is_killed(valkey: EmbeddedValkey) -> None:
    async with shared(valkey.url) as one:
        assert await one.first_sight("a", 60)
        valkey.kill()
        with capture_logs() as logs:
            assert await one.first_sight("b", 60)
            assert not await one.first_sight("b", 60)
            assert not one.connected
            await one.hint("channel", "nobody hears")
        assert [(line["log_level"], line["event"]) for line in logs] == [
            ("warning", "Valkey does not answer; this process counts alone for a while")
        ], "said once, not with each request"
        assert logs[0]["error"]


async def test_memory_stays_bounded_without_valkey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardservice.shared.MAX_LOCAL", 10)
    async with shared(None) as alone:
        for number in range(100):
            await alone.count(f"name {number}", 60)
        assert len(alone._local) <= 10
        assert await alone.reached("name 99") == 1


async def test_hints_come_again_after_valkey_was_restarted(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardservice.shared.REST_SECONDS", 0.05)
    async with shared(valkey.url) as one, shared(valkey.url) as two, asyncio.timeout(PATIENCE_SECONDS):
        hints = two.hints("channel")
        assert await anext(hints) is None
        await one.hint("channel", "first")
        assert await anext(hints) == "first"
        valkey.kill()
        with EmbeddedValkey(valkey.folder, port=valkey.port):
            assert await anext(hints) is None
            heard = asyncio.ensure_future(anext(hints))
            while not heard.done():  # the sender rests after its failure; what it says meanwhile is not carried
                await one.hint("channel", "second")
                await asyncio.wait([heard], timeout=0.05)
            assert await heard == "second"
        await hints.aclose()  # type: ignore[attr-defined]  # hints() is an async generator
