"""Ledger and flags as requests and replies carry them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from cardservice.api.models import ApiModel, Page

Text = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
AccountName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
ServiceName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
MAX_ADJUSTMENT = 1_000_000
"""As many units as one tap may take."""


class LedgerPage(Page):
    """Query of the ledger; times are RFC 3339 and of the events."""

    person_id: UUID | None = None
    account: AccountName | None = None
    service: ServiceName | None = None
    site: AccountName | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = Field(default=None, description="Events before this instant.")


class EntryReply(ApiModel):
    """Units taken, or given back where they are below zero, at the time of an event."""

    entry_id: UUID
    area: str
    account: str
    scope: str
    holder: str = Field(description="Id of the person, household, vehicle or permit that the units are counted for.")
    units: int
    happened_at: datetime
    posted_at: datetime
    kind: str
    service_id: str
    person_id: UUID | None
    site_id: str | None
    offline: bool
    actor: str | None
    reason: str | None


class LedgerList(ApiModel):
    """A page of the ledger, newest events first."""

    items: list[EntryReply]
    next: str | None


class Adjustment(ApiModel):
    """A correction by staff. What was posted stays; this stands beside it."""

    service: ServiceName
    account: AccountName
    person_id: UUID
    units: int = Field(
        ge=-MAX_ADJUSTMENT, le=MAX_ADJUSTMENT, description="Units taken; below zero gives units back. Not 0."
    )
    reason: Text
    at: AwareDatetime | None = Field(
        default=None, description="When the event was, which says in which period it counts; now where it is left out."
    )


class FlagsPage(Page):
    """Query of the flags."""

    state: Literal["open", "resolved", "all"] = "all"
    kind: Literal["overspent", "late", "clock_ahead", "clock_untrusted", "unposted", "over_lent"] | None = None
    person_id: UUID | None = None


class FlagReply(ApiModel):
    """Something that did not add up."""

    flag_id: UUID
    kind: str
    sentence: str
    service_id: str | None
    area: str | None
    account: str | None
    scope: str | None
    holder: str | None
    person_id: UUID | None
    tap_id: UUID | None
    site_id: str | None
    units: int | None = Field(description="Units over the limit where it is overspent, else the units concerned.")
    happened_at: datetime
    raised_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None


class FlagList(ApiModel):
    """A page of flags, newest first."""

    items: list[FlagReply]
    next: str | None


class Resolution(ApiModel):
    """What was found out or done."""

    note: Text


class LeaseReply(ApiModel):
    """What a site may spend of an account while it is cut off, and what it spent so lately."""

    service_id: str
    account: str
    unit: str
    units: int = Field(description="Units that a site may give to one holder while it is cut off.")
    on_overspend: str
    site_id: str | None = Field(description="Null where no site spent any while cut off in the last 30 days.")
    spent_offline: int
    last_spent_at: datetime | None


class LeaseList(ApiModel):
    """A page of leases by service, account and site."""

    items: list[LeaseReply]
    next: str | None
