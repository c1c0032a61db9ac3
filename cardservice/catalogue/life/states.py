"""Life of a draft: which step may follow which state. Pure.

Only a draft is written in. Whatever was approved is published as it was approved, or goes back to being a draft, and
then needs another approval. ``published``, and ``withdrawn`` before it, are final.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class DraftState(StrEnum):
    """Where a draft is in its life."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    PUBLISHING = "publishing"
    """Hundreds of thousands of people are being compiled in the background."""
    PUBLISHED = "published"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class DraftStep(StrEnum):
    """What can happen to a draft; the values are verbs for sentences."""

    CHANGE = "be changed"
    SUBMIT = "be submitted"
    APPROVE = "be approved"
    REJECT = "be rejected"
    RECALL = "be recalled"
    SCHEDULE = "be scheduled"
    BEGIN = "be prepared for publication"
    PUBLISH = "be published"
    FAIL = "fail to be published"
    WITHDRAW = "be withdrawn"


_S = DraftState
TRANSITIONS: Final[Mapping[DraftStep, Mapping[DraftState, DraftState]]] = {
    DraftStep.CHANGE: {_S.DRAFT: _S.DRAFT, _S.REJECTED: _S.DRAFT},
    DraftStep.SUBMIT: {_S.DRAFT: _S.SUBMITTED},
    DraftStep.APPROVE: {_S.SUBMITTED: _S.APPROVED},
    DraftStep.REJECT: {_S.SUBMITTED: _S.REJECTED, _S.APPROVED: _S.REJECTED, _S.SCHEDULED: _S.REJECTED},
    DraftStep.RECALL: {
        _S.SUBMITTED: _S.DRAFT,
        _S.APPROVED: _S.DRAFT,
        _S.SCHEDULED: _S.DRAFT,
        _S.REJECTED: _S.DRAFT,
    },
    DraftStep.SCHEDULE: {_S.APPROVED: _S.SCHEDULED, _S.SCHEDULED: _S.SCHEDULED},
    DraftStep.BEGIN: {_S.APPROVED: _S.PUBLISHING, _S.SCHEDULED: _S.PUBLISHING},
    DraftStep.PUBLISH: {_S.APPROVED: _S.PUBLISHED, _S.SCHEDULED: _S.PUBLISHED, _S.PUBLISHING: _S.PUBLISHED},
    DraftStep.FAIL: {_S.SCHEDULED: _S.APPROVED, _S.PUBLISHING: _S.APPROVED},
    DraftStep.WITHDRAW: {
        _S.DRAFT: _S.WITHDRAWN,
        _S.SUBMITTED: _S.WITHDRAWN,
        _S.APPROVED: _S.WITHDRAWN,
        _S.SCHEDULED: _S.WITHDRAWN,
        _S.REJECTED: _S.WITHDRAWN,
    },
}
"""Step -> state before -> state after. What is not here is refused."""

WORDS: Final[Mapping[DraftState, str]] = {
    _S.DRAFT: "still being written",
    _S.SUBMITTED: "waiting for a second person",
    _S.APPROVED: "approved",
    _S.SCHEDULED: "scheduled",
    _S.PUBLISHING: "being published",
    _S.PUBLISHED: "published",
    _S.REJECTED: "sent back to its author",
    _S.WITHDRAWN: "given up",
}
"""For sentences."""
FINAL: Final = frozenset({_S.PUBLISHED, _S.WITHDRAWN})


def next_state(state: DraftState, step: DraftStep) -> DraftState | None:
    """The state after a step; ``None`` where the step may not follow."""
    return TRANSITIONS[step].get(state)
