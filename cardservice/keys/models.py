"""Signing keys as requests and replies carry them. The private part never leaves the store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from cardservice.api.models import ApiModel
from cardservice.keys.store import KeyState, Purpose


class KeyRequest(ApiModel):
    """A new key."""

    purpose: Purpose = "card"


class KeyReply(ApiModel):
    """A key: what it is for, whether it signs, and its public half (RFC 7517)."""

    kid: str
    purpose: Purpose
    state: KeyState
    public_jwk: dict[str, Any]
    created_at: datetime


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
