"""The service against the same work done barely: issuing, reading one row, taking in taps, building a snapshot.

PostgreSQL, Valkey and the service are real processes on loopback and end with the run.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import aiohttp
import asyncpg
from aiohttp import web

from cardservice.cards.pictures import qr_svg
from cardservice.db import Database, queries
from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.embedded.process import free_port
from cardservice.embedded.valkey import EmbeddedValkey
from cardservice.feed.access import FeedRef
from cardservice.feed.snapshot import build
from cardservice.migrations import migrate
from cardservice.settings import Settings
from entitlements.credential.keys import SigningKey
from entitlements.model import TenantId
from readers.identifiers import TapIds
from tests.benchmarks.measure import Result
from tests.support.cards import card_claims
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.registry import add_person
from tests.support.service import Service, add_tenant, run_service

SECRET: Final = "a benchmark secret of at least thirty-two characters"
BATCH: Final = 500
BATCHES: Final = 20
ROUNDS: Final = 5
ISSUED: Final = 30
READS: Final = 1_500
AT_ONCE: Final = 16
CARDS: Final = 1_000_000
PROFILES: Final = 10_000

Timed = Callable[[], Awaitable[object]]


def run() -> list[Result]:
    """Taps, issue, read API and snapshot; about a minute, most of it writing a million cards."""
    return asyncio.run(_run())


async def _run() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        async with _service(Path(folder)) as service:
            return [await _taps(service), await _issue(service), await _read(service), await _snapshot(service)]


@asynccontextmanager
async def _service(folder: Path) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        url = postgres.url()
        await migrate(url)
        settings = Settings(
            database_url=url,
            redis_url=valkey.url,
            bind=f"127.0.0.1:{free_port()}",
            key_encryption_key=SECRET,
            log_level="warning",
        )
        await add_tenant(settings, "wcc", "Westminster City Council")
        yield await stack.enter_async_context(run_service(settings))


async def _compare(ours: Timed, theirs: Timed, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Medians in ms and of the ratio round by round; the two take turns."""
    mine: list[float] = []
    other: list[float] = []
    await ours()
    await theirs()
    for _ in range(rounds):
        for work, times in ((ours, mine), (theirs, other)):
            began = time.perf_counter()
            await work()
            times.append((time.perf_counter() - began) * 1000)
    ratios = [a / b for a, b in zip(mine, other, strict=True)]
    return statistics.median(mine), statistics.median(other), statistics.median(ratios)


async def _taps(service: Service) -> Result:
    """Uploads over HTTP, signed, judged, stored and answered one by one, against COPY of the very same rows."""
    reader = await enrolled_reader(service)
    ids = TapIds()
    conn = await asyncpg.connect(service.settings.database_url)
    await conn.execute("SELECT set_config('rescard.tenant', '*', false)")
    await conn.execute("CREATE TABLE bare_tap (LIKE tap INCLUDING DEFAULTS)")
    await conn.execute("ALTER TABLE bare_tap ADD PRIMARY KEY (tenant, tap_id)")

    async def ours() -> None:
        for body in [_batch(reader, ids) for _ in range(BATCHES)]:
            status, answer = await reader.call("POST", "/v1/taps", data=body)
            assert status == 200, answer
            assert {result["result"] for result in answer["results"]} == {"stored"}

    async def theirs() -> None:
        await conn.execute("TRUNCATE bare_tap")
        await conn.copy_records_to_table("bare_tap", records=rows)

    await ours()
    rows = [tuple(row) for row in await conn.fetch("SELECT * FROM tap ORDER BY tap_id DESC LIMIT $1", BATCH * BATCHES)]
    mine, other, ratio = await _compare(ours, theirs)
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


def _batch(reader: FakeReader, ids: TapIds) -> bytes:
    now = int(time.time() * 1000)
    return json.dumps(
        {"items": [reader.tap(tap_id=str(ids.make(now)), outcome="deny", reason="closed") for _ in range(BATCH)]}
    ).encode()


async def _issue(service: Service) -> Result:
    """Issuing over HTTP with the picture of the code, against signing, one committed row and drawing by themselves."""
    person = await add_person(service)
    conn = await asyncpg.connect(service.settings.database_url)
    await conn.execute("CREATE TABLE bare_card (LIKE card INCLUDING DEFAULTS)")
    await conn.execute("ALTER TABLE bare_card ADD PRIMARY KEY (tenant, card_id)")
    key = SigningKey.generate(TenantId("wcc"))

    async def ours() -> None:
        for _ in range(ISSUED):
            status, card = await service.call("POST", "/v1/cards", {"person_id": person})
            assert status == 201, card
            status, _ = await service.call("GET", f"/v1/cards/{card['card_id']}/qr.svg")
            assert status == 200

    async def theirs() -> None:
        from entitlements.credential.jwt import sign_card

        for row in rows:
            await conn.execute(insert, *row)
            qr_svg(sign_card(card_claims(), key), 8)
        await conn.execute("TRUNCATE bare_card")

    await ours()
    await conn.execute("SELECT set_config('rescard.tenant', '*', false)")
    found = await conn.fetch("SELECT * FROM card ORDER BY issued_at DESC LIMIT $1", ISSUED)
    rows = [tuple(row) for row in found]
    places = ", ".join(f"${n + 1}" for n in range(len(rows[0])))
    insert = f"INSERT INTO bare_card VALUES ({places})"
    mine, other, ratio = await _compare(ours, theirs, rounds=3)
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


async def _read(service: Service) -> Result:
    """Requests a second for one person by primary key, against an aiohttp handler with one asyncpg query."""
    person = await add_person(service)
    token = await service.token()
    pool = await asyncpg.create_pool(service.settings.database_url, min_size=10, max_size=10)

    async def bare(_: web.Request) -> web.Response:
        async with pool.acquire() as conn:
            row = await conn.fetchrow("SELECT * FROM person WHERE tenant = $1 AND person_id = $2", "wcc", UUID(person))
        return web.json_response({name: str(value) for name, value in row.items()})

    app = web.Application()
    app.router.add_get("/v1/people/{person_id}", bare)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    async def load(base: str) -> None:
        left = iter(range(READS))

        async def client(http: aiohttp.ClientSession) -> None:
            for _ in left:
                async with http.get(f"{base}/v1/people/{person}", headers={"Authorization": f"Bearer {token}"}) as got:
                    assert got.status == 200
                    await got.read()

        async with aiohttp.ClientSession() as http:
            await asyncio.gather(*(client(http) for _ in range(AT_ONCE)))

    mine, other, ratio = await _compare(lambda: load(service.url), lambda: load(f"http://127.0.0.1:{port}"))
    await runner.cleanup()
    await pool.close()
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


async def _snapshot(service: Service) -> Result:
    """Both parts of a snapshot of a million cards, against COPY of the same columns to nowhere."""
    conn = await asyncpg.connect(service.settings.database_url)
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
    database = Database(service.settings.database_url, pool_size=2)
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

    mine, other, ratio = await _compare(ours, theirs, rounds=3)
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
