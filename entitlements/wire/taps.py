"""What readers send up: taps, passages and their status; and what the service answers for each.

Uploads are idempotent by ``tap_id``: sending a batch again stores nothing twice. The service stores what the reader
decided and never decides again.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import msgspec

from entitlements.model import Outcome

MAX_BATCH = 500
"""Items in one upload; matches the service's one-statement insert."""


class Tap(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="tap"):
    """One presentation and its decision at one lane. ``at`` is corrected time in ms; ``card`` the id in base64url.

    ``acts_for`` is the index of the holder's card where ``card`` is a delegate's, presented for the holder; ``item`` is
    what was asked for, where the service lends or sells items. ``media`` is how the card came, ``presentation`` what
    was proven of it, by the word that documents have for it (``static``, ``live``, ``chip``, ``totp``, ``uid``).
    """

    tap_id: UUID
    site: str
    lane: str
    direction: Literal["entry", "exit"]
    at: int
    outcome: Outcome
    reason: str
    media: str
    online: bool
    clock_trusted: bool
    clock_offset_ms: int
    card_tenant: str | None = None
    card: str | None = None
    service: str | None = None
    service_version: int | None = None
    band: str | None = None
    pence: int | None = None
    effects: list[dict[str, Any]] = []
    feed: str | None = None
    feed_number: int | None = None
    detail: str | None = None
    acts_for: int | None = None
    item: str | None = None
    presentation: str | None = None


class Passage(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="passage"):
    """What the passage contact said after the release of a tap. ``at`` in ms since the epoch."""

    tap_id: UUID
    result: Literal["passed", "timed_out", "fault"]
    at: int


TapItem = Tap | Passage


class TapBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/taps``: items as raw JSON, so that one bad item does not spoil the rest."""

    items: list[msgspec.Raw]


class TapResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for the item at the same position: stored, stored before, or rejected for good with the reason."""

    result: Literal["stored", "duplicate", "rejected"]
    problem: str | None = None


class TapBatchReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of ``POST /v1/taps``."""

    results: list[TapResult]
    server_time: int


class FeedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a reader's cache of one feed is. Times in ms since the epoch, by the reader's corrected clock."""

    epoch: str
    number: int
    applied_at: int
    confirmed_at: int
    """When the reader last knew that it had every change (a beat or an empty pull)."""
    cards: int = 0


class LaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane shows now. ``light`` is red, green, amber, blue or off; ``state`` the lane's state."""

    lane: str
    name: str
    direction: str
    state: str
    light: str
    headline: str
    source_up: bool
    gate_up: bool


class ReaderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /v1/reader/status``: sent after applied changes, lane events and every few seconds."""

    version: str
    site: str
    sent_at: int
    started_at: int
    feeds: dict[str, FeedStatus]
    lanes: list[LaneStatus]
    clock_offset_ms: int
    clock_trusted: bool
    outbox_waiting: int
    outbox_parked: int


class ReaderStatusReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of ``POST /v1/reader/status``."""

    server_time: int
