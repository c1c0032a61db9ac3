"""Limits and presence in words: quotas, money, bookings, loans, numbers inside, coming in twice."""

from __future__ import annotations

from entitlements.explain.people import Told
from entitlements.explain.words import (
    Names,
    clock,
    counted,
    humanise,
    length,
    listed,
    money,
    month_day,
    plural,
    times,
)
from entitlements.service import (
    Balance,
    BookingRule,
    Capacity,
    Limit,
    LoanRule,
    Period,
    Quota,
    ServiceDocument,
)

HOUR = 3600


def limits(document: ServiceDocument, names: Names) -> Told:
    """Every limit in the document's order, then presence."""
    told: Told = []
    for limit in document.limits:
        told += [(0, line) for line in limit_lines(limit, names)]
    return told + [(0, line) for line in presence_lines(document)]


def limit_lines(limit: Limit, names: Names) -> list[str]:
    """Sentences of one limit."""
    if isinstance(limit, Quota):
        return _quota(limit, names)
    if isinstance(limit, Balance):
        return _balance(limit, names)
    if isinstance(limit, BookingRule):
        return _booking(limit, names)
    if isinstance(limit, LoanRule):
        return _loan(limit, names)
    return [capacity_line(limit, names)]


def capacity_line(limit: Capacity, names: Names) -> str:
    """``No more than 80 people in the gym at once``."""
    number = "1 person" if limit.max == 1 else f"{limit.max:,} people"
    place = "inside" if limit.zone is None else f"in this area: {names.thing(limit.zone)}"
    return f"no more than {number} at once {place}"


def period_words(period: Period) -> tuple[str, str | None]:
    """``a week`` and, where it needs saying, a sentence on when it starts."""
    if period.name == "week":
        return "a week", "the week starts on Monday"
    if period.name == "year":
        if period.year_start == (1, 1):
            return "a year", "the year starts on 1 January"
        return "a year", f"the year starts on {month_day(*period.year_start)}"
    if period.name == "night":
        turn = clock(period.anchor)
        return "a night", f"a night is counted from {turn} to {turn} the next day"
    if period.name == "rolling":
        return ("a day" if period.days == 1 else f"in any {period.days} days in a row"), None
    if period.name == "grant":
        return "in total, for as long as they can use the service without a break", None
    return f"a {period.name}", None


def quota_line(quota: Quota, names: Names) -> str:
    """``Each household can have 12 visits a year``."""
    unit = humanise(quota.unit)
    often, _ = period_words(quota.period)
    if unit == "entry" and quota.counts == "used" and quota.max:
        number = times(quota.max) if quota.max == 1 else f"up to {times(quota.max)}"
        return f"each {names.thing(quota.scope)} can come in {number} {often}"
    verb = "make" if unit in ("visit", "booking", "entry") else "use"
    if quota.counts == "created" and unit not in ("visit", "booking", "entry"):
        verb = "book"
    amount = f"up to {counted(quota.max, unit)}" if quota.max else f"no {plural(unit, 2)}"
    return f"each {names.thing(quota.scope)} can {verb} {amount} {often}"


def _quota(quota: Quota, names: Names) -> list[str]:
    unit = humanise(quota.unit)
    lines = [quota_line(quota, names)]
    _, starts = period_words(quota.period)
    if starts:
        lines.append(starts)
    if quota.scope != "person":
        lines.append(
            f"everyone on the same {names.thing(quota.scope)} shares this"
            if quota.scope != "household"
            else "everyone in the household shares this"
        )
    if quota.counts == "created":
        lines.append(f"{plural(unit, 2)} count when they are made, not when they are used")
    if quota.overshoot == "finish_session":
        lines.append("a session that has started can finish, even if it goes over the limit")
    return lines


def _balance(balance: Balance, names: Names) -> list[str]:
    unit = "" if balance.unit == "GBP" else f" (in {humanise(balance.unit)})"
    lines = [f"payments come out of their {names.thing(balance.account)}{unit}, and cannot be more than is left in it"]
    if balance.cap is not None:
        often, starts = period_words(balance.cap.period)
        lines.append(f"they can spend up to {money(balance.cap.max_pence)} {often}")
        if starts:
            lines.append(starts)
    if balance.scope != "person":
        lines.append(f"the balance is shared by the {names.thing(balance.scope)}")
    if balance.confirm is None:
        lines.append("payments do not have to be confirmed")
    else:
        by = listed((_confirmer(word, names) for word in balance.confirm.by), "or")
        what = (
            "every payment"
            if balance.confirm.over_pence == 0
            else f"a payment of more than {money(balance.confirm.over_pence)}"
        )
        lines.append(f"{what} must be confirmed by {by}")
    if balance.hold is not None:
        most = length(balance.hold)
        lines.append(f"money that is spent is held until the provider confirms it, for up to {most}, and then put back")
    return lines


def _confirmer(word: str, names: Names) -> str:
    if word == "holder":
        return "the cardholder"
    scope = word.partition(":")[2]
    return f"a person they have chosen to {names.thing(scope)} it" if scope else "a person acting for them"


def _booking(booking: BookingRule, names: Names) -> list[str]:
    lines = [f"people need a booking for {names.proper(booking.resource)}"]
    if booking.early:
        lines.append(f"they can come in from {length(booking.early)} before it starts until it ends")
    else:
        lines.append("they can come in from when it starts until it ends")
    if booking.late is not None:
        lines.append(
            f"if they have not come in {length(booking.late)} after it starts, the booking is released for someone else"
            if booking.late
            else "if they have not come in when it starts, the booking is released for someone else"
        )
    if booking.party_max == 1:
        lines.append("a booking is for 1 person")
    elif booking.party_max is not None:
        lines.append(f"a booking is for up to {booking.party_max} people, including the person who booked")
    return lines


def _loan(loan: LoanRule, names: Names) -> list[str]:
    lines = [f"people can have up to {counted(loan.max_out, 'item')} at a time from {names.thing(loan.pool)}"]
    if loan.period is not None:
        renewed = ""
        if loan.renewals:
            renewed = f", and can be renewed {times(loan.renewals)}"
        lines.append(f"each loan is for {length(loan.period)}{renewed}")
    elif loan.renewals:
        lines.append(f"a loan can be renewed {times(loan.renewals)}")
    if loan.overdue_days is not None:
        late = max(loan.overdue_days, 1)
        lines.append(f"they cannot borrow anything else once an item is {counted(late, 'day')} overdue")
    return lines


def presence_lines(document: ServiceDocument) -> list[str]:
    """Coming in twice, double taps, longest stay."""
    rule = document.presence
    lines = []
    if rule.anti_passback == "person":
        lines.append("a person who is already inside cannot come in again until they have gone out")
    elif rule.anti_passback == "card":
        lines.append("a card that is already inside cannot be used to come in again until it has gone out")
    if rule.one_at_a_time is not None and rule.one_at_a_time != rule.anti_passback:
        lines.append(f"only one visit or session at a time for each {rule.one_at_a_time}")
    forgiven = []
    if rule.max_stay is not None:
        forgiven.append(f"after {length(rule.max_stay)}")
    if rule.reset == "local_midnight":
        forgiven.append("at midnight")
    if forgiven:
        lines.append(f"if someone forgets to tap out, we treat them as having left {listed(forgiven, 'or')}")
    if rule.min_gap:
        unless = any(isinstance(limit, (Balance, LoanRule)) for limit in document.limits)
        lines.append(
            "tapping again straight away counts as a new payment or loan"
            if unless
            else f"tapping again within {length(rule.min_gap)} counts as the same visit"
        )
    return lines
