"""What the demonstration is filled with: two councils, their sites and services, synthetic residents with cards."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cardservice.api.auth import create_token
from cardservice.catalogue.tenants import create_tenant
from cardservice.db import ALL_TENANTS, Database, queries
from cardservice.demo import catalogue
from cardservice.demo.client import Api
from cardservice.errors import DemoError
from cardservice.settings import Settings

LOOK_SECONDS: Final = 0.2
"""How often it is asked whether work in the background is done."""


async def ensure_tenants(settings: Settings) -> str:
    """Make the two councils where they are not there yet, and a platform token that lasts a day; returns the token."""
    database = Database(settings.database_url, pool_size=2)
    await database.open()
    try:
        for tenant, name in catalogue.TENANTS.items():
            async with database.transaction(ALL_TENANTS) as conn:
                exists = await queries().api.tenant_exists(conn, tenant=tenant)
            if not exists:
                async with database.transaction(tenant) as conn:
                    await create_tenant(conn, settings, tenant=tenant, name=name, timezone="Europe/London")
        async with database.transaction(ALL_TENANTS) as conn:
            tomorrow = datetime.now(UTC) + timedelta(days=1)
            _, token = await create_token(
                conn, tenant=ALL_TENANTS, label="demonstration", roles=["admin"], expires_at=tomorrow
            )
    finally:
        await database.close()
    return token


async def publish_catalogue(api: Api) -> None:
    """Put lists, sites and services; what is already so stays as it is."""
    for kind, lists in catalogue.LISTS.items():
        for name, members in lists.items():
            await api.call("PUT", f"/v1/lists/{kind}/{name}", {"members": members}, tenant="wcc")
    for site_id, site in catalogue.SITES.items():
        await api.call("PUT", f"/v1/sites/{site_id}", site, tenant="wcc")
    document = catalogue.LEISURE_DOCUMENT
    await _publish(api, {"document": document})
    await publish_library(api, catalogue.open_now(datetime.now(UTC)))


async def publish_library(api: Api, document: dict[str, Any]) -> None:
    """Publish the library service with these hours, for residents of both councils."""
    await _publish(api, {"document": document, "shared_with": ["rbkc"]})


async def _publish(api: Api, body: dict[str, Any]) -> None:
    """Put a document in force; among many residents that is work in the background, which is waited for."""
    done = await api.call("PUT", f"/v1/services/{body['document']['id']}", body, tenant="wcc")
    if done.get("job_id") is None:
        return
    while (job := await api.call("GET", f"/v1/jobs/{done['job_id']}", tenant="wcc"))["state"] != "done":
        if job["state"] == "failed":
            raise DemoError(what="service", detail=job["problem"])
        await asyncio.sleep(LOOK_SECONDS)
