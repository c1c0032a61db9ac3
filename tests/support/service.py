"""A service in this process, spoken to over real HTTP on loopback, and a small client for it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web

from cardservice.api.auth import create_token
from cardservice.app import make_app
from cardservice.db import Database
from cardservice.settings import Settings


@dataclass
class Service:
    """Where the service runs, and calls to it. Status and JSON come back; nothing is raised for a refusal."""

    url: str
    settings: Settings
    app: web.Application
    http: aiohttp.ClientSession
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    async def token(self, tenant: str = "wcc", roles: str = "admin") -> str:
        """A token of a tenant with these roles (comma separated)."""
        if (tenant, roles) not in self.tokens:
            database = Database(self.settings.database_url, pool_size=2)
            await database.open()
            try:
                async with database.transaction(tenant) as conn:
                    _, token = await create_token(
                        conn,
                        tenant=tenant,
                        label=f"test-{roles}",
                        roles=roles.split(","),
                        expires_at=datetime.now(UTC) + timedelta(hours=1),
                    )
            finally:
                await database.close()
            self.tokens[tenant, roles] = token
        return self.tokens[tenant, roles]

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        tenant: str = "wcc",
        roles: str = "admin",
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and JSON of one call by staff of ``tenant``; a write gets a fresh idempotency key unless given one."""
        sent = {"Authorization": f"Bearer {await self.token(tenant, roles)}"}
        if method != "GET":
            sent["Idempotency-Key"] = key or uuid.uuid4().hex
        sent |= headers or {}
        async with self.http.request(method, self.url + path, json=body, headers=sent) as response:
            if response.content_type in ("application/json", "application/problem+json"):
                return response.status, await response.json()
            return response.status, await response.read()


async def add_tenant(settings: Settings, tenant: str, name: str) -> None:
    """A tenant with its keys, as ``cardservice tenant add`` makes it."""
    from cardservice.catalogue.tenants import create_tenant

    database = Database(settings.database_url, pool_size=2)
    await database.open()
    try:
        async with database.transaction(tenant) as conn:
            await create_tenant(conn, settings, tenant=tenant, name=name, timezone="Europe/London")
    finally:
        await database.close()


@asynccontextmanager
async def run_service(settings: Settings) -> AsyncIterator[Service]:
    """The service on a free port of 127.0.0.1 until the block ends."""
    app = make_app(settings)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", settings.port)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as http:
            yield Service(url=f"http://{host}:{port}", settings=settings, app=app, http=http)
    finally:
        await runner.cleanup()
