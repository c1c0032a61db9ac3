"""The answer to "why?", for staff, with the sentence for the resident."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from cardservice.api.models import ApiModel
from cardservice.taps.models import TapView


class Verdict(ApiModel):
    """A decision in words."""

    outcome: str
    reason: str
    step: str = Field(description="The step that decided, in the order of the rules.")
    staff: str
    resident: str = Field(description="What the resident may be told: no benefit, debt or disability.")


class Rules(ApiModel):
    """The document by which it was decided. `in_force` was the service's version then."""

    service: str
    title: str
    version: int
    in_force: int | None


class Step(ApiModel):
    """One step of the decision. What comes after the deciding one was not asked."""

    step: str
    result: str = Field(description="`passed`, `decided` or `not asked`.")


class WhyReply(ApiModel):
    """One decision, replayed. `replayed` is null where it cannot be; `not_known` then says why."""

    tap: TapView
    recorded: Verdict
    replayed: Verdict | None
    agrees: bool | None
    rules: Rules | None
    steps: list[Step]
    facts: list[str] = Field(description="What was known of the person then, of what the rules ask. Not for operators.")
    state: list[str] = Field(description="Units, presence, bookings, loans and other systems' words then.")
    may_explain: list[str] = Field(description="Why reader and replay may differ, or what changed since.")
    not_known: list[str] = Field(description="What the replay had to take as it is now, or on the tap's word.")
    changed_since: list[str] = Field(description="What was recorded or withdrawn after the tap.")
    asked_at: datetime
