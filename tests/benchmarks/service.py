"""The service against the same work done barely: taking in taps, issuing, reading one row, building a snapshot.

PostgreSQL (durable, as it comes), Valkey, the service and the bare handler are processes of their own on loopback and
end with the run; service and handler run on uvloop. What is sent is made before the clock starts.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

from cardservice.cards.pictures import qr_svg
from cardservice.db import Database, queries
from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.embedded.process import Child, free_port
from cardservice.embedded.valkey import EmbeddedValkey
from cardservice.feed.access import FeedRef
from cardservice.feed.snapshot import build
from cardservice.migrations import migrate
from cardservice.settings import Settings
from entitlements.credential.encoding import b64url_encode
from entitlements.credential.jwt import sign_card
from entitlements.credential.keys import SigningKey
from entitlements.model import TenantId
from readers.identifiers import TapIds
from tests.benchmarks.load import HOST, request, send
from tests.benchmarks.measure import Result
from tests.support.cards import card_claims
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.registry import add_person
from tests.support.service import add_tenant, run_service

SECRET: Final = "a benchmark secret of at least thirty-two characters"
BATCH: Final = 500
"""Items of one upload: the most that the service takes."""
BATCHES: Final = 12
UPLOADERS: Final = 4
"""Readers that upload at once, and connections that COPY at once."""
ROUNDS: Final = 31
"""Many short rounds: what else the machine does then falls on both sides of most of them alike."""
ISSUED: Final = 30
READS: Final = 600
AT_ONCE: Final = 16
CARDS: Final = 1_000_000
PROFILES: Final = 10_000
START_SECONDS: Final = 20.0

Timed = Callable[[], Awaitable[object]]
Prepared = Callable[[], Timed]
"""Makes what one round needs, outside of the measured time."""


@dataclass(frozen=True, kw_only=True)
class _World:
    """What the rows work on."""

    url: str
    port: int
    token: str
    person: str
    reader: FakeReader
    folder: Path


def run() -> list[Result]:
    """Taps, issue, read API and snapshot; about a minute, a third of it writing a million cards."""
    return uvloop.run(_run())


async def _run() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        async with _world(Path(folder)) as world:
            return [await _taps(world), await _issue(world), await _read(world), await _snapshot(world)]


@asynccontextmanager
async def _world(folder: Path) -> AsyncIterator[_World]:
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        url = postgres.url()
        await migrate(url)
        settings = Settings(database_url=url, redis_url=valkey.url, bind=f"{HOST}:0", key_encryption_key=SECRET)
        await add_tenant(settings, "wcc", "Westminster City Council")
        async with run_service(settings) as service:
            person, token = await add_person(service), await service.token()
            reader = await enrolled_reader(service)
        environment = {
            "DATABASE_URL": url,
            "REDIS_URL": valkey.url,
            "RESCARD_KEY_ENCRYPTION_KEY": SECRET,
            "RESCARD_LOG_FORMAT": "json",
        }
        port = free_port()
        argv = ["-m", "cardservice", "serve", "--bind", f"{HOST}:{port}"]
        stack.enter_context(_process("service", argv, environment, folder, port))
        yield _World(url=url, port=port, token=token, person=person, reader=reader, folder=folder)


@contextmanager
def _process(name: str, argv: Sequence[str], environment: dict[str, str], folder: Path, port: int) -> Iterator[None]:
    """A Python process that listens on the port, until the block ends."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESCARD_")}
    child = Child(name, [sys.executable, *argv], log=folder / f"{name}.log", env=kept | environment)
    child.start()
    try:
        _await_port(child, port)
        yield
    finally:
        child.stop()


def _await_port(child: Child, port: int) -> None:
    import socket

    deadline = time.monotonic() + START_SECONDS
    while child.returncode is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{child.name} did not start:\n{child.tail()}")


async def _compare(ours: Prepared, theirs: Prepared, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Medians in ms and of the ratio round by round; the two take turns, after one round that does not count."""
    mine: list[float] = []
    other: list[float] = []
    for number in range(rounds + 1):
        for prepare, times in ((ours, mine), (theirs, other)):
            work = prepare()
            began = time.perf_counter()
            await work()
            if number:
                times.append((time.perf_counter() - began) * 1000)
    ratios = [a / b for a, b in zip(mine, other, strict=True)]
    return statistics.median(mine), statistics.median(other), statistics.median(ratios)


async def _taps(world: _World) -> Result:
    """Uploads over HTTP, signed, judged, stored and answered one by one, against COPY of the very same rows.

    COPY goes into a table with the same key, indexes and checks, in equal batches, each committed, over as many
    connections.
    """
    ids = TapIds()
    conn = await _bare_table(world.url, "tap")
    pool = await asyncpg.create_pool(world.url, min_size=UPLOADERS, max_size=UPLOADERS)

    def ours() -> Timed:
        uploads = [_upload(world.reader, ids) for _ in range(BATCHES)]

        async def upload() -> None:
            answers = await send(world.port, uploads, UPLOADERS)
            assert len(answers) == BATCHES
            for answer in answers:
                assert answer.status == 200, answer.body
                assert answer.body.count(b'"stored"') == BATCH

        return upload

    def theirs() -> Timed:
        now = int(time.time() * 1000)
        batches = [
            [(row[0], ids.make(now), *row[2:]) for row in rows[start : start + BATCH]]
            for start in range(0, len(rows), BATCH)
        ]

        async def one(batch: list[tuple[Any, ...]]) -> None:
            async with pool.acquire() as connection:
                await connection.copy_records_to_table("bare_tap", records=batch)

        async def copy() -> None:
            await asyncio.gather(*(one(batch) for batch in batches))

        return copy

    await ours()()
    found = await conn.fetch("SELECT * FROM tap ORDER BY tap_id DESC LIMIT $1", BATCH * BATCHES)
    rows = [tuple(row) for row in found]
    assert list(found[0].keys())[:2] == ["tenant", "tap_id"]
    mine, other, ratio = await _compare(ours, theirs)
    await pool.close()
    await conn.close()
    return Result(
        name=f"taps accepted over HTTP, {BATCH} an upload",
        against="COPY of the same rows",
        ours=mine * 1000 / (BATCH * BATCHES),
        theirs=other * 1000 / (BATCH * BATCHES),
        unit="us",
        ratio=ratio,
        bar=3.0,
    )


async def _bare_table(url: str, table: str) -> asyncpg.Connection:
    """``bare_<table>`` with the same columns, key, indexes and checks; the connection sees every tenant."""
    conn = await asyncpg.connect(url)
    await conn.execute("SELECT set_config('rescard.tenant', '*', false)")
    await conn.execute(
        f"CREATE TABLE bare_{table} (LIKE {table} INCLUDING DEFAULTS INCLUDING INDEXES INCLUDING CONSTRAINTS)"
    )
    return conn


def _upload(reader: FakeReader, ids: TapIds) -> bytes:
    """One signed request: nine in ten were let in."""
    now = int(time.time() * 1000)
    items = []
    for number in range(BATCH):
        card = b64url_encode(secrets.token_bytes(8)).decode()
        refused = {} if number % 10 else {"outcome": "deny", "reason": "closed"}
        items.append(reader.tap(tap_id=str(ids.make(now)), card=card, **refused))
    assertion = reader.assertion("POST", "/v1/taps")
    headers = {"Authorization": f"Reader {assertion}", "Content-Type": "application/json"}
    return request("POST", "/v1/taps", headers, json.dumps({"items": items}).encode())


async def _issue(world: _World) -> Result:
    """Issuing over HTTP with the picture of the code, against signing, one committed row and drawing by themselves."""
    conn = await _bare_table(world.url, "card")
    key = SigningKey.generate(TenantId("wcc"))
    allowed = {"Authorization": f"Bearer {world.token}"}
    body = json.dumps({"person_id": world.person}).encode()

    async def one(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
        (answer,) = await send(world.port, [request(method, path, allowed | headers, body)], 1)
        assert answer.status in (200, 201), answer.body
        return answer.body

    async def issue() -> None:
        for _ in range(ISSUED):
            headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
            card = json.loads(await one("POST", "/v1/cards", headers, body))
            await one("GET", f"/v1/cards/{card['card_id']}/qr.svg", {})

    def ours() -> Timed:
        return issue

    def theirs() -> Timed:
        batch = [(row[0], secrets.token_bytes(8), first + n, *row[3:]) for n, row in enumerate(rows)]

        async def barely() -> None:
            for row in batch:
                await conn.execute(insert, *row)
                qr_svg(sign_card(card_claims(), key), 8)
            await conn.execute("TRUNCATE bare_card")

        return barely

    await issue()
    found = await conn.fetch("SELECT * FROM card ORDER BY issued_at DESC LIMIT $1", ISSUED)
    assert list(found[0].keys())[:3] == ["tenant", "card_id", "card_index"]
    rows, first = [tuple(row) for row in found], 1_000_000
    places = ", ".join(f"${n + 1}" for n in range(len(rows[0])))
    insert = f"INSERT INTO bare_card VALUES ({places})"
    mine, other, ratio = await _compare(ours, theirs, rounds=5)
    await conn.close()
    return Result(
        name="issue a card and draw its code, over HTTP",
        against="sign, insert and draw",
        ours=mine / ISSUED,
        theirs=other / ISSUED,
        unit="ms",
        ratio=ratio,
        bar=1.5,
    )


async def _read(world: _World) -> Result:
    """Requests a second for one person by primary key, against an aiohttp handler with one asyncpg query."""
    path = f"/v1/people/{world.person}"
    one = request("GET", path, {"Authorization": f"Bearer {world.token}"})

    def load(port: int) -> Timed:
        async def read() -> None:
            answers = await send(port, [one] * READS, AT_ONCE)
            assert len(answers) == READS
            assert {answer.status for answer in answers} == {200}

        return read

    port = free_port()
    with _process("bare", ["-m", "tests.benchmarks.bare", str(port)], {"DATABASE_URL": world.url}, world.folder, port):
        mine, other, ratio = await _compare(lambda: load(world.port), lambda: load(port))
    return Result(
        name="read API, one person by id, requests a second",
        against="a bare aiohttp + asyncpg handler",
        ours=READS / mine,
        theirs=READS / other,
        unit="/ms",
        ratio=1 / ratio,
        bar=0.7,
        sense="at least",
    )


async def _snapshot(world: _World) -> Result:
    """Both parts of a snapshot of a million cards, against COPY of the same columns to nowhere."""
    conn = await asyncpg.connect(world.url)
    await conn.execute("SELECT set_config('rescard.tenant', '*', false)")
    await conn.execute("SET session_replication_role = replica")  # a million people are not what is measured
    await conn.execute(
        "INSERT INTO feed (tenant, area, horizon_from, horizon_until) "
        "VALUES ('wcc', 'big', now(), now() + interval '30 days')"
    )
    await conn.execute(
        "INSERT INTO profile SELECT 'wcc', 'big', n, sha256(n::text::bytea), ('[[' || n || ']]')::bytea "
        "FROM generate_series(0, $1::integer - 1) AS n",
        PROFILES,
    )
    await conn.execute(
        "INSERT INTO card_row SELECT 'wcc', 'big', n, substring(sha256(n::text::bytea) FROM 1 FOR 8), 1, n % $2 "
        "FROM generate_series(0, $1::integer - 1) AS n",
        CARDS,
        PROFILES,
    )
    await conn.execute("ANALYZE card_row")
    await conn.close()
    database = Database(world.url, pool_size=2)
    await database.open()
    feed = FeedRef(tenant="wcc", area="big")
    statement = queries().feed.packed_rows.sql.partition("ORDER BY")[0]

    async def ours() -> None:
        async with database.transaction("wcc", read_only=True) as conn:
            built = await build(conn, feed, datetime.now(UTC))
        assert built.cards == CARDS

    async def nowhere(_: bytes) -> None:
        pass

    async def theirs() -> None:
        async with database.transaction("wcc", read_only=True) as conn:
            await conn.copy_from_query(statement, feed.tenant, feed.area, output=nowhere, format="binary")

    mine, other, ratio = await _compare(lambda: ours, lambda: theirs, rounds=3)
    await database.close()
    return Result(
        name="snapshot of 1 million cards",
        against="COPY of the same columns to nowhere",
        ours=mine,
        theirs=other,
        unit="ms",
        ratio=ratio,
        bar=3.0,
    )
