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
GOODBYE: Final = Verdict(light="green", tone="granted", headline="Goodbye")


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
