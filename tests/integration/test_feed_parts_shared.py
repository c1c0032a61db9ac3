"""Many readers that fetch one part, some very slowly: whether memory and database are left for everybody else."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import tracemalloc
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from cardservice.app import PLATFORM
from cardservice.feed import parts
from tests.support.feed import PATIENCE, document, publish, take_snapshot
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.service import Service

FEED = "wcc/leisure"
SIZE = 16 << 20
CLIENTS = 12


async def put_part(service: Service, octets: bytes) -> str:
    """A snapshot with these octets as its rows."""
    sha256 = hashlib.sha256(octets).hexdigest()
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute(
            "INSERT INTO feed_snapshot (tenant, area, epoch, number, manifest, meta, meta_sha256, rows, rows_sha256)"
            " VALUES ('wcc', 'leisure', $1, 1, '', '', '', $2, $3)",
            uuid.uuid4(),
            octets,
            sha256,
        )
    return sha256


@asynccontextmanager
async def slow_client(reader: FakeReader, path: str, **headers: str) -> AsyncIterator[asyncio.StreamReader]:
    """A client that has asked and takes in no more than 64 KiB until it is read from."""
    host, port = reader.service.url.removeprefix("http://").split(":")
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    link.setblocking(False)
    await asyncio.get_running_loop().sock_connect(link, (host, int(port)))
    answer, writer = await asyncio.open_connection(sock=link, limit=1 << 14)
    sent = {"Host": host, "Authorization": f"Reader {reader.assertion('GET', path)}", **headers}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    try:
        yield answer
    finally:
        writer.close()


async def head(answer: asyncio.StreamReader) -> str:
    return (await answer.readuntil(b"\r\n\r\n")).decode()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests of the parts that the database was asked for."""
    from cardservice.db import queries

    asked: list[str] = []
    real = queries().feed.part

    async def part(conn: Any, **named: str) -> Any:
        asked.append(named["sha256"])
        return await real(conn, **named)

    monkeypatch.setattr(queries().feed, "part", part)
    return asked


async def test_a_thousand_slow_readers_would_share_one_copy_of_a_part(service: Service, reads: list[str]) -> None:
    await publish(service, document())
    reader = await enrolled_reader(service)
    octets = random.Random(7).randbytes(SIZE)
    sha256 = await put_part(service, octets)
    path = f"/v1/feeds/{FEED}/parts/{sha256}"
    half = SIZE // 2
    tracemalloc.start()
    try:
        async with AsyncExitStack() as stack:
            ranges: list[dict[str, str]] = [{}, {"Range": f"bytes={half}-"}]
            answers = [
                await stack.enter_async_context(slow_client(reader, path, **ranges[number % 2]))
                for number in range(CLIENTS)
            ]
            heads = await asyncio.gather(*map(head, answers))
            held, _ = tracemalloc.get_traced_memory()
            assert held < 2 * SIZE, f"{held >> 20} MiB for one part of {SIZE >> 20} MiB"
            assert reads == [sha256]
            assert [text.split()[1] for text in heads] == ["200", "206"] * (CLIENTS // 2)
            assert all("Rescard-Time" in text for text in heads), "every reply has it"
            first, second = await asyncio.gather(answers[0].readexactly(SIZE), answers[1].readexactly(SIZE - half))
    finally:
        tracemalloc.stop()
    assert first == octets
    assert second == octets[half:]


async def test_a_reader_that_takes_nothing_any_more_is_let_go(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = asyncio.Event()
    real = parts._give_up

    def given_up(transport: Any) -> None:
        real(transport)
        gone.set()

    monkeypatch.setattr(parts, "_give_up", given_up)
    monkeypatch.setattr(parts, "STALL_SECONDS", 0.05)
    await publish(service, document())
    reader = await enrolled_reader(service)
    sha256 = await put_part(service, bytes(SIZE))
    async with slow_client(reader, f"/v1/feeds/{FEED}/parts/{sha256}") as answer:
        async with asyncio.timeout(PATIENCE):
            await gone.wait()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await answer.readexactly(SIZE)
    monkeypatch.undo()
    assert (await take_snapshot(reader, FEED)).cards == {}, "the service goes on"


async def test_a_name_that_is_no_digest_is_not_asked_for(service: Service, reads: list[str]) -> None:
    await publish(service, document())
    reader = await enrolled_reader(service)
    for name in ("x", "A" * 64, "0" * 63, "%00"):
        status, problem = await reader.call("GET", f"/v1/feeds/{FEED}/parts/{name}")
        assert status in (400, 401, 404), problem
    assert reads == []
