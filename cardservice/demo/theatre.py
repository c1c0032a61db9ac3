"""Everything that the story plays on: servers, service, catalogue, residents, sites; started and stopped in order."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, Self

import aiohttp
import asyncpg

from cardservice.db import Database
from cardservice.demo import catalogue, content
from cardservice.demo.cards import Holder
from cardservice.demo.client import Api, until
from cardservice.demo.console import Console
from cardservice.demo.seed import seed_residents
from cardservice.demo.site import DemoSite, Kind
from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.embedded.process import Child, free_port
from cardservice.embedded.valkey import EmbeddedValkey
from cardservice.errors import DemoError
from cardservice.keys.store import KeyStore
from cardservice.migrations import migrate
from cardservice.settings import Settings, load_settings
from entitlements.credential.keys import SigningKey

SERVICE_SECONDS: Final = 30.0
JWKS_SECONDS: Final = 1
"""A new key waits until nobody holds a key set without it: minutes in life, two seconds in a story."""


class Theatre:
    """The whole demonstration in ``folder``. Enter it to have it all running; leaving stops all of it."""

    def __init__(
        self, console: Console, folder: Path, *, residents: int, http: aiohttp.ClientSession, port: int
    ) -> None:
        self.console = console
        self.folder = folder
        self.residents = residents
        self._http = http
        self._port = port
        self._stack = AsyncExitStack()
        self._servers = ExitStack()
        self._service: Child | None = None
        self._settings: Settings | None = None
        self.api: Api
        self.leisure: DemoSite
        self.library: DemoSite

    async def __aenter__(self) -> Self:
        try:
            await self._build()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        if self._service is not None:
            self._service.stop()
        self._servers.close()

    async def _build(self) -> None:
        say = self.console
        self.folder.mkdir(parents=True, exist_ok=True)
        with say.progress("PostgreSQL (embedded)"):
            postgres = self._servers.enter_context(EmbeddedPostgres(self.folder / "postgres"))
            database_url = await self._database(postgres)
        with say.progress("Valkey (embedded)"):
            valkey = self._servers.enter_context(EmbeddedValkey(self.folder / "valkey"))
        port = self._port or free_port()
        self._settings = load_settings(
            {
                "DATABASE_URL": database_url,
                "REDIS_URL": valkey.url,
                "RESCARD_BIND": f"127.0.0.1:{port}",
                "RESCARD_PUBLIC_URL": f"http://127.0.0.1:{port}",
                "RESCARD_KEY_ENCRYPTION_KEY_FILE": str(self._secret()),
                "RESCARD_DEMO_PAGES": "true",
                "RESCARD_JWKS_SECONDS": str(JWKS_SECONDS),
            }
        )
        with say.progress("Schema and tenants"):
            await migrate(database_url)
            token = await content.ensure_tenants(self._settings)
        self.api = Api(self._http, self._settings.public_url, token)
        self._keep_token(token)
        with say.progress("Card service"):
            await self.start_service()
        with say.progress("Sites and services"):
            await content.publish_catalogue(self.api)
        with say.progress(f"{self.residents:,} synthetic residents with cards, compiled for every service"):
            await seed_residents(self._settings, self.residents, datetime.now(UTC))
        with say.progress("Virtual hardware and two reader daemons"):
            await self._sites()

    async def _database(self, postgres: EmbeddedPostgres) -> str:
        connection = await asyncpg.connect(postgres.url())
        try:
            if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'rescard')"):
                await connection.execute("CREATE DATABASE rescard")
        finally:
            await connection.close()
        return postgres.url("rescard")

    def _secret(self) -> Path:
        path = self.folder / "key-encryption-key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(32))
        return path

    @property
    def token_file(self) -> Path:
        """An API token of this run, for whoever wants to try the API by hand."""
        return self.folder / "token"

    def _keep_token(self, token: str) -> None:
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(token + "\n")

    @property
    def settings(self) -> Settings:
        """Settings of the running service."""
        if self._settings is None:
            raise DemoError(what="service", detail="it was not started")
        return self._settings

    @property
    def service(self) -> Child:
        """The service's process."""
        if self._service is None:
            raise DemoError(what="service", detail="it was not started")
        return self._service

    async def start_service(self) -> None:
        """Start the service's process and return when it is ready."""
        ours = ("RESCARD_", "DATABASE_URL", "REDIS_URL")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "DATABASE_URL": self.settings.database_url,
            "REDIS_URL": self.settings.redis_url or "",
            "RESCARD_BIND": self.settings.bind,
            "RESCARD_PUBLIC_URL": self.settings.public_url,
            "RESCARD_KEY_ENCRYPTION_KEY_FILE": str(self.settings.key_encryption_key_file),
            "RESCARD_DEMO_PAGES": "true",
            "RESCARD_JWKS_SECONDS": str(self.settings.jwks_seconds),
        }
        self._service = Child(
            "service", [sys.executable, "-m", "cardservice", "serve"], log=self.folder / "service.log", env=environment
        )
        self._service.start()

        async def ready() -> bool | None:
            if self.service.returncode is not None:
                raise DemoError(what="service", detail=f"it ended:\n{self.service.tail()}")
            return await self.api.ready()

        await until("card service", ready, SERVICE_SECONDS)

    async def _sites(self) -> None:
        leisure: dict[str, Kind] = {catalogue.LEISURE_LANE: "camera", catalogue.EV_LANE: "nfc_card"}
        library: dict[str, Kind] = {catalogue.LIBRARY_LANE: "nfc_card", catalogue.HUB_LANE: "nfc_card"}
        for name, site_id, lanes, feeds in (
            ("leisure", catalogue.LEISURE_SITE, leisure, ["wcc/leisure", "wcc/ev"]),
            ("library", catalogue.LIBRARY_SITE, library, ["wcc/libraries", "rbkc/libraries", "wcc/hub"]),
        ):
            site = DemoSite(
                api=self.api,
                folder=self.folder / name,
                site_id=site_id,
                name=str(catalogue.SITES[site_id]["name"]),
                lanes=lanes,
                feeds=feeds,
            )
            setattr(self, name, await self._stack.enter_async_context(site))
            await site.start_reader()

    async def new_holder(self) -> Holder:
        """A new resident of Westminster, 38 years old and a library member, with a card; all over the HTTP API."""
        born = date.today().replace(day=1) - timedelta(days=38 * 366)  # noqa: DTZ011 - a birthday, not an instant
        person = {
            "given_name": "Marmalade",
            "family_name": "Exampleton",
            "date_of_birth": born.isoformat(),
            "household": f"story-{secrets.token_hex(4)}",
        }
        found = await self.api.call("POST", "/v1/people", person, tenant="wcc")
        person_id = str(found["person_id"])
        for kind, name in (("residency", "wcc"), ("member_of", "library")):
            fact = {"kind": kind, "name": name, "from": "2024-01-01"}
            await self.api.call("POST", f"/v1/people/{person_id}/facts", fact, tenant="wcc")
        issued = await self.api.call("POST", "/v1/cards", {"person_id": person_id}, tenant="wcc")
        return Holder(self.api, person_id, issued, str(issued["token"]))

    async def council_key(self) -> SigningKey:
        """Westminster's own card-signing key, to make a card that is genuine but old."""
        database = Database(self.settings.database_url, pool_size=2)
        await database.open()
        try:
            async with database.transaction("wcc") as conn:
                return await KeyStore(self.settings).signer(conn, "wcc", "card")
        finally:
            await database.close()
