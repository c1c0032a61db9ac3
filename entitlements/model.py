"""The words that service and gate share: ids, outcomes, reasons and the decision.

A refusal is a value from a closed list, never an exception. Inside the decision an instant is a whole number of
seconds since the epoch (UTC), because that is what a gate compares; at the edges instants are aware datetimes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

import msgspec

TenantId = NewType("TenantId", str)
"""Short id of a council, e.g. ``wcc``; also the issuer in a card."""
ServiceId = NewType("ServiceId", str)
"""Dotted id of a service, e.g. ``wcc.leisure.gym-offpeak``."""
AreaId = NewType("AreaId", str)
"""Service area, the unit of the feed, e.g. ``leisure``."""
SiteId = NewType("SiteId", str)
ZoneId = NewType("ZoneId", str)
PersonId = NewType("PersonId", str)
CardId = NewType("CardId", bytes)
"""Opaque, 8 random bytes."""
CardIndex = NewType("CardIndex", int)
"""Dense per-tenant number of a card: its cache row and its Token Status List index."""
FeedNumber = NewType("FeedNumber", int)
"""Gapless number of a change in one feed; 0 is the empty feed."""
Instant = NewType("Instant", int)
"""Seconds since 1970-01-01T00:00:00Z."""


class Outcome(StrEnum):
    """What the gate does."""

    ALLOW = "allow"
    DENY = "deny"
    CONFIRM = "confirm"
    REFER = "refer"


class CardState(StrEnum):
    """Life of a card. Only ``active`` opens anything; ``revoked``, ``replaced`` and ``expired`` are final."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    LOST = "lost"
    REPLACED = "replaced"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Reason(StrEnum):
    """The closed list of fixed reasons; three families below it carry a name (see :func:`deciding_step`)."""

    OK = "ok"
    REPEAT_SCAN = "repeat_scan"
    NEEDS_CONFIRMATION = "needs_confirmation"
    CACHE_TOO_OLD = "cache_too_old"
    CLOCK_UNTRUSTED = "clock_untrusted"
    OFFLINE_STAFF_ONLY = "offline_staff_only"
    CARD_SUSPENDED = "card_suspended"
    CARD_LOST = "card_lost"
    CARD_REPLACED = "card_replaced"
    CARD_EXPIRED = "card_expired"
    CARD_REVOKED = "card_revoked"
    UNKNOWN_CARD = "unknown_card"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED_CODE = "expired_code"
    REPLAYED_CODE = "replayed_code"
    PRESENTATION_NOT_ACCEPTED = "presentation_not_accepted"
    BLOCKED = "blocked"
    WRONG_SITE = "wrong_site"
    WRONG_ZONE = "wrong_zone"
    SERVICE_NOT_STARTED = "service_not_started"
    SERVICE_ENDED = "service_ended"
    NOT_DELEGATE = "not_delegate"
    DELEGATE_BLOCKED = "delegate_blocked"
    DELEGATE_LIMIT = "delegate_limit"
    NOT_ELIGIBLE = "not_eligible"
    ELIGIBILITY_UNKNOWN = "eligibility_unknown"
    NEEDS_ADULT_CARD = "needs_adult_card"
    TOO_MANY_CHILDREN = "too_many_children"
    PIN_REQUIRED = "pin_required"
    PIN_WRONG = "pin_wrong"
    OUTSIDE_HOURS = "outside_hours"
    ALREADY_INSIDE = "already_inside"
    QUOTA_USED = "quota_used"
    OFFLINE_ALLOWANCE_USED = "offline_allowance_used"
    NO_OFFLINE_SPEND = "no_offline_spend"
    ITEM_NOT_IN_PLAN = "item_not_in_plan"
    INSUFFICIENT = "insufficient"
    WEEKLY_LIMIT = "weekly_limit"
    NO_BOOKING = "no_booking"
    TOO_EARLY = "too_early"
    BOOKING_RELEASED = "booking_released"
    BOOKING_OVER = "booking_over"
    OVERDUE_BLOCK = "overdue_block"
    LOAN_LIMIT = "loan_limit"
    FULL = "full"


class Effect(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Units that an allowed tap takes from an account. ``key`` is the person, household... the account is kept by."""

    account: str
    units: int
    key: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one presentation at one gate led to.

    ``reason`` is a :class:`Reason` or one of the named families ``needs_<prerequisite>``, ``<upstream>_blocked``,
    ``<upstream>_check_unavailable``. ``opens_at`` is the next opening instant where the reason is ``outside_hours``
    and one lies within a year.
    """

    outcome: Outcome
    reason: str
    service: ServiceId | None = None
    band: str | None = None
    pence: int | None = None
    effects: tuple[Effect, ...] = ()
    opens_at: Instant | None = None


class Step(StrEnum):
    """The steps of a decision, in their order; the first that objects gives the reason."""

    CREDENTIAL = "credential"
    CARD_STATE = "card state"
    FRESHNESS = "cache age and clock"
    BLOCK = "block"
    PLACE = "site and zone"
    DATES = "service dates"
    DELEGATE = "delegate"
    WHO = "who"
    REQUIRES = "requires"
    WHEN = "when"
    LIMITS = "limits and presence"


_STEP_OF: dict[str, Step] = {
    reason: step
    for step, reasons in {
        Step.CREDENTIAL: (Reason.BAD_SIGNATURE, Reason.EXPIRED_CODE, Reason.REPLAYED_CODE),
        Step.CARD_STATE: (
            Reason.CARD_SUSPENDED,
            Reason.CARD_LOST,
            Reason.CARD_REPLACED,
            Reason.CARD_EXPIRED,
            Reason.CARD_REVOKED,
            Reason.UNKNOWN_CARD,
        ),
        Step.FRESHNESS: (Reason.CACHE_TOO_OLD, Reason.CLOCK_UNTRUSTED, Reason.OFFLINE_STAFF_ONLY),
        Step.BLOCK: (Reason.BLOCKED,),
        Step.PLACE: (Reason.WRONG_SITE, Reason.WRONG_ZONE),
        Step.DATES: (Reason.SERVICE_NOT_STARTED, Reason.SERVICE_ENDED),
        Step.DELEGATE: (Reason.NOT_DELEGATE, Reason.DELEGATE_BLOCKED, Reason.DELEGATE_LIMIT),
        Step.WHO: (
            Reason.NOT_ELIGIBLE,
            Reason.ELIGIBILITY_UNKNOWN,
            Reason.NEEDS_ADULT_CARD,
            Reason.TOO_MANY_CHILDREN,
        ),
        Step.REQUIRES: (Reason.PRESENTATION_NOT_ACCEPTED, Reason.PIN_REQUIRED, Reason.PIN_WRONG),
        Step.WHEN: (Reason.OUTSIDE_HOURS,),
    }.items()
    for reason in reasons
}


def deciding_step(reason: str) -> Step:
    """The step that gave a reason; ``ok`` and what follows from limits were decided by the last one.

    ``needs_<prerequisite>``, ``<upstream>_blocked`` and ``<upstream>_check_unavailable`` belong to ``requires``.
    """
    known = _STEP_OF.get(reason)
    if known is not None:
        return known
    return Step.LIMITS if reason in Reason.__members__.values() else Step.REQUIRES
