"""Cards as requests and replies carry them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from cardservice.api.models import ApiModel, Page
from cardservice.cards.signing import CodeForm
from entitlements.credential.encoding import b64url_encode

MAX_VALID_DAYS = 3660
"""Ten years: beyond it a card is renewed."""
ValidDays = Annotated[int, Field(ge=1, le=MAX_VALID_DAYS)]
WhyText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class CardRequest(ApiModel):
    """A new card for a person."""

    person_id: UUID
    channel: Literal["static", "live", "chip"] = "static"
    valid_days: ValidDays | None = Field(
        default=None, description="Local days after today on which it still works; two years by default."
    )
    expires_at: AwareDatetime | None = Field(default=None, description="Or the very second, e.g. for a visitor.")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.valid_days is not None and self.expires_at is not None:
            raise ValueError("give valid_days or expires_at, not both")
        return self


class StateChange(ApiModel):
    """Why."""

    reason: WhyText | None = None


class Renewal(ApiModel):
    """The same person, a new card; the old one ends at once."""

    valid_days: ValidDays | None = None
    reason: WhyText | None = None


class Replacement(ApiModel):
    """A new card for one that is damaged, lost or stolen."""

    cause: Literal["damaged", "lost", "stolen"] = "damaged"
    valid_days: ValidDays | None = None
    reason: WhyText | None = None


class CardReply(ApiModel):
    """A card. `card_id` and `replaces` are base64url."""

    card_id: str
    index: int
    person_id: UUID
    state: str
    state_reason: str | None
    channel: str
    issue_number: int
    issued_at: datetime
    expires_at: datetime
    replaces: str | None
    version: int
    updated_at: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any], **more: Any) -> Self:
        """Made from a row of `card`."""
        replaces = row["replaces"]
        return super().of(
            row,
            card_id=b64url_encode(row["card_id"]).decode(),
            index=row["card_index"],
            replaces=b64url_encode(replaces).decode() if replaces is not None else None,
            **more,
        )


class CardChanged(CardReply):
    """A card after a change; `feeds` is the number of the change in each service area."""

    feeds: dict[str, int]


class CardIssued(CardChanged):
    """A new card with its signed code (compact JWT, `typ: rescard+jwt`); null for a chip's, which has no code."""

    token: str | None


class CardCode(ApiModel):
    """The signed code."""

    token: str


class CardsQuery(Page):
    """Which cards."""

    person_id: UUID | None = None


class CardsPage(ApiModel):
    """Cards in the order of their ids."""

    items: list[CardReply]
    next: str | None


class CodeQuery(ApiModel):
    """In which form."""

    form: CodeForm = Field(
        default=CodeForm.JWT, description="`jwt`: any JWT library can check it; `rp1`: a much smaller QR code."
    )


class PictureQuery(CodeQuery):
    """In which form, and how large."""

    scale: int = Field(
        default=8, ge=1, le=40, description="Whole pixels (PNG) or tenths of a millimetre (SVG) a module."
    )
