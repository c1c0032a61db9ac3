"""New councils: a row, a secret for the numbering of cards, and the first signing keys."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cardservice.db import Connection, queries
from cardservice.keys.store import KeyStore, Purpose
from cardservice.settings import Settings

INDEX_SECRET_BYTES: Final = 32
"""Key of the permutation that numbers cards; as strong as the keys that sign them."""
FIRST_KEYS: Final[tuple[Purpose, ...]] = ("card", "feed", "status")
LEAP_BIRTHDAYS: Final = ("03-01", "02-28")
_TENANT = re.compile(r"[a-z][a-z0-9-]{1,15}")


def is_tenant_id(text: str) -> bool:
    """Whether a text has the form of a council's short id (and so is not ``*``)."""
    return _TENANT.fullmatch(text) is not None


async def create_tenant(
    conn: Connection,
    settings: Settings,
    *,
    tenant: str,
    name: str,
    timezone: str,
    leap_birthday: str = "03-01",
    brand: Mapping[str, Any] | None = None,
) -> None:
    """Add a council, with active keys that sign cards, feeds and the status list.

    Args:
        conn: a transaction of this tenant.
        tenant: short id, 2 to 16 of ``a-z 0-9 -``, beginning with a letter; it is the issuer in every card.
        timezone: IANA name, e.g. ``Europe/London``.
        leap_birthday: when someone born on 29 February has their birthday in common years.

    Raises:
        ValueError: a value is not in order; names it.
        asyncpg.UniqueViolationError: the council is there already.
    """
    if not is_tenant_id(tenant):
        raise ValueError(f"tenant {tenant!r}: use 2 to 16 of a-z, 0-9 and -, beginning with a letter")
    if not name.strip():
        raise ValueError("name: it is empty")
    if leap_birthday not in LEAP_BIRTHDAYS:
        raise ValueError(f"leap_birthday {leap_birthday!r}: use {' or '.join(LEAP_BIRTHDAYS)}")
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"timezone {timezone!r}: there is no such zone") from error
    await queries().tenants.add(
        conn,
        tenant=tenant,
        name=name,
        timezone=timezone,
        leap_birthday=leap_birthday,
        brand=dict(brand or {}),
        index_secret=os.urandom(INDEX_SECRET_BYTES),
    )
    store = KeyStore(settings)
    for purpose in FIRST_KEYS:
        await store.create(conn, tenant, purpose, "active")
