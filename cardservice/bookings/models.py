"""Bookings as requests and replies carry them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field

from cardservice.api.models import ApiModel, Page
from cardservice.ledger.models import AccountName, ServiceName

BookingState = Literal["open", "released", "cancelled"]
"""Released: nobody came in time, so the resource is free for others. It follows from the clock; nothing sets it."""


class BookingRequest(ApiModel):
    """A resource for somebody, `[start, end)`."""

    service: ServiceName
    person_id: UUID
    start: AwareDatetime
    end: AwareDatetime
    resource: AccountName | None = Field(
        default=None, description="Only where the service has several; else its only one."
    )
    party: int = Field(default=1, ge=1, le=1000, description="Heads, the person among them.")


class BookingsPage(Page):
    """Query of the bookings."""

    person_id: UUID | None = None
    service: ServiceName | None = None
    resource: AccountName | None = None
    state: BookingState | None = None
    since: AwareDatetime | None = Field(default=None, description="Bookings that end after this instant.")
    until: AwareDatetime | None = Field(default=None, description="Bookings that start before this instant.")


class BookingReply(ApiModel):
    """A booking."""

    booking_id: UUID
    person_id: UUID
    service_id: str
    resource: str
    starts_at: datetime
    ends_at: datetime
    party: int
    state: BookingState
    releases_at: datetime | None = Field(
        description="From when others may have the resource unless somebody checks in; null where that cannot be."
    )
    checked_in_at: datetime | None
    created_at: datetime
    created_by: str
    cancelled_at: datetime | None
    cancelled_by: str | None

    @classmethod
    def at(cls, row: Mapping[str, Any], now: datetime) -> Self:
        """A booking's row as it stands at an instant."""
        return cls.of(row, state="released" if is_released(row["releases_at"], now) else row["state"])


def is_released(releases_at: datetime | None, now: datetime) -> bool:
    """Whether a booking holds its resource no longer; in its last second it still does, as a gate counts in seconds."""
    return releases_at is not None and now.replace(microsecond=0) > releases_at


class BookingList(ApiModel):
    """Bookings by their starts."""

    items: list[BookingReply]
    next: str | None
