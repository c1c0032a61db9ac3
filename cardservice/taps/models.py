"""What staff see of taps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from pydantic import AwareDatetime, Field

from cardservice.api.models import ApiModel, Page, Slug
from entitlements.credential.encoding import b64url_encode
from entitlements.model import Outcome
from entitlements.wire.taps import MAX_BATCH, TapItem

CardText = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{11}$", description="Card id, base64url.")]


class TapUpload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/taps`` as a reader should send it: :class:`~entitlements.wire.taps.TapBatch`, its items typed.

    The service takes items one by one, so that a wrong one is rejected by itself.
    """

    items: Annotated[list[TapItem], msgspec.Meta(max_length=MAX_BATCH)]


class TapsPage(Page):
    """Query of the list of taps; times are RFC 3339."""

    site: Slug | None = None
    lane: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
    card_id: CardText | None = None
    outcome: Outcome | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = Field(default=None, description="Taps before this instant.")


class ZoneOccupancy(ApiModel):
    """People inside one zone of a site, by passages since the local midnight."""

    zone: str | None
    inside: int = Field(description="In less out, never below 0.")
    went_in: int
    went_out: int
    last_at: datetime | None = Field(description="Of the last passage.")


class Occupancy(ApiModel):
    """How full a site is, as far as its gates have told. Who goes out without showing a card only the gate knows."""

    site: str
    since: datetime
    at: datetime
    inside: int
    zones: list[ZoneOccupancy]


class PassageView(ApiModel):
    """What the passage contact said."""

    result: str
    at: datetime


class TapView(ApiModel):
    """One presentation and what the reader decided, as it reported it."""

    tap_id: UUID
    reader_id: UUID
    site: str
    lane: str
    direction: str
    at: datetime = Field(description="By the reader's corrected clock.")
    received_at: datetime
    card_tenant: str | None
    card_id: str | None
    service: str | None
    service_version: int | None
    outcome: str
    reason: str
    band: str | None
    pence: int | None
    effects: list[dict[str, Any]]
    media: str = Field(description="How the card came, e.g. `qr`, `nfc-ndef`.")
    presentation: str | None = Field(
        description="What was proven of it: `static`, `live`, `chip`, `totp` or `uid`; null where a reader did not say."
    )
    feed: str | None
    feed_number: int | None
    online: bool
    clock_trusted: bool
    clock_offset_ms: int
    detail: str | None
    passage: PassageView | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Of a row of ``list_taps`` or ``get_tap``."""
        passed = row["passage_result"]
        return cls.of(
            row,
            site=row["site_id"],
            lane=row["lane_id"],
            at=row["happened_at"],
            card_id=b64url_encode(row["card_id"]).decode() if row["card_id"] is not None else None,
            service=row["service_id"],
            passage=PassageView(result=passed, at=row["passage_at"]) if passed is not None else None,
        )


class TapList(ApiModel):
    """A page of taps, newest first."""

    items: list[TapView]
    next: str | None
