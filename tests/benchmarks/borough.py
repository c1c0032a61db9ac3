"""A borough compiled: all of it, a day of it, and a manager who tries a document on its taps.

PostgreSQL is a process of its own on loopback, and so are the move of the horizon that is watched and the replay: they
run as the service runs them.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg

from cardservice.api.call import Actor, Errand
from cardservice.background.aside import run_aside
from cardservice.catalogue.life.replaying import Order as ReplayOrder
from cardservice.catalogue.life.replaying import Replays
from cardservice.catalogue.services import intend, publish
from cardservice.db import Database, queries
from cardservice.demo.seed import seed_council
from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.feed.moving import Order as MoveOrder
from cardservice.feed.moving import move_horizon
from cardservice.feed.recompile import recompile
from cardservice.feed.window import window_of
from cardservice.feed.writer import lock_tenant
from cardservice.migrations import migrate
from cardservice.settings import Settings
from entitlements.compile import compile_profile
from entitlements.model import Instant
from entitlements.profile import Horizon
from readers.identifiers import TapIds
from tests.benchmarks.measure import MINUTE, Result, within_a_minute
from tests.benchmarks.population import RESIDENTS, documents, residents, services
from tests.benchmarks.world import DAY, NOW, VECTORS, world
from tests.support.service import add_tenant

SECRET: Final = "a benchmark secret of at least thirty-two characters"
DRAWN: Final = 4_000
"""Residents compiled in one round."""
ROUNDS: Final = 5
STORED: Final = 50_000
"""Residents of the borough in PostgreSQL."""
TAPS: Final = 300_000
"""A month of a borough."""
LOCK_SECONDS: Final = 0.150
"""The longest that a revocation may take until readers have it (performance.md, p99)."""
LOOK: Final = 0.005
"""Seconds between two tries to take the council's lock."""
SEED: Final = 20_260_601
AREA: Final = "borough"
GYM: Final = "wcc.leisure.gym-offpeak"


def run() -> list[Result]:
    """In memory, and in PostgreSQL."""
    return [_compile(), *asyncio.run(_stored())]


def _compile() -> Result:
    """Ten services and 35 days for each resident. Nothing is shared between two of them."""
    compiled, everything, people = services(), world(), residents(DRAWN)
    horizon = Horizon(start=Instant(NOW - DAY), end=Instant(NOW + 36 * DAY))
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for facts in people:
            compile_profile(facts, compiled, everything, horizon)
        times.append((time.perf_counter() - started) / DRAWN)
    one = statistics.median(times)
    allowed = MINUTE / RESIDENTS
    return Result(
        name="compile a resident for ten services",
        against=f"a minute of one core for {RESIDENTS:,} residents",
        ours=one * 1e6,
        theirs=allowed * 1e6,
        unit="us",
        ratio=one / allowed,
        bar=1.0,
    )


async def _stored() -> list[Result]:
    with (
        tempfile.TemporaryDirectory(prefix="rescard-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        admin = await asyncpg.connect(server.url())
        await admin.execute("CREATE DATABASE borough")
        await admin.close()
        settings = Settings(
            database_url=server.url("borough"), bind="127.0.0.1:0", key_encryption_key=SECRET, pool_size=4
        )
        await migrate(settings.database_url)
        for tenant, name in (("wcc", "Westminster"), ("rbkc", "Kensington and Chelsea")):
            await add_tenant(settings, tenant, name)
        db = Database(settings.database_url, pool_size=4)
        await db.open()
        try:
            now = datetime.now(UTC)
            await _fill(db, settings, now)
            moved = await _day(db, now + timedelta(days=1))
            waits = await _waits(db, settings, now + timedelta(days=2))
            tried = await _tried(settings, now)
        finally:
            await db.close()
    return [moved, waits, tried]


async def _fill(db: Database, settings: Settings, now: datetime) -> None:
    """The worked services in one area of one council, and its residents."""
    known = json.loads((VECTORS / "world.json").read_text())
    sites = {"wcc-hub", "school-1", *(site for members in known["site_sets"].values() for site in members)}
    async with db.transaction("wcc") as conn:
        for kind, place in (("site_set", "site_sets"), ("calendar", "calendars"), ("item_list", "item_lists")):
            for name, members in known[place].items():
                await queries().catalogue.put_list(
                    conn, tenant="wcc", kind=kind, name=name, members=list(members), now=now
                )
        lanes = [{"lane": "1", "name": "1", "zone": "gym", "direction": "entry", "areas": [AREA], "services": None}]
        for site in sorted(sites):
            await queries().catalogue.put_site(conn, tenant="wcc", site_id=site, name=site, lanes=lanes, now=now)
        for document in _documents():
            errand = Errand(conn=conn, actor=Actor(name="benchmark", tenant="wcc"), now=now)
            await publish(errand, await intend(errand, document["id"], document, ()))
    async with db.transaction("wcc") as conn:
        await seed_council(conn, settings, "wcc", STORED, now)
    conn = await asyncpg.connect(settings.database_url)
    await conn.execute("VACUUM ANALYZE")
    await conn.close()


def _documents() -> list[dict[str, Any]]:
    own = [document for document in documents() if document["tenant"] == "wcc"]
    gym = next(document for document in own if document["id"] == GYM)
    return [document | {"area": AREA} for document in (*own, gym | {"id": "wcc.leisure.hall"})]


async def _day(db: Database, now: datetime) -> Result:
    """The move of a day as the service makes it, against compiling everybody in one transaction, which is undone."""
    begins, ends = window_of(now)
    async with db.pool.acquire() as conn:
        trial = conn.transaction()
        await trial.start()
        await queries().feed.bind_tenant(conn, tenant="wcc")
        started = time.perf_counter()
        number = await lock_tenant(conn, "wcc")
        await queries().feed.begin_move(conn, tenant="wcc", horizon_from=begins, horizon_until=ends)
        await recompile(conn, "wcc", issue_number=number, now=now)
        everybody = time.perf_counter() - started
        await trial.rollback()
    started = time.perf_counter()
    await move_horizon(db, "wcc", now=now)
    seconds = time.perf_counter() - started
    return Result(
        name=f"horizon of {STORED:,} residents and ten services moved by a day, in PostgreSQL",
        against="compiling everybody",
        ours=seconds,
        theirs=everybody,
        unit="s",
        ratio=seconds / everybody,
        bar=0.2,
    )


async def _waits(db: Database, settings: Settings, now: datetime) -> Result:
    """How long the council's lock is waited for while another process looks at everybody, as after a release."""
    async with db.transaction("wcc") as conn:
        await conn.execute("UPDATE feed SET rules = NULL")
    move = asyncio.create_task(
        run_aside(
            "cardservice.feed.moving",
            MoveOrder(database_url=settings.database_url, tenant="wcc", now=now),
            seconds=1_000.0,
        )
    )
    waits = []
    while not move.done():
        async with db.transaction("wcc") as conn:
            started = time.perf_counter()
            await lock_tenant(conn, "wcc")
            waits.append(time.perf_counter() - started)
        await asyncio.sleep(LOOK)
    await move
    longest = statistics.quantiles(waits, n=1000)[-1]
    return Result(
        name=f"wait for the council's lock while all {STORED:,} residents are looked at, p99.9",
        against="what a revocation may take in all",
        ours=longest * 1e3,
        theirs=LOCK_SECONDS * 1e3,
        unit="ms",
        ratio=longest / LOCK_SECONDS,
        bar=1.0,
    )


async def _tried(settings: Settings, now: datetime) -> Result:
    """A draft on a month of stored taps, from the manager's request to the result: SQL, facts, process and all."""
    old = next(document for document in _documents() if document["id"] == GYM)
    new = json.loads(json.dumps(old))
    for window in new["when"]["windows"]:
        window["until"] = "13:00"
    await _take_taps(settings, now)
    order = ReplayOrder(
        database_url=settings.database_url,
        tenant="wcc",
        old=old,
        new=new,
        since=(now - timedelta(days=30)).timestamp(),
        until=now.timestamp(),
        examples=10,
    )
    started = time.perf_counter()
    found = await Replays().run(order)
    seconds = time.perf_counter() - started
    if found["taps"] + found["exits"] != TAPS or not (found["now_allowed"] or found["now_refused"]):
        raise RuntimeError(f"the replay changed nothing: {found['sentences']}")
    return within_a_minute(f"simulation of a draft on {TAPS:,} stored taps, PostgreSQL to result", seconds)


async def _take_taps(settings: Settings, now: datetime) -> None:
    """A month at the gym's sites, three of ten going out."""
    dice, ids = random.Random(SEED), TapIds()
    conn = await asyncpg.connect(settings.database_url)
    await conn.execute("SELECT set_config('rescard.tenant', '*', false)")
    cards = [row["card_id"] for row in await conn.fetch("SELECT card_id FROM card WHERE tenant = 'wcc' LIMIT 40000")]
    members = await conn.fetchval("SELECT members FROM catalogue_list WHERE name = '@wcc-leisure'")
    sites, reader = sorted(json.loads(members) if isinstance(members, str) else members), uuid.uuid4()
    rows = []
    for ago in sorted((dice.randrange(1, 30 * DAY) for _ in range(TAPS)), reverse=True):
        out = dice.random() < 0.3
        at = now - timedelta(seconds=ago)
        rows.append(
            (
                *("wcc", ids.make(int(at.timestamp() * 1000)), reader),
                *(dice.choice(sites), "1", "exit" if out else "entry", at),
                *("wcc", dice.choice(cards), GYM, 1, "allow", "ok", "qr", True, True, 0),
            )
        )
    await conn.copy_records_to_table(
        "tap",
        records=rows,
        columns=[
            *("tenant", "tap_id", "reader_id", "site_id", "lane_id", "direction", "happened_at", "card_tenant"),
            *("card_id", "service_id", "service_version", "outcome", "reason", "media", "online", "clock_trusted"),
            "clock_offset_ms",
        ],
    )
    await conn.execute("ANALYZE tap")
    await conn.close()
