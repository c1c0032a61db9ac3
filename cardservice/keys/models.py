"""Signing keys as requests and replies carry them. The private part never leaves the store."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from cardservice.api.models import ApiModel
from cardservice.keys.spread import AwaitedReader
from cardservice.keys.store import KeyState, Purpose

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class KeyRequest(ApiModel):
    """A new key."""

    purpose: Purpose = "card"


class Activation(ApiModel):
    """Whether to let a key sign that some reader would refuse: for emergencies, with a reason for the audit."""

    force: bool = False
    reason: Reason | None = None

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if self.force and self.reason is None:
            raise ValueError("force needs a reason")
        return self

    @property
    def forced(self) -> str | None:
        """The reason where it is forced."""
        return self.reason if self.force else None


class RotationRequest(Activation):
    """A new key that signs by itself once every gate has it, or with ``force`` at once."""

    purpose: Purpose = "card"


class Revocation(ApiModel):
    """Why a key must not be believed any more."""

    reason: Reason | None = None


class KeyReply(ApiModel):
    """A key: what it is for, whether it signs, and its public half (RFC 7517)."""

    kid: str
    purpose: Purpose
    state: KeyState
    public_jwk: dict[str, Any]
    created_at: datetime
    activated_at: datetime | None = None
    retired_at: datetime | None = None
    rotation_by: str | None = Field(default=None, description="Who asked that it sign once every gate has it.")


class KeyCards(ApiModel):
    """Living cards that need a new code when the key is believed no more.

    ``issued`` were signed by it when they were issued. ``perhaps`` were issued under another key, but their code may
    have been asked for again while this one signed; nobody keeps a record of that.
    """

    issued: int
    perhaps: int


class KeyStatus(KeyReply):
    """A key, and how far it is on its way: ``awaited`` readers would refuse what it signs."""

    earliest: datetime | None = Field(description="Before then others may hold a key set without it.")
    awaited: list[AwaitedReader]
    absent: list[AwaitedReader]
    cards: KeyCards


class KeyRevoked(KeyReply):
    """A key that is believed no more, and the cards that need a new code."""

    cards: KeyCards


class KeyList(ApiModel):
    """All keys, oldest first. A council has a few dozen in its life, so there are no pages."""

    items: list[KeyReply]
    next: None = None


class JwksQuery(ApiModel):
    """Which keys."""

    purpose: Purpose = Field(default="card")


class Jwks(ApiModel):
    """A key set (RFC 7517 section 5)."""

    keys: list[dict[str, Any]]
