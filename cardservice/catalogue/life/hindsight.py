"""What a stored tap tells of the moment in which it was decided.

A tap holds the decision and its reason, not everything that the gate knew. The reason says the rest: a card refused as
lost was lost then; one refused for anything later than its state was active. Where nothing is said, the ordinary is
taken, and :data:`ASSUMPTIONS` tells the manager so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from entitlements.compiled import CompiledService
from entitlements.model import CardState, Instant, Outcome, Reason, SiteId, ZoneId
from entitlements.profile import AccountKeys, Profile
from entitlements.requirements import UPSTREAM_WORDS
from entitlements.service import BookingRule, LoanRule, Upstream
from entitlements.simulate import ReplayTap
from entitlements.situation import NOTHING, Booking, State, TapInput, UpstreamCheck

NOT_DECIDED: Final = frozenset(
    (
        Reason.UNKNOWN_CARD,
        Reason.BAD_SIGNATURE,
        Reason.EXPIRED_CODE,
        Reason.REPLAYED_CODE,
        Reason.NOT_DELEGATE,
        Reason.DELEGATE_BLOCKED,
        Reason.DELEGATE_LIMIT,
        Reason.NEEDS_CONFIRMATION,
        Reason.INSUFFICIENT,
        Reason.ITEM_NOT_IN_PLAN,
        Reason.WEEKLY_LIMIT,
        Reason.NO_OFFLINE_SPEND,
    )
)
"""Reasons of taps that cannot be replayed: no card was verified, or a delegate, amount or item is not in the tap."""
ASSUMPTIONS: Final = (
    "Each person’s facts are taken as they stand now, with their dates; a fact recorded since is taken as known then.",
    "Where the service asks for a PIN, people are taken to know theirs.",
    "Other systems’ answers, bookings and loans are taken as the recorded result implies.",
)
HOUR: Final = 3600
"""Seconds of a booking of which only is known that it held."""
_STATES: Final = {f"card_{state.value}": state for state in CardState}
_INPUTS: Final = {kind: TapInput(pin="right", presentation=kind) for kind in ("static", "live", "chip", "totp", "uid")}
_MEDIA: Final = {"live": "live", "chip": "chip", "nfc": "chip", "nfc-uid": "uid"}
"""What the media tells of a tap of an older reader, which did not say what was proven; else that is taken as static."""


class Hindsight:
    """Makes taps to replay under two documents of one service; ``old`` is ``None`` for a new one."""

    def __init__(self, old: CompiledService | None, new: CompiledService) -> None:
        documents = [service.document for service in (old, new) if service is not None]
        self._stale = 0 if old is None or old.max_stale is None else old.max_stale + 1
        self._children = 0 if old is None else old.max_children + 1
        self._upstreams = frozenset(
            rule.name for document in documents for rule in document.requires if isinstance(rule, Upstream)
        )
        limits = [limit for document in documents for limit in document.limits]
        self._books = any(isinstance(limit, BookingRule) for limit in limits)
        self._loans = next((limit.max_out for limit in limits if isinstance(limit, LoanRule)), None)

    def tap(
        self,
        row: Mapping[str, Any],
        *,
        zone: str | None,
        person: str,
        keys: AccountKeys,
        old: Profile | None,
        new: Profile,
        mine: bool,
    ) -> ReplayTap:
        """A stored tap as it is replayed.

        Args:
            row: of ``replay_taps``.
            zone: of its lane.
            person: the person's id.
            keys: the person's account keys.
            old: the person's rights under the document in force.
            new: the person's rights under the draft.
            mine: whether this service decided it; another service's reason tells nothing of this one.
        """
        at = Instant(int(row["happened_at"].timestamp()))
        reason: str = row["reason"]
        allowed = row["outcome"] == "allow"
        return ReplayTap(
            at=at,
            site=SiteId(row["site_id"]),
            zone=None if zone is None else ZoneId(zone),
            person=person,
            old_profile=old,
            new_profile=new,
            direction="in" if row["direction"] == "entry" else "out",
            card=_STATES.get(reason, CardState.ACTIVE),
            keys=keys,
            tap=self._input(row, reason, mine=mine),
            known=self._known(at, reason if mine else "", allowed=allowed),
            online=row["online"],
            clock_trusted=row["clock_trusted"],
            cache_age=self._stale if mine and reason == Reason.CACHE_TOO_OLD else 0,
            recorded=Outcome(row["outcome"]) if mine else None,
        )

    def _input(self, row: Mapping[str, Any], reason: str, *, mine: bool) -> TapInput:
        kind: str = row["presentation"] or _MEDIA.get(row["media"], "static")
        plain = _INPUTS.get(kind) or TapInput(pin="right", presentation=kind)
        if not mine:
            return plain
        units = next((effect["units"] for effect in row["effects"] if isinstance(effect.get("units"), int)), 1)
        if reason == Reason.PIN_WRONG:
            return TapInput(pin="wrong", presentation=kind)
        if reason == Reason.PIN_REQUIRED:
            return TapInput(presentation=kind)
        if reason == Reason.TOO_MANY_CHILDREN:
            return TapInput(pin="right", presentation=kind, children=self._children)
        return plain if units == 1 else TapInput(pin="right", presentation=kind, units=units)

    def _known(self, at: Instant, reason: str, *, allowed: bool) -> State:
        if not self._upstreams and not self._books and self._loans is None:
            return NOTHING
        checks = {}
        for name in self._upstreams:
            word = UPSTREAM_WORDS.get(name, name)
            if reason != f"{word}_check_unavailable":
                checks[name] = UpstreamCheck(age=0, not_blocked=reason != f"{word}_blocked")
        booked = Booking(start=at, end=Instant(at + HOUR)) if self._books and allowed else None
        loans: tuple[date, ...] = ()
        if self._loans is not None and reason == Reason.LOAN_LIMIT:
            loans = (date.max,) * self._loans
        elif self._loans is not None and reason == Reason.OVERDUE_BLOCK:
            loans = (date.min,)
        return State(upstream=checks, booking=booked, loans=loans)
