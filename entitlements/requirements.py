"""What must be fulfilled at the gate beside being eligible: prerequisite, PIN, presentation kind, upstream check.

Each rule becomes a closure: on the way of every tap that costs less than a method which reads its own attributes.
"""

from __future__ import annotations

from collections.abc import Sequence

from entitlements.model import Reason
from entitlements.service import ACCEPTED_UNASKED, Pin, Prerequisite, Presentation, Requirement, Upstream
from entitlements.situation import Situation, Test

UPSTREAM_WORDS = {"lms": "library"}
"""Upstream systems whose public word differs from their id: nobody knows what an LMS is."""
DONE_SOMEWHERE = "."
"""In a profile's prerequisites: done at some site, which is enough where the scope is ``once``; never a site's name."""


def compile_requirement(rule: Requirement) -> Test:
    """A requirement of a document, ready for :func:`~entitlements.decide.decide`."""
    if isinstance(rule, Prerequisite):
        return _prerequisite(rule)
    if isinstance(rule, Pin):
        return _pin
    if isinstance(rule, Presentation):
        return _presentation(rule)
    return _upstream(rule)


def compile_requirements(rules: Sequence[Requirement]) -> tuple[Test, ...]:
    """All requirements in the document's order. Where none speaks of the presentation, weak kinds are refused first."""
    tests = tuple(map(compile_requirement, rules))
    if any(isinstance(rule, Presentation) for rule in rules):
        return tests
    return (_presentation(Presentation(kinds=ACCEPTED_UNASKED)), *tests)


def unavailable_reason(rule: Upstream) -> str:
    """The reason where the other system's word is missing or too old."""
    return f"{UPSTREAM_WORDS.get(rule.name, rule.name)}_check_unavailable"


def _prerequisite(rule: Prerequisite) -> Test:
    """Something done before, an induction for example: at this site, or once anywhere."""
    name, once, reason = rule.name, rule.scope == "once", f"needs_{rule.name}"

    def test(now: Situation) -> str | None:
        profile = now.subject.profile
        done = () if profile is None else profile.done.get(name, ())
        if done and (once or now.moment.site in done or "*" in done):
            return None
        return reason

    return test


def _pin(now: Situation) -> str | None:
    """A PIN, checked by the reader; a blank one never passes."""
    pin = now.tap.pin
    if pin == "right":
        return None
    return Reason.PIN_REQUIRED if pin is None else Reason.PIN_WRONG


def _presentation(rule: Presentation) -> Test:
    """Only these kinds of presentation open the service."""
    kinds = rule.kinds

    def test(now: Situation) -> str | None:
        return None if now.tap.presentation in kinds else Reason.PRESENTATION_NOT_ACCEPTED

    return test


def _upstream(rule: Upstream) -> Test:
    """Another system's word on the person, no older than the rule allows; an older word is no word."""
    name, max_age = rule.name, rule.max_age
    blocked = f"{UPSTREAM_WORDS.get(name, name)}_blocked"
    otherwise = None if rule.if_unknown == "allow" else unavailable_reason(rule)

    def test(now: Situation) -> str | None:
        check = now.state.upstream.get(name)
        if check is None or check.not_blocked is None or check.age > max_age:
            return otherwise
        return None if check.not_blocked else blocked

    return test
