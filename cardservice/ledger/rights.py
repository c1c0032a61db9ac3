"""Whether a person has a right to a service at an instant, for what is done at the desk ahead of the visit."""

from __future__ import annotations

from datetime import datetime

from cardservice.ledger.accounts import instant
from cardservice.ledger.problems import refused
from entitlements.compile import CompiledService, compile_profile
from entitlements.facts import PersonFacts
from entitlements.model import Instant, Reason
from entitlements.profile import Horizon, Profile, Segment, Verdict
from entitlements.world import World


def profile_at(service: CompiledService, facts: PersonFacts, world: World, at: Instant) -> Profile:
    """What gates would know of the person for this service around an instant."""
    return compile_profile(facts, [service], world, Horizon(start=at, end=Instant(at + 1)))


def right_at(service: CompiledService, facts: PersonFacts, world: World, at: Instant) -> Segment | None:
    """The grant that holds at an instant."""
    for segment in profile_at(service, facts, world, at).segments(service.id):
        if (segment.start is None or segment.start <= at) and (segment.until is None or at < segment.until):
            return segment
    return None


def refuse_without_right(service: CompiledService, facts: PersonFacts, world: World, at: datetime) -> None:
    """Let pass who may use the service at an instant, a child who needs an adult too.

    Raises:
        ApiProblem: 409 ``blocked``, ``not_eligible`` or ``eligibility_unknown``.
    """
    title = service.document.title
    if "*" in facts.blocked or service.id in facts.blocked:
        raise refused(Reason.BLOCKED, f"This person may not use “{title}”.")
    segment = right_at(service, facts, world, instant(at))
    if segment is None:
        raise refused(Reason.NOT_ELIGIBLE, f"This person has no right to “{title}” at that time.")
    if segment.verdict is Verdict.UNKNOWN:
        raise refused(Reason.ELIGIBILITY_UNKNOWN, f"A fact that “{title}” asks for is not known of this person.")
