"""Drafts and what is said of them, as requests and replies carry them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, model_validator

from cardservice.api.models import ApiModel, Name, Page
from cardservice.catalogue.life.states import DraftState
from cardservice.catalogue.models import Reference, TenantName, _distinct
from entitlements.lint import Finding

MAX_TEXT = 200_000
"""Characters of one document; the longest worked one has 1,500."""
MAX_DAYS = 92
"""Days of taps replayed at most: a quarter."""
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]
Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
Shared = Annotated[list[TenantName], AfterValidator(_distinct)]


class DraftStart(ApiModel):
    """What a draft begins with: one of `text`, `document`, `template` or `from_version`."""

    service_id: Reference | None = Field(default=None, description="Where it is not in the text itself.")
    text: Text | None = Field(default=None, description="JSON as you write it; findings point at its lines.")
    document: dict[str, Any] | None = None
    template: str | None = Field(default=None, max_length=80, description="Name of a template.")
    answers: dict[str, Any] = Field(default_factory=dict, description="To the template's questions.")
    from_version: int | None = Field(
        default=None, ge=0, description="A version of the service to begin with; 0 for the one in force."
    )
    shared_with: Shared | None = Field(default=None, max_length=100)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("text", "document", "template", "from_version") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("say exactly one of text, document, template and from_version")
        if self.from_version is not None and self.service_id is None:
            raise ValueError("say service_id: whose version")
        return self


class DraftChange(ApiModel):
    """Another text. `version` is the draft's, as you saw it."""

    version: int = Field(ge=1)
    text: Text
    shared_with: Shared | None = Field(default=None, max_length=100)


class Reason(ApiModel):
    """Why; it is kept for ever."""

    why: Why


class Submission(ApiModel):
    """What the second person should know."""

    why: Why | None = None


class Schedule(ApiModel):
    """When to publish."""

    publish_at: AwareDatetime
    why: Why | None = None


class Rollback(Reason):
    """Back to an earlier version, the one before where none is named."""

    to_version: int | None = Field(default=None, ge=1)


class ReplayWish(ApiModel):
    """How many days of taps to replay, up to now."""

    days: int = Field(default=30, ge=1, le=MAX_DAYS)
    examples: int = Field(default=5, ge=0, le=50)


class EventReply(ApiModel):
    """What happened: who, when, why."""

    what: str
    who: str
    why: str | None
    version: int | None
    detail: dict[str, Any]
    happened_at: datetime


class ApprovalReply(ApiModel):
    """Who let which version of the draft pass, and why."""

    draft_version: int
    approved_by: str
    why: str
    approved_at: datetime


class DraftReply(ApiModel):
    """A draft, without its text."""

    draft_id: UUID
    service_id: str
    state: DraftState
    version: int
    based_on: int | None
    authors: list[str]
    shared_with: list[str]
    publish_at: datetime | None
    scheduled_by: str | None
    published_version: int | None
    created_at: datetime
    updated_at: datetime


class DraftDetail(DraftReply):
    """A draft whole. `job_id` names the work in the background that a publication of many people takes."""

    text: str
    approvals: list[ApprovalReply] = Field(default_factory=list)
    events: list[EventReply] = Field(default_factory=list)
    job_id: UUID | None = None


class DraftsQuery(Page):
    """Which drafts."""

    service_id: Reference | None = None
    state: DraftState | None = None


class DraftsPage(ApiModel):
    """Drafts, newest first."""

    items: list[DraftReply]
    next: str | None


class FindingReply(ApiModel):
    """One thing to know before the document goes live."""

    severity: Literal["error", "warning"]
    code: str
    pointer: str
    line: int | None
    message: str
    advice: str

    @classmethod
    def from_finding(cls, finding: Finding) -> Self:
        """Of the linter's."""
        return cls.model_validate({name: getattr(finding, name) for name in cls.model_fields})


class LintReply(ApiModel):
    """All findings, errors and warnings. `ok` is true where no error keeps it from being approved."""

    ok: bool
    errors: int
    warnings: int
    findings: list[FindingReply]


class LineReply(ApiModel):
    """A sentence (depth 0) or a bullet."""

    text: str
    depth: int


class SectionReply(ApiModel):
    """A heading and what stands under it."""

    heading: str
    lines: list[LineReply]


class ExplainReply(ApiModel):
    """The draft in plain English. `changes` says what differs from the version in force, null where there is none."""

    title: str
    lead: str
    sections: list[SectionReply]
    text: str
    compared_with: int | None
    changes: list[str] | None


class SimulationsPage(Page):
    """Query of the replays of a draft; each may be some 100 kB."""

    limit: int = Field(default=20, ge=1, le=100)


class SimulationReply(ApiModel):
    """What a replay of stored taps led to."""

    simulation_id: UUID
    draft_version: int
    asked_by: str
    since: datetime
    until: datetime
    seconds: float
    made_at: datetime
    result: dict[str, Any]


class SimulationsReply(ApiModel):
    """A page of replays of a draft, newest first."""

    items: list[SimulationReply]
    next: str | None


class TemplateQuestion(ApiModel):
    """One thing that a template leaves to you."""

    id: str
    ask: str
    kind: str
    default: Any


class TemplateReply(ApiModel):
    """A service to begin with."""

    name: str
    title: str
    summary: str
    questions: list[TemplateQuestion]


class TemplatesReply(ApiModel):
    """All templates."""

    items: list[TemplateReply]


class WordDraft(ApiModel):
    """What something is called, and who supplies it."""

    title: Name
    supplied_by: Name | None = None


class WordReply(ApiModel):
    """A name of the council's vocabulary."""

    kind: str
    name: str
    title: str
    supplied_by: str | None
    updated_at: datetime


class WordsPage(ApiModel):
    """The vocabulary by kind and name."""

    items: list[WordReply]
    next: str | None


class VersionLine(ApiModel):
    """One version of a service: who let it in force, and why."""

    version: int
    state: str
    area: str
    title: str
    shared_with: list[str]
    published_at: datetime
    published_by: str
    how: str | None = Field(description="`published` from a draft, `rolled back`, or null: put in force directly.")
    why: str | None
    draft_id: UUID | None
    approved_by: str | None
    approved_why: str | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Of a row of ``versions_page``."""
        return cls.of(row, how=row["what"])


class VersionsPage(ApiModel):
    """Versions, newest first. They are kept for ever."""

    items: list[VersionLine]
    next: str | None


class RolledBack(ApiModel):
    """What a rollback did: the new version has the document of the old one."""

    service_id: str
    version: int | None
    same_as: int
    changed: bool
    feeds: dict[str, int]
    job_id: UUID | None = None
