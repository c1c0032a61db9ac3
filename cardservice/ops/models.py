"""Requests and replies of operations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from cardservice.api.auth import PERSON_PATTERN
from cardservice.api.models import ApiModel

Role = Literal["admin", "desk", "manager", "operator", "station", "auditor"]
_ONE_LINE: Final = r"^[^\x00-\x1f\x7f\u0085\u2028\u2029]+$"
"""The label stands in every line of the audit that its token causes: it cannot be made to look like two."""
PartState = Literal["up", "down", "not used"]


class Health(ApiModel):
    """The process lives."""

    status: Literal["up"] = "up"


class Readiness(ApiModel):
    """Whether the service can work, part by part. Without the cache it works, with later pushes."""

    ready: bool
    parts: dict[str, PartState]


class TokenRequest(ApiModel):
    """A new API token of this council."""

    label: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=_ONE_LINE)] = (
        Field(description="What it is for; it names the token in the audit.")
    )
    person: Annotated[str, StringConstraints(pattern=PERSON_PATTERN, to_lower=True)] | None = Field(
        default=None,
        description="Whose it is: a staff number, sign-in name or mail address, the same for all tokens of one person. "
        "Whoever approves a service must not have written it; without a person the label stands for one.",
    )
    roles: list[Role] = Field(min_length=1, max_length=5)
    valid_days: int = Field(default=90, ge=1, le=730)


class TokenReply(ApiModel):
    """An API token, without its secret."""

    token_id: UUID
    label: str
    person: str | None
    roles: list[str]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class TokenMade(TokenReply):
    """A new API token. `token` is shown this once."""

    token: str


class TokensPage(ApiModel):
    """API tokens, newest first."""

    items: list[TokenReply]
    next: str | None
