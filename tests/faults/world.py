"""What runs of one process share: PostgreSQL, Valkey, the nursery, and a small council to copy for each run."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

import aiohttp
import asyncpg
from aiohttp import web

from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.embedded.process import free_port
from cardservice.embedded.valkey import EmbeddedValkey
from cardservice.migrations import migrate
from cardservice.settings import Settings
from readers.client import ServiceClient
from readers.clock import TrustedClock
from readers.identity import Identity
from tests.faults.nursery import Nursery
from tests.faults.plan import AREAS, CARDS, LANES, READERS, SPARE_PEOPLE
from tests.support.feed import document, publish
from tests.support.service import Service, add_tenant
from tests.support.state import post, resident, swims

FEEDS: Final = tuple(f"wcc/{area}" for area in AREAS)
SITES: Final = {"a": "porchester", "b": "queensway"}
TEMPLATE: Final = "faults_template"
START_SECONDS: Final = 20.0
SECRET: Final = "a test secret of at least thirty-two characters"
SWIMS: Final[dict[str, Any]] = swims(900, "grant") | {"offline": {"max_stale": "PT24H", "lease": {"swims": 400}}}
"""Every visit takes a unit, and there are more than a run can use, on line or off."""
SERVICES_OF: Final = {"leisure": "wcc.leisure.gym", "libraries": "wcc.libraries.study"}
HISTORY: Final = """
CREATE TABLE told_change (area text, number bigint, body bytea);
CREATE FUNCTION keep_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO told_change VALUES (NEW.area, NEW.number, NEW.body);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_change AFTER INSERT ON feed_change FOR EACH ROW EXECUTE FUNCTION keep_change();
CREATE TABLE begun_epoch (area text, number bigint);
CREATE FUNCTION keep_epoch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO begun_epoch VALUES (NEW.area, NEW.number);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_epoch AFTER UPDATE ON feed FOR EACH ROW WHEN (OLD.epoch <> NEW.epoch) EXECUTE FUNCTION keep_epoch();
"""
"""Keeps for the test what the service may forget: every change ever told, and the numbers at which epochs began."""

AHEAD: Final = """
SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, last_value)
FROM pg_sequences WHERE last_value IS NOT NULL
"""
"""A sequence writes to the log that it is 32 numbers further than it is, and then gives these out unlogged. A copy of
the database has its own log without that, and would give numbers out twice after a kill: so begin afresh before it."""


def edition(area: str, number: int) -> dict[str, Any]:
    """The document of an area's service in one of its editions; the first is number 0."""
    more = SWIMS if area == "leisure" else {}
    return document(SERVICES_OF[area], title=f"Edition {number}", **more)


def site(reader: str, number: int) -> dict[str, Any]:
    """A reader's site in one of its editions."""
    return {"name": f"{SITES[reader]} {number}", "lanes": _lanes()}


@dataclass
class Council:
    """What is in the template."""

    token: str = ""
    cards: list[dict[str, Any]] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    """Those without a card."""


class World:
    """Enter it once; :meth:`database` and :meth:`reader_folder` give each run its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres", durable=False)
        self.valkey = EmbeddedValkey(folder / "valkey")
        self.nursery = Nursery()
        self.council = Council()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            # From the main thread: what it starts dies with the thread.
            stack.enter_context(self.postgres)
            stack.enter_context(self.valkey)
            await stack.enter_async_context(self.nursery)
            await self._found()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def settings(self, database: str, port: int) -> Settings:
        """Of a service on a database of ours."""
        return Settings(
            database_url=self.postgres.url(database),
            redis_url=self.valkey.url,
            bind=f"127.0.0.1:{port}",
            key_encryption_key=SECRET,
            stream_beat_seconds=0.3,
            poll_seconds=1.0,
            pool_size=6,
            log_format="json",
        )

    @asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[None]:
        """A copy of the council for one run."""
        await self._sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await self._sql(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        yield
        await self._sql(f"DROP DATABASE {name} WITH (FORCE)")

    def reader_folder(self, reader: str, where: Path) -> Path:
        """A copy of an enrolled reader's folder that has no data yet."""
        return Path(shutil.copytree(self.folder / f"reader-{reader}", where / f"reader-{reader}"))

    async def start_service(self, settings: Settings, log: Path, *, broken: str | None = None) -> int:
        """Start a service and wait until it answers; gives its process id."""
        pid = await self.nursery.run(
            "service", log, broken=broken, **settings.model_dump(mode="json", exclude_none=True)
        )
        async with aiohttp.ClientSession() as http, asyncio.timeout(START_SECONDS):
            while True:
                try:
                    async with http.get(f"http://{settings.bind}/readyz") as answer:
                        if answer.status == 200:
                            return pid
                except (aiohttp.ClientError, OSError):
                    pass
                if not Path(f"/proc/{pid}/cmdline").read_bytes():
                    raise AssertionError(f"the service ended at its start: {log.read_text()[-3000:]}")
                await asyncio.sleep(0.01)

    async def _sql(self, statement: str, *database: str) -> None:
        connection = await asyncpg.connect(self.postgres.url(*database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _found(self) -> None:
        """Found the council and enrol its readers."""
        await self._sql(f"CREATE DATABASE {TEMPLATE}")
        await migrate(self.postgres.url(TEMPLATE))
        await self._sql(HISTORY, TEMPLATE)
        settings = self.settings(TEMPLATE, free_port())
        await add_tenant(settings, "wcc", "Westminster City Council")
        await self._sites(settings)
        pid = await self.start_service(settings, self.folder / "founding.log")
        async with aiohttp.ClientSession() as http:
            url = f"http://{settings.bind}"
            service = Service(url=url, settings=settings, app=cast(web.Application, None), http=http)
            for area in AREAS:
                await publish(service, edition(area, 0))
            self.council.token = await service.token()
            for _ in range(CARDS):
                self.council.cards.append(await resident(service))
            for _ in range(SPARE_PEOPLE):
                self.council.people.append((await resident(service, card=False))["person_id"])
            for reader in READERS:
                body = {"site": SITES[reader], "name": reader, "feeds": list(FEEDS)}
                code = (await post(service, "/v1/readers/codes", body))["code"]
                identity = Identity(self.folder / f"reader-{reader}")
                async with ServiceClient(url, identity, TrustedClock()) as client:
                    identity.accept(await client.enrol(code))
        await self.nursery.kill(pid)
        await self._sql(AHEAD, TEMPLATE)
        await self._sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{TEMPLATE}' AND pid <> pg_backend_pid()"
        )

    async def _sites(self, settings: Settings) -> None:
        connection = await asyncpg.connect(settings.database_url)
        try:
            for name in SITES.values():
                await connection.execute(
                    "INSERT INTO site (tenant, site_id, name, lanes) VALUES ('wcc', $1, $1, $2)",
                    name,
                    json.dumps(_lanes()),
                )
        finally:
            await connection.close()


def _lanes() -> list[dict[str, Any]]:
    return [
        {"lane": lane, "name": lane, "zone": area, "direction": "entry", "areas": [area], "services": None}
        for lane, area in zip(LANES, AREAS, strict=True)
    ]
