"""The state of an area, whole, for a reader that starts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from cardservice.bookings.telling import open_bookings
from cardservice.catalogue.loading import Catalogue
from cardservice.db import Connection, queries
from cardservice.ledger.accounts import instant, moment_of, period_of, quotas
from cardservice.ledger.entries import wire_units
from cardservice.ledger.keys import AccountKeyring, keyring
from cardservice.loans.telling import open_loans
from cardservice.upstreams.telling import recent_words
from entitlements.wire.state import Holder, StateSnapshot, Units

SLACK: Final = timedelta(hours=1)
"""A reader whose clock is behind still asks about the period before."""
BEGINNING: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

_holders: msgspec.json.Decoder[Holder] = msgspec.json.Decoder(Holder)


async def state_of(conn: Connection, tenant: str, area: str, catalogue: Catalogue, now: datetime) -> StateSnapshot:
    """All that gates of an area keep beside rows and documents.

    Args:
        conn: a REPEATABLE READ transaction of the tenant.
    """
    ring = await keyring(conn, tenant)
    services = catalogue.area(area).services
    return StateSnapshot(
        holders=[
            _holders.decode(row["body"]) async for row in queries().ledger.holders(conn, tenant=tenant, area=area)
        ],
        units=await _units(conn, tenant, area, catalogue, ring, now),
        bookings=await open_bookings(conn, tenant, area, services, ring, now),
        loans=await open_loans(conn, tenant, area, services, ring),
        upstreams=await recent_words(conn, tenant, area, services, ring, now),
    )


async def _units(
    conn: Connection, tenant: str, area: str, catalogue: Catalogue, ring: AccountKeyring, now: datetime
) -> list[Units]:
    """Entries of periods that are not over."""
    since: dict[str, datetime] = {}
    for service in catalogue.area(area).services:
        for quota in quotas(service):
            if quota.counts == "created":
                continue  # a gate neither takes nor tests them
            start, _ = period_of(service, quota.period, instant(now - SLACK), None, catalogue.world)
            begun = moment_of(start) or BEGINNING
            since[quota.account] = min(begun, since.get(quota.account, begun))
    if not since:
        return []
    rows = queries().ledger.counting_entries(
        conn, tenant=tenant, area=area, accounts=list(since), sinces=list(since.values())
    )
    return [wire_units(row, ring) async for row in rows]
