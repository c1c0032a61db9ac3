"""The facts that a service's conditions ask for, as they were, in words: those, and nothing else of the person."""

from __future__ import annotations

from datetime import date

from entitlements.facts import PersonFacts, Span
from entitlements.model import TenantId
from entitlements.service import Age, Expression, Holds, Not, Prerequisite, ResidentOf, ServiceDocument

_KINDS = {
    "evidence": "evidence of",
    "member_of": "membership of",
    "permit": "permit",
    "role": "role",
    "linked": "link",
}


def facts_used(document: ServiceDocument, facts: PersonFacts, on: date) -> list[str]:
    """What was known of what the document asks, on a local day."""
    told: dict[str, None] = {}
    conditions = [] if document.who is None else [document.who]
    conditions += [band.when for band in document.price if band.when is not None]
    for condition in conditions:
        _tell(condition, facts, on, told)
    if document.delegation.accompanied_by is not None:
        _tell(Age(), facts, on, told)
    for rule in document.requires:
        if isinstance(rule, Prerequisite):
            sites = sorted(facts.prerequisites.get(rule.name, ()))
            told[f"{rule.name}: {'done at ' + ', '.join(sites) if sites else 'not done'}."] = None
    if facts.blocked & {"*", document.id}:
        told["Blocked by staff."] = None
    return list(told)


def _tell(expression: Expression, facts: PersonFacts, on: date, told: dict[str, None]) -> None:
    if isinstance(expression, Age):
        born = facts.date_of_birth
        told["Date of birth: not recorded." if born is None else f"Aged {_age(born, on)} on {on.isoformat()}."] = None
    elif isinstance(expression, ResidentOf):
        for tenant in expression.tenants:
            told[_resident(facts, tenant, on)] = None
    elif isinstance(expression, Holds):
        statements = getattr(facts, expression.statement) or {}
        for name in expression.names:
            told[_told(f"{_KINDS[expression.statement]} {name}", statements.get(name, ()), on)] = None
    elif isinstance(expression, Not):
        _tell(expression.item, facts, on, told)
    else:
        for item in expression.items:
            _tell(item, facts, on, told)


def _resident(facts: PersonFacts, tenant: TenantId, on: date) -> str:
    if facts.residency is None:
        return "Residency: not recorded."
    return _told(f"residency in {tenant}", facts.residency.get(tenant, ()), on)


def _told(what: str, spans: tuple[Span, ...], on: date) -> str:
    name = what[:1].upper() + what[1:]
    if not spans:
        return f"{name}: not recorded."
    parts = []
    for span in spans:
        since = "" if span.start is None else f" from {span.start.isoformat()}"
        until = "" if span.until is None else f" until {span.until.isoformat()}"
        holds = (span.start is None or span.start <= on) and (span.until is None or on <= span.until)
        parts.append(f"{'held' if holds else 'did not hold'}{since}{until}")
    return f"{name}: {'; '.join(parts)}."


def _age(born: date, on: date) -> int:
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))
