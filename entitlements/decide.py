"""The decision: one pure function of a compiled service, a subject, a moment, a tap and the state behind limits.

No clock, no I/O: time, freshness of the cache, trust in the clock and being online are arguments. Service, gate and the
decision tool all call :func:`decide`. The order of the steps is the order of the reasons (entitlements.md): card state,
cache age and clock, block, site and zone, service dates, delegate, who, requires, when, presence and limits.
"""

from __future__ import annotations

from entitlements.compiled import CompiledService
from entitlements.model import CardState, Decision, Effect, Outcome, Reason
from entitlements.profile import Segment, Verdict
from entitlements.situation import (
    NOTHING,
    PLAIN_TAP,
    Acting,
    Booking,
    Ledger,
    Moment,
    Presence,
    Situation,
    State,
    Subject,
    TapInput,
    UpstreamCheck,
)

__all__ = [
    "EXIT",
    "NOTHING",
    "PLAIN_TAP",
    "Acting",
    "Booking",
    "Ledger",
    "Moment",
    "Presence",
    "State",
    "Subject",
    "TapInput",
    "UpstreamCheck",
    "decide",
]

EXIT = Decision(outcome=Outcome.ALLOW, reason=Reason.OK)
"""The decision for every tap on the way out: leaving never needs permission."""

# Looked up once: an attribute of an enum costs more than a global on the way of every tap.
_ALLOW = Outcome.ALLOW
_OK = Reason.OK
_ACTIVE = CardState.ACTIVE
_ELIGIBLE = Verdict.ELIGIBLE
_UNKNOWN = Verdict.UNKNOWN
_TOO_YOUNG = Verdict.TOO_YOUNG
_CARD_REASONS = {state: f"card_{state.value}" for state in CardState}


def decide(
    service: CompiledService,
    subject: Subject,
    moment: Moment,
    tap: TapInput = PLAIN_TAP,
    state: State = NOTHING,
) -> Decision:
    """Decide one presentation at one gate, on the way in.

    Args:
        service: the service this gate opens.
        subject: card state, the holder's profile and account keys, and whose card was presented instead, if so.
        moment: corrected instant, site and zone, and how far the reader may trust itself.
        tap: what was done at the reader.
        state: units, presence, bookings, loans and other systems' words, as this reader or service knows them.

    Returns:
        One outcome with one reason; with price band and effects where it is allowed.
    """
    at = moment.at
    card = subject.card
    if card is not _ACTIVE:
        return _refuse(service, Reason.UNKNOWN_CARD if card is None else _CARD_REASONS[card])

    if service.max_stale is not None and moment.cache_age > service.max_stale:
        return _refuse(service, Reason.CACHE_TOO_OLD)
    if not moment.clock_trusted:
        return _refuse(service, Reason.CLOCK_UNTRUSTED)
    if service.staff_only_offline and not moment.online:
        return _refuse(service, Reason.OFFLINE_STAFF_ONLY)

    profile = subject.profile
    if profile is not None and profile.blocks and ("*" in profile.blocks or service.id in profile.blocks):
        return _refuse(service, Reason.BLOCKED)

    if service.sites is not None and moment.site not in service.sites:
        return _refuse(service, Reason.WRONG_SITE)
    if service.zones is not None and moment.zone not in service.zones:
        return _refuse(service, Reason.WRONG_ZONE)

    # Hours lie within the service dates, but a window that started on the last day may run past midnight.
    hours = service.hours
    since, until = hours.lately
    is_open = since <= at < until or hours.contains(at)
    if not is_open:
        if at < service.starts:
            return _refuse(service, Reason.SERVICE_NOT_STARTED)
        if at >= service.ends:
            return _refuse(service, Reason.SERVICE_ENDED)

    if subject.acting is not None:
        reason = _delegate_refusal(service, subject.acting, moment, tap)
        if reason is not None:
            return _refuse(service, reason)

    grant: tuple[Segment, ...] = () if profile is None else profile.by_service.get(service.id, ())
    for segment in grant:
        if (segment.start is None or segment.start <= at) and (segment.until is None or at < segment.until):
            break
    else:
        return _refuse(service, Reason.NOT_ELIGIBLE)
    if segment.verdict is not _ELIGIBLE:
        if segment.verdict is _UNKNOWN:
            return _refuse(service, Reason.ELIGIBILITY_UNKNOWN)
        if subject.acting is None:  # a child whose delegate presents the card is not alone
            return _refuse(service, Reason.NEEDS_ADULT_CARD)
        if segment.verdict is _TOO_YOUNG:
            return _refuse(service, Reason.NOT_ELIGIBLE)
    if tap.children > service.max_children:
        return _refuse(service, Reason.TOO_MANY_CHILDREN)

    now = Situation(subject, moment, tap, state, grant)
    for test in service.requires:
        reason = test(now)
        if reason is not None:
            return _refuse(service, reason)

    if not is_open:
        return Decision(
            outcome=Outcome.DENY,
            reason=Reason.OUTSIDE_HOURS,
            service=service.id,
            opens_at=hours.next_opening(at),
        )

    presence = state.presence
    if presence is not None:
        # A clock that was ahead may have put the last tap after this one: it is the same visit all the same. Who is
        # inside was admitted when that began.
        gap = service.min_gap
        if gap is not None:
            last = presence.last
            if last is None and presence.inside:
                last = presence.since
            if last is not None and abs(at - last) < gap:
                return _repeat(service)
        if presence.inside and service.exclusive and _still_inside(service, presence, moment):
            return _refuse(service, Reason.ALREADY_INSIDE)

    effects: tuple[Effect, ...] = ()
    for limit in service.limits:
        answer = limit(now)
        if answer is not None:
            if not isinstance(answer, Effect):
                return _refuse(service, answer)
            effects += (answer,)

    for wants_confirmation in service.confirmations:  # asked only now that nothing refuses
        if wants_confirmation(now):
            return Decision(outcome=Outcome.CONFIRM, reason=Reason.NEEDS_CONFIRMATION, service=service.id)
    if not effects:
        known = service.allowed.get((segment.band, segment.pence))
        if known is not None:
            return known
    return Decision(
        outcome=_ALLOW, reason=_OK, service=service.id, band=segment.band, pence=segment.pence, effects=effects
    )


def _refuse(service: CompiledService, reason: str) -> Decision:
    """The refusal of a service for a reason, made once."""
    known = service.refusals.get(reason)
    if known is None:
        outcome = Outcome.REFER if reason in service.referred else Outcome.DENY
        known = service.refusals[reason] = Decision(outcome=outcome, reason=reason, service=service.id)
    return known


def _repeat(service: CompiledService) -> Decision:
    """The same visit again: allowed, takes no unit, and costs nothing, since the price was fixed at entry."""
    known = service.refusals.get(Reason.REPEAT_SCAN)
    if known is None:
        known = Decision(outcome=Outcome.ALLOW, reason=Reason.REPEAT_SCAN, service=service.id)
        service.refusals[Reason.REPEAT_SCAN] = known
    return known


def _delegate_refusal(service: CompiledService, acting: Acting, moment: Moment, tap: TapInput) -> str | None:
    """A delegate needs a delegation in force for a scope of this service, no block, and an amount within the caps."""
    scopes = service.acts_for_scopes
    if scopes is None:
        return Reason.NOT_DELEGATE
    at = moment.at
    capped: bool | None = None  # no delegation is in force
    amount = tap.amount_pence or 0
    for grant in acting.grants:
        # As ``grant.holds`` and ``grant.covers``, without their calls: a tenth of what a decision takes.
        if (
            (grant.start is None or grant.start <= at)
            and (grant.until is None or at < grant.until)
            and not scopes.isdisjoint(grant.scopes)
        ):
            capped = grant.max_pence is not None and amount > grant.max_pence
            if not capped:
                break
    if capped is None:
        return Reason.NOT_DELEGATE
    if acting.blocks and ("*" in acting.blocks or service.id in acting.blocks):
        return Reason.DELEGATE_BLOCKED
    if capped or (service.acts_for_pence is not None and amount > service.acts_for_pence):
        return Reason.DELEGATE_LIMIT
    return None


def _still_inside(service: CompiledService, presence: Presence, moment: Moment) -> bool:
    """Whether an entry still counts: a missed exit is forgiven after the longest stay, or at local midnight."""
    if service.ignore_presence_offline and not moment.online:
        return False
    since = presence.since
    if since is None:
        return True
    if service.max_stay is not None and moment.at - since >= service.max_stay:
        return False
    return not (service.resets_daily and since < service.time.midnight(service.time.day(moment.at)))
