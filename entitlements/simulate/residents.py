"""Example residents: who would be able to use a service, and at what price, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import islice, product

import msgspec

from entitlements.compile import CompiledService, compile_profile
from entitlements.explain.phrases import Fact, phrase
from entitlements.explain.words import Names, money
from entitlements.facts import ALWAYS, PersonFacts, Span
from entitlements.model import Instant, PersonId, TenantId
from entitlements.possibility import Atom, atoms, critical_ages
from entitlements.profile import Horizon, Verdict
from entitlements.service import Expression, Holds, ServiceDocument
from entitlements.world import World

MOST = 200
"""Residents made at most: a screen, not a census."""
EVERYDAY_AGES = (8, 15, 30, 70)
"""Ages in years that are always among the examples, whatever the rules name."""
NEAR_TODAY = 86_400
"""Seconds round the instant for which an example is compiled."""
_STANDINGS = {
    Verdict.ELIGIBLE: "can use it",
    Verdict.UNKNOWN: "cannot be told yet",
    Verdict.NEEDS_ADULT: "can use it with an adult",
    Verdict.TOO_YOUNG: "can come in with an adult's card",
}


class Resident(msgspec.Struct, frozen=True, kw_only=True):
    """A made-up person. ``label`` says who in words."""

    label: str
    facts: PersonFacts


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a person may do with a service; ``verdict`` is ``None`` where they are not eligible."""

    verdict: Verdict | None = None
    band: str | None = None
    pence: int | None = None

    def __str__(self) -> str:
        told = "cannot use it" if self.verdict is None else _STANDINGS[self.verdict]
        return told if self.pence is None else f"{told} ({money(self.pence)})"


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """One resident before and after."""

    resident: Resident
    before: Standing
    after: Standing

    @property
    def same(self) -> bool:
        """Whether nothing changes for this resident."""
        return self.before == self.after

    def __str__(self) -> str:
        if self.same:
            return f"{self.resident.label}: {self.after}, as before."
        return f"{self.resident.label}: {self.after}; before: {self.before}."


def typical_residents(
    documents: Iterable[ServiceDocument], on: date, *, titles: Mapping[str, str] | None = None
) -> list[Resident]:
    """Residents on both sides of every age, with and without every fact that these documents ask for.

    Args:
        documents: versions of one service, old and new.
        on: local day on which they have their age.
        titles: what the council calls its facts and tenants, by id.
    """
    names = Names(titles)
    expressions: list[Expression] = []
    tenants: dict[str, None] = {}
    for document in documents:
        tenants[document.tenant] = None
        expressions += [document.who] if document.who is not None else []
        expressions += [band.when for band in document.price if band.when is not None]
    asked = dict.fromkeys(atom for expression in expressions for atom, _ in atoms(expression))
    tenants.update(dict.fromkeys(name for kind, name in asked if kind == "residency"))
    facts = [atom for atom in asked if atom[0] != "residency"]
    sets: list[tuple[Atom, ...]] = [(), *((atom,) for atom in facts)]
    if len(facts) > 1:
        sets.append(tuple(facts))
    turns = [age for age in critical_ages(*expressions) if age]
    ages = sorted({*turns, *(age - 1 for age in turns), *EVERYDAY_AGES})
    homes: list[str | None] = [*tenants, None]
    made = product(homes, sets, ages)
    return [_resident(age, home, held, on, names) for home, held, age in islice(made, MOST)]


def _resident(age: int, home: str | None, held: tuple[Atom, ...], on: date, names: Names) -> Resident:
    told = [f"Aged {age}", "lives elsewhere" if home is None else f"lives in {names.proper(home)}"]
    statements: dict[str, dict[str, tuple[Span, ...]]] = {}
    for kind, name in held:
        statements.setdefault(kind, {})[name] = ALWAYS
        leaf = Fact(Holds(statement=kind, names=(name,)))  # type: ignore[arg-type]  # an atom's kind is a statement's
        told.append(_one_person(phrase(leaf, names)))
    facts = PersonFacts(
        id=PersonId("example"),
        date_of_birth=_born(age, on),
        residency={} if home is None else {TenantId(home): ALWAYS},
        evidence=statements.get("evidence", {}),
        member_of=statements.get("member_of", {}),
        permit=statements.get("permit", {}),
        role=statements.get("role", {}),
        linked=statements.get("linked", {}),
    )
    return Resident(label=", ".join(told), facts=facts)


def _born(age: int, on: date) -> date:
    """The day on which somebody who turned ``age`` today was born; on 29 February the day after."""
    try:
        return on.replace(year=on.year - age)
    except ValueError:
        return date(on.year - age, 3, 1)


def _one_person(text: str) -> str:
    """``have evidence`` is ``has evidence`` of one person."""
    return text.replace("have ", "has ", 1) if text.startswith("have ") else text.replace("are ", "is ", 1)


def what_if(
    old: CompiledService | None,
    new: CompiledService,
    world: World,
    residents: Sequence[Resident],
    at: Instant,
) -> list[Outlook]:
    """Who may use a service at an instant and at what price, under both versions; hours and limits aside."""
    return [
        Outlook(
            resident=resident,
            before=Standing() if old is None else _standing(old, world, resident.facts, at),
            after=_standing(new, world, resident.facts, at),
        )
        for resident in residents
    ]


def _standing(service: CompiledService, world: World, facts: PersonFacts, at: Instant) -> Standing:
    horizon = Horizon(start=Instant(at - NEAR_TODAY), end=Instant(at + NEAR_TODAY))
    profile = compile_profile(facts, [service], world, horizon)
    for segment in profile.segments(service.id):
        if (segment.start is None or segment.start <= at) and (segment.until is None or at < segment.until):
            return Standing(verdict=segment.verdict, band=segment.band, pence=segment.pence)
    return Standing()
