"""Spends and budgets as requests and replies carry them. Money is in pence."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from cardservice.api.models import ApiModel, Page
from cardservice.ledger.models import AccountName, ServiceName, Text
from entitlements.service import MAX_SPEND_PENCE

CardOrToken = Annotated[
    str,
    Field(
        min_length=11,
        max_length=2000,
        pattern=r"^([A-Za-z0-9_.-]+|R[CP]1:[0-9A-Z $%*+./:-]+)$",
        description="The code of a card (a JWT, `RP1:` or live `RC1:` text), or its id.",
    ),
]


class SpendRequest(ApiModel):
    """Something that shall be paid from a budget."""

    service: ServiceName
    card: CardOrToken = Field(
        description="Of the holder: the code of the card (a JWT, `RP1:` text, or the live `RC1:` text of a phone), or "
        "its id. A live code pays once. An id proves nothing, so it pays only where the service does not say how a "
        "card must be presented. Chips and rotating codes are not taken at a till."
    )
    site: AccountName
    amount_pence: int = Field(ge=1, le=MAX_SPEND_PENCE)
    item: AccountName | None = None
    confirmed: bool = Field(default=False, description="Whoever presents the card has confirmed the amount.")
    presented_by: CardOrToken | None = Field(default=None, description="Of a delegate who acts for the holder.")


class SpendReply(ApiModel):
    """A spend. While it is held the money is set aside and not yet paid."""

    spend_id: UUID
    service_id: str
    account: str
    person_id: UUID
    card_id: str
    presented_by: str | None
    site_id: str
    item: str | None
    pence: int
    state: str
    held_until: datetime | None
    created_at: datetime
    created_by: str
    closed_at: datetime | None
    closed_by: str | None


class SpendDecision(ApiModel):
    """What came of it. `spend` is there only where the outcome is `allow`."""

    outcome: str
    reason: str
    sentence: str
    spend: SpendReply | None


class SpendsPage(Page):
    """Query of the spends."""

    person_id: UUID | None = None
    service: ServiceName | None = None
    state: Literal["held", "confirmed", "released", "expired"] | None = None


class SpendList(ApiModel):
    """Spends, newest first."""

    items: list[SpendReply]
    next: str | None


class Topup(ApiModel):
    """Money that the council puts into a budget, or takes back from it."""

    service: ServiceName
    person_id: UUID
    amount_pence: int = Field(
        ge=-MAX_SPEND_PENCE, le=MAX_SPEND_PENCE, description="Below zero takes back what is not spent. Not 0."
    )
    reason: Text


class BudgetReply(ApiModel):
    """A budget: what may be spent, and what is set aside."""

    purse_id: UUID
    account: str
    scope: str
    holder: str
    balance_pence: int
    held_pence: int


class TransfersPage(Page):
    """Query of the money ledger."""

    purse_id: UUID | None = None


class TransferReply(ApiModel):
    """Money that went from one book to another: its two postings sum to zero."""

    transfer_id: UUID
    kind: str
    purse_id: UUID
    spend_id: UUID | None
    postings: dict[str, int] = Field(description="Pence by book: council, purse, held, provider.")
    happened_at: datetime
    actor: str
    reason: str | None

    @classmethod
    def from_row(cls, row: Any) -> TransferReply:
        """Of a row of `money_transfer`."""
        return cls.of(row, postings={row["debit"]: -row["pence"], row["credit"]: row["pence"]})


class TransferList(ApiModel):
    """Movements of money, newest first."""

    items: list[TransferReply]
    next: str | None
