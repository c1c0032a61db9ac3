"""What gates hear of bookings: in every area with a service that names the resource, under that area's keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from cardservice.catalogue.loading import Catalogue
from cardservice.db import Connection, queries
from cardservice.feed.telling import Wanted
from cardservice.ledger.keys import AccountKeyring
from entitlements.compile import CompiledService
from entitlements.service import BookingRule
from entitlements.wire.state import Booking, BookingChange

SLACK: Final = timedelta(hours=1)
"""A reader whose clock is behind still asks about a booking that is just over."""


def booking_rules(service: CompiledService) -> list[BookingRule]:
    """The resources that a service asks a booking of."""
    return [limit for limit in service.document.limits if isinstance(limit, BookingRule)]


def resources(services: Iterable[CompiledService]) -> set[tuple[str, str]]:
    """Owner and name of every resource that these services name."""
    return {(str(service.tenant), rule.resource) for service in services for rule in booking_rules(service)}


def tellings(row: Mapping[str, Any], catalogue: Catalogue, ring: AccountKeyring) -> list[Wanted]:
    """The changes that tell of a booking as it is now."""
    named = (row["owner"], row["resource"])
    areas = sorted(area for area in catalogue.areas if named in resources(catalogue.area(area).services))
    return [_change(area, wire_booking(row, area, ring)) for area in areas]


def wire_booking(row: Mapping[str, Any], area: str, ring: AccountKeyring) -> Booking:
    """A booking's row as gates of an area get it."""
    return Booking(
        booking=str(row["booking_id"]),
        resource=row["resource"],
        key=ring.key(area, "person", str(row["person_id"])),
        start=int(row["starts_at"].timestamp()),
        end=int(row["ends_at"].timestamp()),
        checked_in=row["checked_in_at"] is not None,
        gone=row["state"] != "open",
    )


async def open_bookings(
    conn: Connection,
    tenant: str,
    area: str,
    services: Sequence[CompiledService],
    ring: AccountKeyring,
    now: datetime,
) -> list[Booking]:
    """Open bookings that are not over, for a snapshot.

    All that are to come, not those of the next days only: a reader that is cut off for long then still knows them, and
    nothing has to be told anew each midnight.
    """
    named = sorted(resources(services))
    if not named:
        return []
    rows = queries().bookings.to_come(
        conn,
        tenant=tenant,
        owners=[owner for owner, _ in named],
        resources=[resource for _, resource in named],
        after=now - SLACK,
    )
    return [wire_booking(row, area, ring) async for row in rows]


def _change(area: str, booking: Booking) -> Wanted:
    return area, lambda n, tn, at: BookingChange(n=n, tn=tn, at=at, booking=booking)
