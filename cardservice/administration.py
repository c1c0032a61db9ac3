"""What an administrator of the platform does from the command line. Audited like what comes over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg

from cardservice.api.auth import PERSON_PATTERN, create_token
from cardservice.catalogue.tenants import create_tenant
from cardservice.db import ALL_TENANTS, Connection, Database, queries
from cardservice.errors import RefusedError
from cardservice.settings import Settings

ACTOR: Final = "command line"


async def add_tenant(settings: Settings, *, tenant: str, name: str, timezone: str, leap_birthday: str) -> None:
    """Add a council with its signing keys.

    Raises:
        ValueError: a value is not in order.
        RefusedError: the council is there already.
    """
    try:
        async with _transaction(settings, tenant) as conn:
            await create_tenant(
                conn, settings, tenant=tenant, name=name, timezone=timezone, leap_birthday=leap_birthday
            )
            await _audit(conn, tenant, "tenant.added", f"tenant:{tenant}")
    except asyncpg.UniqueViolationError as error:
        raise RefusedError(detail=f"there is a council {tenant} already") from error


async def add_token(
    settings: Settings,
    *,
    tenant: str,
    label: str,
    roles: Sequence[str],
    expires_at: datetime,
    person: str | None = None,
) -> str:
    """Create an API token for a council, or for the platform (``*``), and give it.

    Raises:
        RefusedError: there is no such council, or the person is not named as one can be.
    """
    if person is not None and re.fullmatch(PERSON_PATTERN, person) is None:
        raise RefusedError(
            detail="a person is a staff number, sign-in name or mail address: letters, digits and . _ @ + -"
        )
    held: dict[str, Any] = {"label": label, "person": person and person.lower(), "roles": sorted(set(roles))}
    async with _transaction(settings, tenant) as conn:
        if tenant != ALL_TENANTS and not await queries().api.tenant_exists(conn, tenant=tenant):
            raise RefusedError(detail=f"there is no council {tenant}; add it with `cardservice tenant add`")
        token_id, token = await create_token(conn, tenant=tenant, expires_at=expires_at, **held)
        await _audit(conn, tenant, "token.created", f"token:{token_id}", **held)
    return token


async def begin_new_epoch(settings: Settings, *, tenant: str, area: str | None) -> list[tuple[str, int]]:
    """Let every reader of a council's feeds, or of one, start over from a fresh snapshot: after a restore.

    Readers are told by the service processes within half a second.

    Returns:
        The feeds' areas and numbers.

    Raises:
        RefusedError: there is no such council or feed.
    """
    areas = None if area is None else [area]
    async with _transaction(settings, tenant) as conn:
        if not await queries().api.tenant_exists(conn, tenant=tenant):
            raise RefusedError(detail=f"there is no council {tenant}")
        await queries().feed.lock_tenant(conn, tenant=tenant)
        begun = [
            (row["area"], row["number"]) async for row in queries().feed.new_epoch(conn, tenant=tenant, areas=areas)
        ]
        if not begun:
            raise RefusedError(detail=f"nothing was ever published in {area or 'any area'} of {tenant}")
        await _audit(conn, tenant, "feed.new_epoch", f"tenant:{tenant}", areas=sorted(name for name, _ in begun))
    return sorted(begun)


@asynccontextmanager
async def _transaction(settings: Settings, tenant: str) -> AsyncIterator[Connection]:
    database = Database(settings.database_url, pool_size=1)
    await database.open()
    try:
        async with database.transaction(tenant) as conn:
            yield conn
    finally:
        await database.close()


async def _audit(conn: Connection, tenant: str, action: str, subject: str, **detail: object) -> None:
    await queries().api.add_audit(
        conn, tenant=tenant, actor=ACTOR, action=action, subject=subject, detail=detail, request_id=None
    )
