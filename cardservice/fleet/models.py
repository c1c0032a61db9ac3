"""What requests and replies about readers are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import ConfigDict, Field

from cardservice.api.models import SLUG, ApiModel, Page, Slug

MAX_FEEDS = 32
"""Feeds of one reader: areas of two councils and room to grow; each is a cache in its memory."""
DEFAULT_CODE_SECONDS = 3600
MAX_CODE_SECONDS = 7 * 24 * 3600

FeedName = Annotated[str, Field(pattern=rf"^[a-z][a-z0-9-]{{1,15}}/{SLUG}$")]
ReaderName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]


class CodeRequest(ApiModel):
    """Ask for a one-time code with which one reader may enrol."""

    site: Slug
    name: ReaderName = Field(description="What staff call the reader.")
    feeds: list[FeedName] = Field(min_length=1, max_length=MAX_FEEDS, description="`tenant/area` each.")
    expires_in: int = Field(default=DEFAULT_CODE_SECONDS, ge=60, le=MAX_CODE_SECONDS, description="Seconds.")


class Code(ApiModel):
    """The code; it is shown this once."""

    code: str
    expires_at: datetime


class Enrolment(ApiModel):
    """A reader's request to be enrolled. It is signed with the key it brings."""

    code: str = Field(min_length=1, max_length=80)
    public_key: dict[str, Any] = Field(description="P-256 public key as JWK (RFC 7517).")


class SiteLane(ApiModel):
    """One lane of a site."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # read from the database, which may know more by then

    lane: str
    name: str
    zone: str | None = None
    direction: str = "entry"
    areas: list[str] = Field(default_factory=list)
    services: list[str] | None = None


class SiteView(ApiModel):
    """A site as readers know it."""

    site: str
    name: str
    lanes: list[SiteLane]


class Enrolled(ApiModel):
    """What a reader needs to begin. ``feed_keys`` are the trust anchors for manifests, a JWKS by tenant."""

    reader_id: UUID
    tenant: str
    site: SiteView
    feeds: list[str]
    feed_keys: dict[str, dict[str, Any]]
    server_time: int = Field(description="Milliseconds since the epoch.")


class Assignment(ApiModel):
    """A reader's present assignment."""

    tenant: str
    site: SiteView
    feeds: list[str]
    feed_keys: dict[str, dict[str, Any]]


class NewKey(ApiModel):
    """The public key that shall sign from now on."""

    public_key: dict[str, Any]


class ReadersPage(Page):
    """Query of the list of readers."""

    site: Slug | None = None


class ReaderView(ApiModel):
    """A reader as staff see it. ``status`` is its last report, as it sent it."""

    reader_id: UUID
    site: str
    name: str
    feeds: list[str]
    state: str
    online: bool
    enrolled_at: datetime
    last_seen_at: datetime | None
    key_thumbprint: str = Field(description="RFC 7638.")
    status: dict[str, Any] | None


class ReaderList(ApiModel):
    """A page of readers."""

    items: list[ReaderView]
    next: str | None
