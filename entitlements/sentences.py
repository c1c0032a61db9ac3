"""What a decision is called in plain English: to the person at the gate, and to staff.

The public sentence stands on a display that the whole queue can read. It never names a benefit, a debt, a fine, a
disability or a plan of care, nor anything a document's author called something; the staff sentence may say more.
"""

from __future__ import annotations

import msgspec

from entitlements.calendars import local_time
from entitlements.model import Decision, Instant, Reason

DAYS_BY_NAME = 7
"""Days ahead for which the weekday alone says which day is meant."""
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


class Sentences(msgspec.Struct, frozen=True, kw_only=True):
    """``public`` for the display, ``next_step`` for the person, ``staff`` for the desk."""

    public: str
    next_step: str
    staff: str


_ASK = "Please ask a member of staff."
_FIXED: dict[Reason, tuple[str, str, str]] = {
    Reason.OK: ("Welcome.", "", "Admitted."),
    Reason.REPEAT_SCAN: ("Welcome.", "", "Same visit as a moment ago: admitted, nothing taken."),
    Reason.NEEDS_CONFIRMATION: ("Please confirm.", "Check the details and confirm.", "Waits for confirmation."),
    Reason.CACHE_TOO_OLD: (
        "This gate cannot check cards just now.",
        _ASK,
        "The gate's data is older than this service allows. Check by hand; look at the reader's connection.",
    ),
    Reason.CLOCK_UNTRUSTED: (
        "This gate cannot check cards just now.",
        _ASK,
        "The gate's clock is not to be trusted. Check by hand; look at the reader's time.",
    ),
    Reason.OFFLINE_STAFF_ONLY: (
        "This needs a member of staff.",
        _ASK,
        "Offline: only staff may decide for this service.",
    ),
    Reason.CARD_SUSPENDED: ("This card cannot be used just now.", _ASK, "Card suspended."),
    Reason.CARD_LOST: ("This card cannot be used.", _ASK, "Card reported lost. Keep it if it is not the holder's."),
    Reason.CARD_REPLACED: ("This card has been replaced.", "Please use your newer card.", "A newer card exists."),
    Reason.CARD_EXPIRED: (
        "This card has expired.",
        "Please ask for a new card online or at the desk.",
        "Card expired.",
    ),
    Reason.CARD_REVOKED: ("This card cannot be used.", _ASK, "Card revoked; it cannot be made valid again."),
    Reason.UNKNOWN_CARD: ("This card is not known here.", _ASK, "No such card, or newer than the gate's data."),
    Reason.BAD_SIGNATURE: ("This card could not be read.", "Please try again, or ask.", "Signature not valid."),
    Reason.EXPIRED_CODE: ("This code is too old.", "Please wait for the next code.", "Live code out of its time."),
    Reason.REPLAYED_CODE: (
        "This code was used already.",
        "Please wait for the next code, or hold your card to the reader again.",
        "Shown here before: a second scan, a picture of the code, or a copied chip. The tap says which.",
    ),
    Reason.PRESENTATION_NOT_ACCEPTED: (
        "Please show your card another way.",
        "Open the card on your phone, or hold your chip card to the reader.",
        "This service does not accept this kind of presentation.",
    ),
    Reason.BLOCKED: ("This card does not open this service.", _ASK, "The person is blocked."),
    Reason.WRONG_SITE: ("This card is for another place.", "See your card for where it opens.", "Not at this site."),
    Reason.WRONG_ZONE: ("This card is for another entrance.", "See your card for where it opens.", "Not in this zone."),
    Reason.SERVICE_NOT_STARTED: (
        "This service has not started yet.",
        "See your card for dates.",
        "Before its first day.",
    ),
    Reason.SERVICE_ENDED: ("This service has ended.", "See your card for other services.", "After its last day."),
    Reason.NOT_DELEGATE: (
        "You cannot act for this person here.",
        _ASK,
        "No delegation in force to this presenter for this service.",
    ),
    Reason.DELEGATE_BLOCKED: ("You cannot act for this person here.", _ASK, "The presenter is blocked."),
    Reason.DELEGATE_LIMIT: ("This is more than you may agree to.", _ASK, "Above the delegate's limit for one action."),
    Reason.NOT_ELIGIBLE: (
        "This card does not open this service.",
        "See your card for what it opens, or ask a member of staff.",
        "The person does not meet the service's conditions at this time.",
    ),
    Reason.ELIGIBILITY_UNKNOWN: (
        "We need to check something first.",
        _ASK,
        "A fact that the conditions ask for is not recorded. Look it up and record it.",
    ),
    Reason.NEEDS_ADULT_CARD: ("Please come in with an adult.", "An adult's card opens this gate.", "Child alone."),
    Reason.TOO_MANY_CHILDREN: ("Too many children for one adult.", _ASK, "More children than the service allows."),
    Reason.PIN_REQUIRED: ("Please enter your PIN.", "Enter your PIN.", "No PIN entered."),
    Reason.PIN_WRONG: ("That PIN is not right.", "Please try again.", "Wrong PIN."),
    Reason.OUTSIDE_HOURS: ("Closed at this time.", "", "Outside the service's hours."),
    Reason.ALREADY_INSIDE: ("This card is already in use inside.", _ASK, "Already inside: exit missed or card shared."),
    Reason.QUOTA_USED: (
        "Nothing is left for this period.",
        "See your card for when it starts again.",
        "Quota used up.",
    ),
    Reason.OFFLINE_ALLOWANCE_USED: (
        "This gate cannot check that just now.",
        _ASK,
        "Offline, and the units leased to this site are used up.",
    ),
    Reason.NO_OFFLINE_SPEND: (
        "Payments are not possible just now.",
        "Please try later.",
        "Offline: no money is spent.",
    ),
    Reason.ITEM_NOT_IN_PLAN: ("This cannot be chosen with this card.", _ASK, "The item is not on the service's list."),
    Reason.INSUFFICIENT: ("This cannot be done with this card now.", _ASK, "Not enough balance."),
    Reason.WEEKLY_LIMIT: ("This cannot be done with this card now.", _ASK, "Above the limit for the period."),
    Reason.NO_BOOKING: (
        "No booking found for now.",
        "Please book, or check your booking.",
        "No booking to be used here.",
    ),
    Reason.TOO_EARLY: ("You are early.", "Please come back nearer your time.", "Before the booking opens."),
    Reason.BOOKING_RELEASED: ("Your booking was released.", "Please book again.", "Not checked in in time."),
    Reason.BOOKING_OVER: ("Your booking is over.", "Please book again.", "After the booking's end."),
    Reason.OVERDUE_BLOCK: ("This needs a member of staff.", _ASK, "Something borrowed is long overdue."),
    Reason.LOAN_LIMIT: ("You have as many items as allowed.", "Please bring one back first.", "Loan limit reached."),
    Reason.FULL: ("It is full just now.", "Please wait until somebody leaves.", "Capacity reached."),
}


def describe(decision: Decision, *, at: Instant, timezone: str) -> Sentences:
    """Public sentence, next step and staff sentence of a decision.

    Args:
        decision: any decision, with one of the fixed reasons or of the named families.
        at: instant of the tap, against which "today" is meant.
        timezone: IANA zone of the tenant.
    """
    try:
        public, next_step, staff = _FIXED[Reason(decision.reason)]
    except ValueError:
        return _family(decision.reason)
    if decision.opens_at is not None:
        next_step = opening(decision.opens_at, at=at, timezone=timezone)
    return Sentences(public=public, next_step=next_step, staff=staff)


def _family(reason: str) -> Sentences:
    if reason.startswith("needs_"):
        step = reason.removeprefix("needs_")
        return Sentences(public="There is one step to complete first.", next_step=_ASK, staff=f"Not done yet: {step}.")
    if reason.endswith("_check_unavailable"):
        system = reason.removesuffix("_check_unavailable")
        return Sentences(
            public="We cannot check that just now.",
            next_step="Please try again shortly, or ask a member of staff.",
            staff=f"No recent answer from {system}.",
        )
    system = reason.removesuffix("_blocked")
    return Sentences(public="This needs a member of staff.", next_step=_ASK, staff=f"Blocked by {system}.")


def opening(opens_at: Instant, *, at: Instant, timezone: str) -> str:
    """``Opens today at 19:15``, ``Opens Monday at 07:00``, or with the date where the weekday would not be enough."""
    zone = local_time(timezone)
    then, now = zone.datetime(opens_at), zone.datetime(at)
    time = f"{then:%H:%M}"
    days = then.toordinal() - now.toordinal()
    if days == 0:
        return f"Opens today at {time}"
    weekday = _WEEKDAYS[then.weekday()]
    if days < DAYS_BY_NAME:
        return f"Opens {weekday} at {time}"
    year = "" if then.year == now.year else f" {then.year}"
    return f"Opens {weekday} {then.day} {_MONTHS[then.month - 1]}{year} at {time}"
