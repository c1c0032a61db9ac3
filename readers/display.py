"""What a lane shows: light, tone and words together, never a benefit, a debt or a disability."""

from __future__ import annotations

from typing import Final

from entitlements.model import Decision, Instant, Outcome
from entitlements.sentences import describe
from hardware.interfaces import MAX_DETAIL, MAX_HEADLINE, Verdict

IDLE: Final = Verdict(light="blue", tone="silent", headline="Hold your card to the reader")
UNREADABLE: Final = Verdict(light="blue", tone="attention", headline="Please show your council card")
FIRE: Final = Verdict(
    light="green", tone="silent", headline="Please leave the building", detail="The gates are open. Do not wait here."
)
GATE_DOWN: Final = Verdict(
    light="amber", tone="attention", headline="Please ask our staff", detail="This gate does not open."
)
NOT_SET_UP: Final = Verdict(
    light="amber", tone="attention", headline="Please ask our staff", detail="This gate is not in use."
)
FAULT: Final = Verdict(light="amber", tone="attention", headline="Please ask our staff")
TAILGATING: Final = Verdict(light="amber", tone="attention", headline="One person at a time, please")
FORCED: Final = Verdict(light="amber", tone="attention", headline="Please show your card first")
ASK_PIN: Final = Verdict(
    light="amber", tone="attention", headline="Please enter your PIN", detail="Then press #. Press * to start again."
)
NO_PIN_ENTERED: Final = Verdict(
    light="amber",
    tone="attention",
    headline="No PIN was entered",
    detail="To try again, hold your card to the reader. For help, ask a member of staff.",
)
GOODBYE: Final = Verdict(light="green", tone="granted", headline="Goodbye")


def typing(digits: int) -> Verdict:
    """So many digits were typed, not which."""
    return Verdict(
        light="amber", tone="silent", headline=ASK_PIN.headline, detail="\u25cf " * min(digits, 12) + "then press #"
    )


def not_a_pin(shortest: int, longest: int) -> Verdict:
    """What was typed cannot be anybody's PIN."""
    return Verdict(
        light="amber",
        tone="attention",
        headline=ASK_PIN.headline,
        detail=f"A PIN has {shortest} to {longest} digits. Then press #.",
    )


def wrong_pin(left: int) -> Verdict:
    """The PIN was wrong and may be tried again."""
    tries = "1 try" if left == 1 else f"{left} tries"
    return Verdict(
        light="red", tone="refused", headline="That PIN is not right", detail=f"Please try again: {tries} left."
    )


def pin_locked(seconds: int) -> Verdict:
    """Too many wrong PINs; the lock lasts so many seconds more."""
    minutes = max(1, -(-seconds // 60))
    hours, days = -(-minutes // 60), -(-minutes // 1440)
    if minutes < 120:
        wait = "1 minute" if minutes == 1 else f"{minutes} minutes"
    else:
        wait = f"{hours} hours" if hours < 48 else f"{days} days"
    return Verdict(
        light="red",
        tone="refused",
        headline="Too many wrong PINs",
        detail=f"Please try again in {wait}, or ask a member of staff.",
    )


def verdict_of(decision: Decision, *, at: Instant, timezone: str) -> Verdict:
    """What the person is shown of a decision on the way in.

    ``at`` is the instant of the tap and ``timezone`` the IANA zone of the service's council, for opening times.
    """
    words = describe(decision, at=at, timezone=timezone)
    headline, detail = words.public.rstrip(".")[:MAX_HEADLINE], words.next_step[:MAX_DETAIL]
    if decision.outcome is Outcome.ALLOW:
        return Verdict(light="green", tone="granted", headline=headline, detail=detail)
    if decision.outcome is Outcome.DENY:
        return Verdict(light="red", tone="refused", headline=headline, detail=detail)
    return Verdict(light="amber", tone="attention", headline=headline, detail=detail)
