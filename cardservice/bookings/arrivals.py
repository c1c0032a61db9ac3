"""A tap that was let in checks its booking in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from cardservice.bookings.telling import booking_rules, tellings
from cardservice.catalogue.loading import Catalogue
from cardservice.db import Connection, queries
from cardservice.feed.telling import Wanted
from cardservice.ledger.keys import AccountKeyring
from cardservice.ledger.visits import Visit


async def check_in(
    conn: Connection, tenant: str, visits: Sequence[Visit], catalogue: Catalogue, ring: AccountKeyring
) -> list[Wanted]:
    """Check in the booking that each visit was for: of those that may be used at that time, the nearest."""
    wanted: list[Wanted] = []
    for visit in visits:
        for rule in booking_rules(visit.service):
            row = await queries().bookings.check_in(
                conn,
                tenant=tenant,
                person_id=visit.person,
                owner=str(visit.service.tenant),
                resource=rule.resource,
                at=visit.at,
                latest_start=visit.at + timedelta(seconds=rule.early),
                earliest_start=None
                if rule.late is None
                else visit.at.replace(microsecond=0) - timedelta(seconds=rule.late),
            )
            if row is not None:
                wanted += tellings(row, catalogue, ring)
    return wanted
