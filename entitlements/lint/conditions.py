"""Conditions that decide nothing, facts that nobody supplies, and disability turned against people."""

from __future__ import annotations

import re

from entitlements.explain.phrases import condition, people, phrase
from entitlements.explain.words import Names, humanise, listed
from entitlements.lint.findings import Findings, KnownFacts
from entitlements.lint.places import Place
from entitlements.model import TenantId
from entitlements.possibility import constant, possible
from entitlements.service import All, Any, Expression, Holds, Not, ResidentOf
from entitlements.world import World

PARTS_WEIGHED = 40
"""Parts of a contradiction that are tried one by one for whether they belong to it; more are named together."""

DISABILITY_WORDS = frozenset(
    [
        "attendance_allowance", "autism", "autistic", "blind", "blue_badge", "deaf", "deafblind", "dementia",
        "disability", "disabilities", "disabled", "dla", "epilepsy", "esa", "impaired", "impairment", "mental_health",
        "personal_independence_payment", "pip", "sen", "send", "wheelchair",
    ]
)  # fmt: skip
"""Words in names of facts that tell of a disability (Equality Act 2010, section 6) or of a benefit paid for one."""


def whole(root: Place, findings: Findings, names: Names) -> None:
    """A ``who`` that is always true, or always false, with the part that makes it so."""
    value = constant(root.expression)
    if value is None:
        for dead in _dead_parts(root):
            _part(dead, findings, names)
        return
    guilty = _guilty(root, value)
    pointer = guilty[0].pointer
    if value:
        why = listed((f"everybody is among the {_people(place, names)}" for place in guilty), "and")
        findings.error(
            "who_always_true",
            pointer,
            f"Everybody meets these conditions, so they keep nobody out: {why}.",
            "Say who the service is for, or take “who” out if it is for everyone with a card.",
        )
        return
    if len(guilty) == 1:
        why = f"there are no {_people(guilty[0], names)}"
    else:
        why = f"nobody can {listed((_can(place, names) for place in guilty), 'and')} at the same time"
    findings.error(
        "who_always_false",
        pointer,
        f"Nobody can ever use this service: {why}.",
        "Change or remove one of these conditions.",
    )


def _people(place: Place, names: Names) -> str:
    return people(condition(place.expression), names)


def _can(place: Place, names: Names) -> str:
    text = phrase(condition(place.expression), names)
    if text.startswith("are "):
        return "be " + text.removeprefix("are ")
    return text.removeprefix("do ") if text.startswith("do not ") else text


def _guilty(root: Place, value: bool) -> list[Place]:
    """The smallest parts that by themselves make a condition always true, or always false."""
    expression = root.expression
    if isinstance(expression, Not):
        inner = root.parts[0]
        return _guilty(inner, not value) if constant(inner.expression) is (not value) else [root]
    if not isinstance(expression, (All, Any)):
        return [root]
    if isinstance(expression, All) == value:  # every part is so
        return [one for part in root.parts for one in _guilty(part, value)][:PARTS_WEIGHED]
    for part in root.parts:
        if constant(part.expression) is value:
            return _guilty(part, value)
    kept = list(root.parts)
    if len(kept) <= PARTS_WEIGHED:
        for part in root.parts:
            fewer = [one for one in kept if one is not part]
            if fewer and constant(type(expression)(items=tuple(one.expression for one in fewer))) is value:
                kept = fewer
    return kept


def _dead_parts(root: Place) -> list[tuple[Place, bool]]:
    """Parts of a condition that decide nothing although the whole does."""
    found: list[tuple[Place, bool]] = []
    waiting = list(root.parts)
    while waiting:
        part = waiting.pop(0)
        value = constant(part.expression)
        if value is None:
            waiting += part.parts
        else:
            found.append((part, value))
    return found


def _part(dead: tuple[Place, bool], findings: Findings, names: Names) -> None:
    part, value = dead
    whom = _people(part, names)
    findings.warn(
        "part_always_true" if value else "part_always_false",
        part.pointer,
        f"This part decides nothing: everybody is among the {whom}." if value else f"There are no {whom}.",
        "Take this part out, or correct it.",
    )


def facts(root: Place, known: KnownFacts, world: World, findings: Findings) -> None:
    """Names that no desk, form or system ever supplies: the answer would be no for everybody, for ever."""
    for place in root.walk():
        leaf = place.expression
        if isinstance(leaf, Holds):
            supplied = getattr(known, leaf.statement)
            for name in leaf.names:
                if name not in supplied:
                    unsupplied(place.pointer, f"{_KINDS[leaf.statement]} “{name}”", supplied, findings)
        elif isinstance(leaf, ResidentOf):
            for tenant in leaf.tenants:
                if TenantId(tenant) not in world.tenants:
                    unsupplied(place.pointer, f"residents of “{tenant}”", frozenset(world.tenants), findings)


_KINDS = {
    "evidence": "evidence of the kind",
    "member_of": "membership of",
    "permit": "permits of the kind",
    "role": "the role",
    "linked": "the link",
}


def unsupplied(pointer: str, what: str, supplied: frozenset[str], findings: Findings) -> None:
    """Note a name that is not among those supplied."""
    named = listed((f"“{name}”" for name in sorted(supplied)), "or") or "there is none yet"
    findings.error(
        "fact_nobody_supplies",
        pointer,
        f"Nobody records {what}, so nobody could ever show it.",
        f"Use one that is recorded ({named}), or ask for it to be recorded first.",
    )


def tells_disability(name: str) -> bool:
    """Whether the name of a fact tells of a disability."""
    words = [word for word in re.split(r"[_\-.:@]+", name.lower()) if word]
    runs = {"_".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1)}
    return not runs.isdisjoint(DISABILITY_WORDS)


def exclusion(root: Place, findings: Findings, *, price: bool = False) -> None:
    """Evidence of a disability that counts against a person."""
    for place, wanted in _signed(root, True):
        leaf = place.expression
        if wanted or not isinstance(leaf, Holds):
            continue
        told = [humanise(name) for name in leaf.names if tells_disability(name)]
        if not told:
            continue
        named = listed(told, "or")
        if price:
            findings.warn(
                "disability_in_price",
                place.pointer,
                f"People pay this price because they do not have evidence of {named}.",
                "Check that nobody pays more because of a disability. "
                "It is safer to give the lower price to those who have the evidence.",
            )
        else:
            findings.error(
                "disability_as_exclusion",
                place.pointer,
                f"Having evidence of {named} would keep a person out.",
                "Remove this condition. A disability may open a service or lower a price, but never close one "
                "(Equality Act 2010).",
            )


def _signed(place: Place, wanted: bool) -> list[tuple[Place, bool]]:
    """Every leaf, and whether having it helps."""
    if isinstance(place.expression, Not):
        return _signed(place.parts[0], not wanted)
    if place.parts:
        return [one for part in place.parts for one in _signed(part, wanted)]
    return [(place, wanted)]


def reachable(who: Expression | None, earlier: list[Expression], band: Expression) -> bool:
    """Whether anybody who may use the service comes as far as a price band and fits it; doubt counts as yes."""
    items = [*([who] if who is not None else []), band, *(Not(item=one) for one in earlier)]
    return possible(All(items=tuple(items))) is not False
