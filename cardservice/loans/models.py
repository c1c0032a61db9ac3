"""Loans as requests and replies carry them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from cardservice.api.models import ApiModel, Page
from cardservice.ledger.models import AccountName, ServiceName


class LoansPage(Page):
    """Query of the loans."""

    person_id: UUID | None = None
    service: ServiceName | None = None
    pool: AccountName | None = None
    state: Literal["out", "overdue", "returned"] | None = None


class LoanReply(ApiModel):
    """An item that somebody has or had out. `due` is the last local day, inclusive."""

    loan_id: UUID
    person_id: UUID
    service_id: str
    pool: str
    item: str | None
    tap_id: UUID
    lent_at: datetime
    due: date
    renewed: int
    returned_at: datetime | None
    returned_by: str | None


class LoanList(ApiModel):
    """Loans, newest first."""

    items: list[LoanReply]
    next: str | None
