"""Compiling people: facts to what a gate may know of a person, and the sparse data of their cards."""

from __future__ import annotations

from collections.abc import Sequence

from entitlements.calendars import FOREVER, local_time
from entitlements.compiled import CompiledService, compile_service
from entitlements.eligibility import BEGINNING, GROWN_YEARS, View, span_instants
from entitlements.facts import PersonFacts
from entitlements.model import Instant
from entitlements.profile import AccountKeys, DelegateGrant, Horizon, Profile, Segment, Verdict
from entitlements.requirements import DONE_SOMEWHERE
from entitlements.service import All, Any, Expression, Holds, Not, Prerequisite
from entitlements.world import Tenant, World

__all__ = [
    "CompiledService",
    "account_keys",
    "compile_profile",
    "compile_service",
    "delegate_grants",
    "telling_birthdays",
]


def compile_profile(facts: PersonFacts, services: Sequence[CompiledService], world: World, horizon: Horizon) -> Profile:
    """What a gate needs to know of a person for these services (usually those of one area) within the horizon.

    Work is done only at instants at which a fact changes: birthdays, first days, and the days after last days.
    """
    views: dict[tuple[str, str], View] = {}
    grants = []
    for service in services:
        tenant = world.tenants[service.tenant]
        key = (tenant.timezone, tenant.leap_birthday)
        view = views.get(key)
        if view is None:
            view = views[key] = _view(facts, tenant)
        segments = _segments(service, view, horizon)
        if segments:
            grants.append((service.id, segments))
    listed = {service.id for service in services}
    blocks = ("*",) if "*" in facts.blocked else tuple(name for name in facts.blocked if name in listed)
    return Profile(grants=grants, prerequisites=_prerequisites(facts, services), blocks=blocks)


def telling_birthdays(services: Sequence[CompiledService]) -> frozenset[int]:
    """The birthdays, in years, on which a person's profile for these services can change. Some may be below zero."""
    found: set[int] = set()
    for service in services:
        for condition in (service.who, service.child_condition, *(condition for _, condition in service.prices)):
            if condition is not None:
                found |= condition.ages
        if service.child_condition is not None and service.who is not None:
            found |= {years - GROWN_YEARS for years in service.who.ages}
    return frozenset(found)


def _view(facts: PersonFacts, tenant: Tenant) -> View:
    return View(facts, local_time(tenant.timezone), leap_on_feb_28=tenant.leap_birthday == "02-28")


def _segments(service: CompiledService, view: View, horizon: Horizon) -> tuple[Segment, ...]:
    # A quota over the whole grant needs the grant's true start, so that service alone looks at the past too.
    low = BEGINNING if service.grant_quota else horizon.start
    turns: set[Instant] = set()
    if service.who is not None:
        service.who.boundaries(view, turns)
    for _, condition in service.prices:
        if condition is not None:
            condition.boundaries(view, turns)
    if service.child_condition is not None:
        service.child_condition.boundaries(view, turns)
        if service.who is not None:
            service.who.boundaries(view.grown(), turns)  # of a child, _value asks what would hold of an adult
    starts = [low, *sorted(turn for turn in turns if low < turn < horizon.end)]
    found: list[Segment] = []
    for index, start in enumerate(starts):
        value = _value(service, view, start)
        if value is None:
            continue
        last = index + 1 == len(starts)
        until = None if last else starts[index + 1]
        if found and found[-1].until == start and (found[-1].verdict, found[-1].band, found[-1].pence) == value:
            found[-1] = Segment(found[-1].start, until, *value)
        else:
            found.append(Segment(None if index == 0 else start, until, *value))
    if service.grant_quota:
        return _current(found, horizon.start)
    return tuple(found)


def _current(segments: list[Segment], start: Instant) -> tuple[Segment, ...]:
    """Segments that reach beyond ``start``, with the unbroken run of grants before the first of them."""
    for first, segment in enumerate(segments):  # noqa: B007 - the index is what is looked for
        if segment.until is None or segment.until > start:
            break
    else:
        return ()
    while first > 0 and segments[first - 1].until == segments[first].start:
        first -= 1
    return tuple(segments[first:])


def _value(service: CompiledService, view: View, at: Instant) -> tuple[Verdict, str | None, int | None] | None:
    """Verdict, band and pence from an instant on, until a fact changes; ``None`` where the person is not eligible."""
    eligible = True if service.who is None else service.who.test(view, at)
    child = False if service.child_condition is None else service.child_condition.test(view, at)
    if eligible is False:
        if child and service.who is not None and service.who.test(view.grown(), at):
            return (Verdict.TOO_YOUNG, None, None)
        return None
    if eligible is None or child is None:
        return (Verdict.UNKNOWN, None, None)
    verdict = Verdict.NEEDS_ADULT if child else Verdict.ELIGIBLE
    for band, condition in service.prices:
        if condition is None or condition.test(view, at) is True:
            return (verdict, band.name, band.pence)
    return (verdict, None, None)


def _prerequisites(facts: PersonFacts, services: Sequence[CompiledService]) -> list[tuple[str, tuple[str, ...]]]:
    """What was done of what these services ask for, with no more sites than they need, so that profiles stay shared."""
    needed: dict[str, set[str]] = {}
    for service in services:
        for requirement in service.document.requires:
            if isinstance(requirement, Prerequisite) and facts.prerequisites.get(requirement.name):
                sites = facts.prerequisites[requirement.name]
                kept = needed.setdefault(requirement.name, set())
                if "*" in sites:
                    kept.add("*")
                elif requirement.scope == "once":
                    kept.add(DONE_SOMEWHERE)
                else:
                    kept |= sites if service.sites is None else sites & service.sites
    return [(name, tuple(sites)) for name, sites in needed.items() if sites]


def delegate_grants(facts: PersonFacts, tenant: Tenant) -> dict[str, tuple[DelegateGrant, ...]]:
    """Delegate's person id -> what the holder let them do; local dates in the tenant's zone."""
    zone = local_time(tenant.timezone)
    found: dict[str, tuple[DelegateGrant, ...]] = {}
    for delegation in facts.delegates:
        start, until = span_instants(delegation.start, delegation.until, zone)
        grant = DelegateGrant(
            scopes=delegation.scopes,
            start=None if start == BEGINNING else start,
            until=None if until == FOREVER else until,
            max_pence=delegation.max_pence,
        )
        found[delegation.person] = (*found.get(delegation.person, ()), grant)
    return found


def account_keys(facts: PersonFacts, service: CompiledService, at: Instant) -> AccountKeys:
    """Keys under which the ledger keeps this person's units for a service.

    ``permit`` and ``vehicle`` are the number of the first permit that the service names, in ``who`` and then in its
    prices, and the person holds at ``at``; where it names none, of the first that they hold, by the names of permits.
    A permit without a number is known by its person and name.
    """
    keys = {"person": str(facts.id)}
    if facts.household is not None:
        keys["household"] = facts.household
    permits, document = facts.permit or {}, service.document
    named = [*_permit_names(document.who), *(name for band in document.price for name in _permit_names(band.when))]
    for name in named or sorted(permits):
        for span in permits.get(name, ()):
            start, until = span_instants(span.start, span.until, service.time)
            if start <= at < until:
                keys.setdefault("permit", span.id or f"{facts.id}/{name}")
    if "permit" in keys:
        keys["vehicle"] = keys["permit"]
    return keys


def _permit_names(expression: Expression | None) -> list[str]:
    if isinstance(expression, (All, Any)):
        return [name for item in expression.items for name in _permit_names(item)]
    if isinstance(expression, Not):
        return _permit_names(expression.item)
    if isinstance(expression, Holds) and expression.statement == "permit":
        return list(expression.names)
    return []
