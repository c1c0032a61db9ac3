"""Entries of the ledger of units: written once, told to the gates of the area, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from cardservice.db import Connection, queries
from cardservice.feed.telling import Wanted, tell_all
from cardservice.ledger.keys import AccountKeyring
from entitlements.wire.state import Units, UnitsChange

Kind = Literal["tap", "booking", "cancellation", "adjustment", "reversal"]
Holding = tuple[str, str, str, str]
"""Area, account, scope and the holder's real id: what units are added up by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Units taken (below zero: given back) at the time of an event.

    ``origin`` is the council of the site, or the tenant itself where staff wrote the entry.
    """

    entry_id: UUID
    origin: str
    area: str
    account: str
    scope: str
    holder: str
    units: int
    at: datetime
    kind: Kind
    service_id: str
    person_id: UUID | None
    site_id: str | None = None
    reader_id: UUID | None = None
    offline: bool = False
    actor: str | None = None
    reason: str | None = None

    @property
    def holding(self) -> Holding:
        """What it is added up by."""
        return self.area, self.account, self.scope, self.holder

    @property
    def name(self) -> tuple[UUID, str, str]:
        """What makes two entries the same: posting it again changes nothing."""
        return self.entry_id, self.origin, self.account


async def post(
    conn: Connection,
    tenant: str,
    entries: Sequence[Entry],
    *,
    keyring: AccountKeyring,
    issue_number: int,
    now: datetime,
) -> list[Entry]:
    """Write entries that are not there yet and tell the gates of them.

    Args:
        conn: a transaction of the tenant, the council whose residents' units they are, that holds its row lock.
        now: the service's clock.

    Returns:
        Those that were new.
    """
    if not entries:
        return []
    rows = queries().ledger.add_entries(
        conn,
        tenant=tenant,
        posted_at=now,
        entry_ids=[entry.entry_id for entry in entries],
        origins=[entry.origin for entry in entries],
        areas=[entry.area for entry in entries],
        accounts=[entry.account for entry in entries],
        scopes=[entry.scope for entry in entries],
        holders=[entry.holder for entry in entries],
        units=[entry.units for entry in entries],
        moments=[entry.at for entry in entries],
        kinds=[entry.kind for entry in entries],
        services=[entry.service_id for entry in entries],
        people=[entry.person_id for entry in entries],
        sites=[entry.site_id for entry in entries],
        readers=[entry.reader_id for entry in entries],
        offline=[entry.offline for entry in entries],
        actors=[entry.actor for entry in entries],
        reasons=[entry.reason for entry in entries],
    )
    new = {(row["entry_id"], row["origin"], row["account"]) async for row in rows}
    fresh = [entry for entry in entries if entry.name in new]
    await tell_all(conn, tenant, [_change(entry, keyring) for entry in fresh], issue_number=issue_number, now=now)
    return fresh


def wire_units(row: Any, keyring: AccountKeyring) -> Units:
    """An entry's row as gates get it."""
    return Units(
        entry=str(row["entry_id"]),
        account=row["account"],
        key=keyring.key(row["area"], row["scope"], row["holder"]),
        at=int(row["happened_at"].timestamp()),
        units=row["units"],
    )


def _change(entry: Entry, keyring: AccountKeyring) -> Wanted:
    units = Units(
        entry=str(entry.entry_id),
        account=entry.account,
        key=keyring.key(entry.area, entry.scope, entry.holder),
        at=int(entry.at.timestamp()),
        units=entry.units,
    )
    return entry.area, lambda n, tn, at: UnitsChange(n=n, tn=tn, at=at, entry=units)
