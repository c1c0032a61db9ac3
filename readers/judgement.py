"""A decision at a lane and what it rests on, and which of several refusals to tell."""

from __future__ import annotations

from typing import Final

import msgspec

from entitlements.credential.claims import CardClaims, CardForm, VerifiedCard
from entitlements.model import Decision, Outcome, Reason, SiteId, ZoneId
from entitlements.situation import Moment
from entitlements.wire.feed import Lane
from hardware.interfaces import Verdict
from readers.background import Party
from readers.catalogue import Offered
from readers.feed import Feed

ORDER: Final[tuple[tuple[Reason, ...], ...]] = (
    (Reason.PRESENTATION_NOT_ACCEPTED, Reason.BAD_SIGNATURE, Reason.EXPIRED_CODE, Reason.REPLAYED_CODE),
    (Reason.UNKNOWN_CARD,),
    (
        Reason.CARD_SUSPENDED,
        Reason.CARD_LOST,
        Reason.CARD_REPLACED,
        Reason.CARD_EXPIRED,
        Reason.CARD_REVOKED,
    ),
    (Reason.CACHE_TOO_OLD, Reason.CLOCK_UNTRUSTED, Reason.OFFLINE_STAFF_ONLY),
    (Reason.BLOCKED,),
    (Reason.WRONG_SITE,),
    (Reason.WRONG_ZONE,),
    (Reason.SERVICE_NOT_STARTED, Reason.SERVICE_ENDED),
    (Reason.NOT_DELEGATE, Reason.DELEGATE_BLOCKED, Reason.DELEGATE_LIMIT),
    (Reason.NOT_ELIGIBLE, Reason.ELIGIBILITY_UNKNOWN, Reason.NEEDS_ADULT_CARD, Reason.TOO_MANY_CHILDREN),
    (Reason.PIN_REQUIRED, Reason.PIN_WRONG),
    (Reason.OUTSIDE_HOURS,),
)
"""Steps of the decision and the reasons given at each; what is not listed belongs to limits and presence, the last."""

_RANK: Final = {reason.value: rank for rank, reasons in enumerate(ORDER) for reason in reasons}
REQUIRES: Final = _RANK[Reason.PIN_REQUIRED.value]
"""Rank of what is asked at the gate: up to there a decision rests on the compiled rights only."""


def furthest(reason: str) -> int:
    """How far in the order a refusal came: the larger, the later the step."""
    rank = _RANK.get(reason)
    if rank is not None:
        return rank
    if reason.startswith("needs_") or reason.endswith(("_blocked", "_check_unavailable")):
        return REQUIRES
    # An allowed tap, and whatever limits and presence say, came to the end.
    return len(ORDER)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a lane stands: its site and what the service says of the lane."""

    site: SiteId
    lane: Lane

    @property
    def zone(self) -> ZoneId | None:
        """The zone that the lane leads to."""
        return None if self.lane.zone is None else ZoneId(self.lane.zone)


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A decision and what it rests on, for the tap. ``stale`` are feeds that may not know the card yet.

    ``offered`` is the service decided, ``party`` whose rights were used: the holder of the presented card, or, with
    ``acting``, somebody whom that card may be presented for. ``moment`` is that of the decision. ``verdict`` is shown
    where the decision's own sentence would not tell enough. ``presentation`` is the kind that was presented, where it
    was a card of ours.
    """

    decision: Decision
    claims: CardClaims | None = None
    feed: Feed | None = None
    number: int | None = None
    offered: Offered | None = None
    party: Party | None = None
    acting: bool = False
    moment: Moment | None = None
    detail: str | None = None
    stale: tuple[Feed, ...] = ()
    verdict: Verdict | None = None
    presentation: str | None = None

    @property
    def version(self) -> int | None:
        """Version of the service's document."""
        return None if self.offered is None else self.offered.version

    @property
    def rank(self) -> int:
        """How far the decision came: the larger, the later the step."""
        decision = self.decision
        if decision.service is not None and decision.reason == Reason.PRESENTATION_NOT_ACCEPTED:
            return REQUIRES  # a card it is, and only this service wants it shown another way
        return furthest(decision.reason)


def kind_of(card: VerifiedCard) -> str:
    """The word by which documents name a kind of presentation. What rests on no signature made for it is its own."""
    return card.form.value if card.form in (CardForm.TOTP, CardForm.UID) else card.presentation.value


def refer(feed: Feed, claims: CardClaims | None, reason: Reason, detail: str) -> Judgement:
    """Staff decide, and are told why."""
    return Judgement(decision=Decision(outcome=Outcome.REFER, reason=reason), claims=claims, feed=feed, detail=detail)
