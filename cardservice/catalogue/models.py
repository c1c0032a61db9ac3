"""Services, sites, lists and areas as requests and replies carry them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from cardservice.api.models import ApiModel, Name

Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]
"""A name that documents may refer to, as in the schema of ``rescard.service/1``."""
TenantName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,15}$")]
ListKind = Literal["site_set", "calendar", "item_list"]


def _distinct(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("something stands in it twice")
    return values


class Publication(ApiModel):
    """A document to put in force."""

    document: dict[str, Any] = Field(description="A whole document of the format rescard.service/1.")
    shared_with: Annotated[list[TenantName], AfterValidator(_distinct)] = Field(
        default_factory=list, max_length=100, description="Councils whose residents this service also serves."
    )


class ServiceReply(ApiModel):
    """A version of a service in force. `changed` is false where a publication changed nothing."""

    service_id: str
    tenant: str
    area: str
    version: int
    title: str
    kind: str
    shared_with: list[str]
    state: str
    published_at: datetime
    published_by: str


class VersionReply(ApiModel):
    """One version of a service."""

    version: int
    area: str
    document: dict[str, Any]
    shared_with: list[str]
    state: str
    published_at: datetime
    published_by: str


class ServiceDetail(ApiModel):
    """A service with all its versions, newest first. `published` is null where none is in force."""

    service_id: str
    tenant: str
    published: VersionReply | None
    versions: list[VersionReply]


class ServicePublished(ApiModel):
    """What a publication did. `feeds` are the last numbers of the feeds that tell of it.

    Where it concerns many people nothing has changed yet: `job_id` names the work in the background that changes it.
    """

    service_id: str
    version: int | None = Field(description="Null where a job is to give it.")
    area: str
    changed: bool
    feeds: dict[str, int]
    job_id: UUID | None = None


class ServicesPage(ApiModel):
    """Services in force here, own and shared ones, in the order of their ids."""

    items: list[ServiceReply]
    next: str | None


class LaneDraft(ApiModel):
    """One lane: it offers the services of its areas that name its site and zone, or just those listed."""

    lane: Reference
    name: Name
    zone: Reference | None = None
    direction: Literal["entry", "exit"] = "entry"
    areas: Annotated[list[Reference], AfterValidator(_distinct)] = Field(default_factory=list, max_length=100)
    services: Annotated[list[Reference], AfterValidator(_distinct)] | None = Field(default=None, max_length=1000)


class SiteDraft(ApiModel):
    """A place with gates, as it is from now on."""

    name: Name
    lanes: list[LaneDraft] = Field(default_factory=list, max_length=200)

    @model_validator(mode="after")
    def _lanes_differ(self) -> Self:
        _distinct([lane.lane for lane in self.lanes])
        return self


class SiteReply(ApiModel):
    """A place with gates."""

    site_id: str
    name: str
    lanes: list[LaneDraft]
    version: int
    updated_at: datetime


class SitesPage(ApiModel):
    """Sites in the order of their ids."""

    items: list[SiteReply]
    next: str | None


class ListDraft(ApiModel):
    """What a list holds from now on: site ids, dates (YYYY-MM-DD) or item ids, by its kind."""

    members: Annotated[list[Annotated[str, Field(max_length=100)]], AfterValidator(_distinct)] = Field(
        max_length=10_000
    )


class ListReply(ApiModel):
    """A list that documents may name."""

    kind: str
    name: str
    members: list[str]
    updated_at: datetime


class ListsPage(ApiModel):
    """Lists by kind and name."""

    items: list[ListReply]
    next: str | None


class AreaReply(ApiModel):
    """A service area and its feed."""

    area: str
    feed: str
    epoch: UUID
    number: int
    cards: int
    services: int
    horizon_from: datetime
    horizon_until: datetime


class AreasReply(ApiModel):
    """All service areas of a council."""

    items: list[AreaReply]


def is_day(text: str) -> bool:
    """Whether a text is a date as documents write it."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
