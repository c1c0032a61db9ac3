"""Facts as requests and replies carry them: typed, dated statements on a person, each kind with its own shape.

Dates are the council's local days and inclusive: a fact that ends today holds all day.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, RootModel, model_validator

from cardservice.api.models import ApiModel, Name, Page
from cardservice.people.models import Reference
from entitlements.service import MAX_SPEND_PENCE


class _Fact(ApiModel):
    """What every statement has."""

    from_date: date | None = Field(default=None, alias="from", description="First day; null is since ever.")
    until_date: date | None = Field(default=None, alias="until", description="Last day, inclusive; null is open.")
    checked_by: Name | None = Field(default=None, description="Who saw the evidence. The document is not kept.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_date is not None and self.until_date is not None and self.until_date < self.from_date:
            raise ValueError("until lies before from")
        return self


class Residency(_Fact):
    """The person lives in the area of a council."""

    kind: Literal["residency"]
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,15}$", description="Short id of the council.")


class Numbered(ApiModel):
    """The number of the permit or vehicle itself, where a quota is kept by it."""

    id: Reference | None = None


class Statement(_Fact):
    """A concession proved, a membership, a permit, a role, or a link such as a parent's consent."""

    kind: Literal["evidence", "member_of", "permit", "role", "linked"]
    name: Reference
    detail: Numbered = Numbered()


class SitesDone(ApiModel):
    """Where it was done."""

    sites: list[Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9_.:-]{0,99})$")]] = Field(
        min_length=1, max_length=500, description="Site ids; `*` stands for all."
    )


class Prerequisite(_Fact):
    """Something done that a service asks for once or at each site, e.g. an induction."""

    kind: Literal["prerequisite"]
    name: Reference
    detail: SitesDone


class Block(_Fact):
    """The person may not use a service, or none."""

    kind: Literal["block"]
    name: str = Field(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9_.:-]{0,99})$", description="Service id, or `*` for all.")


class Mandate(ApiModel):
    """Who may act, for what, and up to how much."""

    person: UUID
    scopes: list[Reference] = Field(min_length=1, max_length=50)
    max_pence: int | None = Field(default=None, ge=0, le=MAX_SPEND_PENCE)


class Delegate(_Fact):
    """The person lets somebody act for them."""

    kind: Literal["delegate"]
    detail: Mandate


AnyFact = Annotated[Residency | Statement | Prerequisite | Block | Delegate, Field(discriminator="kind")]


class FactDraft(RootModel[AnyFact]):
    """A statement on a person; its shape depends on `kind`."""

    model_config = ConfigDict(frozen=True)

    @property
    def name(self) -> str:
        """What is stated; for a delegate, who."""
        return str(self.root.detail.person) if isinstance(self.root, Delegate) else self.root.name

    @property
    def detail(self) -> dict[str, Any]:
        """What the kind says beyond its name."""
        if isinstance(self.root, Residency | Block):
            return {}
        return self.root.detail.model_dump(mode="json", exclude_none=True)


class FactReply(ApiModel):
    """A statement on a person. `ended_at` is set once it was withdrawn."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    fact_id: UUID
    person_id: UUID
    kind: str
    name: str
    from_date: date | None = Field(alias="from")
    until_date: date | None = Field(alias="until")
    detail: dict[str, Any]
    checked_by: str | None
    created_at: datetime
    ended_at: datetime | None


class FactsQuery(Page):
    """Which facts."""

    withdrawn: bool = Field(default=False, description="The withdrawn ones too.")


class FactsPage(ApiModel):
    """Facts, oldest first."""

    items: list[FactReply]
    next: str | None
