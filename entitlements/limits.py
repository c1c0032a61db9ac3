"""Limits at the gate: quota, balance, booking, loan and capacity, each ready to be tested against the state.

A limit answers with the reason to refuse, with what the tap takes if nothing else refuses, or with ``None``. Limits are
closures: on the way of every tap these cost less than methods that read their own attributes.
"""

from __future__ import annotations

from collections.abc import Callable

from entitlements.calendars import LocalTime
from entitlements.model import Effect, Instant, Reason
from entitlements.periods import PeriodBounds
from entitlements.service import Balance, BookingRule, Capacity, Confirm, Limit, LoanRule, Quota, SpendCap
from entitlements.situation import Situation, Test

Answer = str | Effect | None
"""Of a limit: the reason to refuse, what an allowed tap takes, or neither."""
CompiledLimit = Callable[[Situation], Answer]
Asking = Callable[[Situation], bool]
"""Whether somebody has to confirm the tap first."""


def compile_limit(limit: Limit, zone: LocalTime, *, bookings_offline: bool, ignore_capacity: bool) -> CompiledLimit:
    """A limit of a document, ready for :func:`~entitlements.decide.decide`."""
    if isinstance(limit, Quota):
        return _quota(limit, zone)
    if isinstance(limit, Balance):
        return _balance(limit, zone)
    if isinstance(limit, BookingRule):
        return _booking(limit, offline=bookings_offline)
    if isinstance(limit, LoanRule):
        return _loan(limit, zone)
    return _capacity(limit, ignored_offline=ignore_capacity)


def only_items(items: frozenset[str], *, money: bool) -> Test:
    """``allow_only_items``. Money that cannot be spent at all now is said before what it may be spent on."""

    def test(now: Situation) -> str | None:
        if now.tap.item in items:
            return None
        return Reason.NO_OFFLINE_SPEND if money and not now.moment.online else Reason.ITEM_NOT_IN_PLAN

    return test


def _quota(quota: Quota, zone: LocalTime) -> CompiledLimit:
    """Units in a period, kept by person, household, vehicle or permit."""
    account, scope, most = quota.account, quota.scope, quota.max
    # A session that may be finished needs one unit to start; anything else needs all its units.
    starts_with_one = quota.overshoot == "finish_session"
    period = PeriodBounds(quota.period, zone)
    is_grant = period.is_grant

    def test(now: Situation) -> Answer:
        moment, state, keys = now.moment, now.state, now.subject.keys
        key = keys.get(scope) or keys.get("person")
        if key is None:
            return Reason.ELIGIBILITY_UNKNOWN
        units = now.tap.units
        wanted = 1 if starts_with_one else units
        ledger = state.ledger
        if ledger is None:
            used = 0
        elif is_grant:
            used = ledger.used(account, key, now.grant_start, None)
        else:
            # Its last answer mostly still holds, and looking at it costs a third of asking.
            first, end, since, until = period.last
            if not first <= moment.at < end:
                since, until = period.at(moment.at)
            used = ledger.used(account, key, since, until)
        if used + wanted > most:
            return Reason.QUOTA_USED
        if not moment.online and state.leases.get(account, 0) < wanted:
            return Reason.OFFLINE_ALLOWANCE_USED
        return Effect(account=account, units=units, key=key)

    return test


def _balance(balance: Balance, zone: LocalTime) -> CompiledLimit:
    """Money: never offline, never beyond balance or cap."""
    account, scope = balance.account, balance.scope
    beyond_cap = None if balance.cap is None else _cap(balance, balance.cap, zone)

    def test(now: Situation) -> Answer:
        if not now.moment.online:
            return Reason.NO_OFFLINE_SPEND
        amount = now.tap.amount_pence or 0
        if amount > (now.state.balance_pence or 0):  # an unknown balance is no balance
            return Reason.INSUFFICIENT
        reason = None if beyond_cap is None else beyond_cap(now)
        if reason is not None:
            return reason
        return Effect(account=account, units=amount, key=now.key(scope)) if amount else None

    return test


def _cap(balance: Balance, cap: SpendCap, zone: LocalTime) -> Test:
    """So many pence in a period."""
    account, scope, most = balance.account, balance.scope, cap.max_pence
    period = PeriodBounds(cap.period, zone)

    def test(now: Situation) -> str | None:
        amount = now.tap.amount_pence or 0
        ledger = now.state.ledger
        if ledger is None:
            return Reason.WEEKLY_LIMIT if amount > most else None
        key = now.key(scope)
        if key is None:
            return Reason.ELIGIBILITY_UNKNOWN
        since: Instant | None
        until: Instant | None
        since, until = (now.grant_start, None) if period.is_grant else period.at(now.moment.at)
        return Reason.WEEKLY_LIMIT if ledger.used(account, key, since, until) + amount > most else None

    return test


def compile_confirmation(confirm: Confirm) -> Asking:
    """Above the threshold somebody entitled to must have confirmed the amount."""
    over = confirm.over_pence
    holder, any_delegate = "holder" in confirm.by, "delegate" in confirm.by
    scopes = frozenset(word.partition(":")[2] for word in confirm.by if word.startswith("delegate:"))

    def asks(now: Situation) -> bool:
        amount = now.tap.amount_pence or 0
        if amount <= over:
            return False
        if not now.tap.confirmed:
            return True
        acting = now.subject.acting
        if acting is None:
            return not holder
        at = now.moment.at
        return not any(
            grant.holds(at) and grant.covers(amount) and (any_delegate or not scopes.isdisjoint(grant.scopes))
            for grant in acting.grants
        )

    return asks


def _booking(booking: BookingRule, *, offline: bool) -> Test:
    """Only with a booking, from ``early`` before its start, until it is released or over."""
    early, late = booking.early, booking.late

    def test(now: Situation) -> str | None:
        at, booked = now.moment.at, now.state.booking
        if booked is None or not (now.moment.online or offline):
            return Reason.NO_BOOKING
        if at < booked.start - early:
            return Reason.TOO_EARLY
        if late is not None and not booked.checked_in and at > booked.start + late:
            return Reason.BOOKING_RELEASED
        return Reason.BOOKING_OVER if at >= booked.end else None

    return test


def _loan(loan: LoanRule, zone: LocalTime) -> Test:
    """So many items out at a time, none of them long overdue."""
    most, overdue_days = loan.max_out, loan.overdue_days

    def test(now: Situation) -> str | None:
        loans = now.state.loans
        if loans and overdue_days is not None:
            overdue = zone.day(now.moment.at) - min(loans).toordinal()
            if overdue >= max(overdue_days, 1):
                return Reason.OVERDUE_BLOCK
        return Reason.LOAN_LIMIT if len(loans) + now.tap.units > most else None

    return test


def _capacity(capacity: Capacity, *, ignored_offline: bool) -> Test:
    """Heads in a zone: the holder and the children with them must fit."""
    room, zone = capacity.max - 1, capacity.zone

    def test(now: Situation) -> str | None:
        moment, presence = now.moment, now.state.presence
        if ignored_offline and not moment.online:
            return None
        here = moment.zone
        if zone != here and zone is not None and here is not None:
            return None
        inside = 0 if presence is None else presence.zone_count or 0
        return Reason.FULL if inside + now.tap.children > room else None

    return test
