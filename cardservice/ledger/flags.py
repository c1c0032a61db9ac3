"""Flags: what did not add up, in a sentence, for people to look at. Nobody is charged back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from cardservice.db import Connection, queries

FlagKind = Literal["overspent", "late", "clock_ahead", "clock_untrusted", "unposted", "over_lent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """Something for people to look at. ``units`` over the limit where it is overspent, else the units concerned."""

    kind: FlagKind
    sentence: str
    at: datetime
    service_id: str | None = None
    area: str | None = None
    account: str | None = None
    scope: str | None = None
    holder: str | None = None
    person_id: UUID | None = None
    tap_id: UUID | None = None
    site_id: str | None = None
    units: int | None = None


async def raise_flags(conn: Connection, tenant: str, flags: Sequence[Flag], *, now: datetime) -> None:
    """Store flags of a tenant."""
    if not flags:
        return
    await queries().ledger.add_flags(
        conn,
        tenant=tenant,
        raised_at=now,
        kinds=[flag.kind for flag in flags],
        sentences=[flag.sentence for flag in flags],
        moments=[flag.at for flag in flags],
        services=[flag.service_id for flag in flags],
        areas=[flag.area for flag in flags],
        accounts=[flag.account for flag in flags],
        scopes=[flag.scope for flag in flags],
        holders=[flag.holder for flag in flags],
        people=[flag.person_id for flag in flags],
        taps=[flag.tap_id for flag in flags],
        sites=[flag.site_id for flag in flags],
        units=[flag.units for flag in flags],
    )
