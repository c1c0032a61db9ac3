"""Other systems' words as requests and replies carry them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import AwareDatetime, Field

from cardservice.api.models import ApiModel


class WordDraft(ApiModel):
    """What another system says of a person."""

    not_blocked: bool | None = Field(description="Null where it has no answer.")
    said_at: AwareDatetime | None = Field(default=None, description="When it said so; now where it is left out.")


class WordReply(ApiModel):
    """The last word of another system on a person."""

    person_id: UUID
    name: str
    not_blocked: bool | None
    said_at: datetime
    told_by: str


class WordList(ApiModel):
    """A page of words by the names of the systems."""

    items: list[WordReply]
    next: str | None
