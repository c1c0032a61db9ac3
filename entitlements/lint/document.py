"""The linter: every check of one document, in document order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any as Json

from entitlements.compiled import compile_service
from entitlements.errors import DocumentError
from entitlements.explain.words import Names, listed, money
from entitlements.lint import conditions, hours, limits, people
from entitlements.lint.findings import Finding, Findings, KnownFacts
from entitlements.lint.places import Place, place
from entitlements.service import Expression, ServiceDocument
from entitlements.world import World


def lint(
    document: ServiceDocument,
    world: World,
    *,
    known_facts: KnownFacts,
    year: int,
    drafted_by: str | None = None,
    approved_by: str | None = None,
    source: Mapping[str, Json] | None = None,
    titles: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Everything that a service manager should know before this document goes live; errors refuse it.

    Args:
        document: the service, whole, of valid form.
        world: what its names stand for.
        known_facts: what somebody supplies for its tenant.
        year: first calendar year looked at for opening hours, usually the present one; the ten after it are too.
        drafted_by: who wrote this version, where that is known.
        approved_by: who approves it, where somebody does now.
        source: the JSON value the document was read from, for exact pointers into conditions.
        titles: what the council calls its facts and tenants, by id.

    Returns:
        Findings in the order of the document's parts, ``who`` first. None raises: a document that cannot be compiled
        has findings that say so.
    """
    findings = Findings()
    names = Names(titles)
    people.second_person(drafted_by, approved_by, findings)
    _unknown_names(document, world, findings)
    root = _placed(document.who, "/who", source, "who")
    if root is None:
        findings.warn(
            "open_to_everyone",
            "/who",
            "The service is open to everyone who has a card.",
            "If that is meant, leave it. If not, say who it is for under “who”.",
        )
    else:
        conditions.whole(root, findings, names)
        conditions.facts(root, known_facts, world, findings)
        conditions.exclusion(root, findings)
    people.children(document, root, findings)
    hours.hours(document, world, year, findings)
    _where(document, world, findings)
    people.requirements(document, known_facts, findings)
    limits.limits(document, findings)
    _prices(document, known_facts, world, source, findings)
    return findings.found


def _placed(
    expression: Expression | None, pointer: str, source: Mapping[str, Json] | None, *steps: str | int
) -> Place | None:
    if expression is None:
        return None
    value: Json = source
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            value = None
    return place(expression, pointer, value)


def _unknown_names(document: ServiceDocument, world: World, findings: Findings) -> None:
    try:
        compile_service(document, world)
    except DocumentError as error:
        for problem in error.problems:
            message = problem.message[:1].upper() + problem.message[1:] + "."
            findings.error("unknown_name", problem.pointer, message, problem.advice)


def _where(document: ServiceDocument, world: World, findings: Findings) -> None:
    where = document.where
    if where is None:
        findings.warn(
            "every_site",
            "/where",
            "The service opens at every site of the council.",
            "If that is meant, leave it. If not, name its sites under “where”.",
        )
        return
    known = world.sites.union(*world.site_sets.values())
    seen: dict[str, str] = {}
    for index, name in enumerate(where.sites):
        pointer = f"/where/sites/{index}"
        sites = world.site_sets.get(name, frozenset()) if name.startswith("@") else frozenset((name,))
        if name in world.site_sets and not sites:
            findings.warn(
                "no_sites", pointer, f"The set {name} has no sites in it.", "Add its sites, or name another set."
            )
        if world.sites and not name.startswith("@") and name not in known:
            findings.warn("unknown_site", pointer, f"There is no site {name}.", "Correct it, or add the site first.")
        twice = sorted(site for site in sites if site in seen)
        if twice:
            findings.warn(
                "site_twice",
                pointer,
                f"{listed(twice)} {'is' if len(twice) == 1 else 'are'} already included by {seen[twice[0]]}.",
                "Take one of them out, so that a later change is made in one place.",
            )
        seen.update(dict.fromkeys((site for site in sites if site not in seen), name))


def _prices(
    document: ServiceDocument,
    known: KnownFacts,
    world: World,
    source: Mapping[str, Json] | None,
    findings: Findings,
) -> None:
    bands = document.price
    if bands and all(band.when is not None for band in bands):
        findings.error(
            "price_without_default",
            "/price",
            "Someone who fits none of the prices would have no price at all.",
            'Add a last price for everyone else, with "when": true.',
        )
    earlier: list[Expression] = []
    default = None
    for index, band in enumerate(bands):
        pointer = f"/price/{index}"
        if default is not None:
            findings.error(
                "unreachable_price",
                pointer,
                f"Nobody is ever asked this price: “{default}” before it is for everyone.",
                "Put the price for everyone last.",
            )
        if band.when is None:
            default = default or band.name
            continue
        root = _placed(band.when, f"{pointer}/when", source, "price", index, "when")
        if root is not None:
            conditions.facts(root, known, world, findings)
            if len(bands) > 1 and any(other.pence < band.pence for other in bands):
                conditions.exclusion(root, findings, price=True)
        if default is None and not conditions.reachable(document.who, earlier, band.when):
            findings.warn(
                "unreachable_price",
                pointer,
                f"Nobody who can use the service ever pays this price ({money(band.pence)}, “{band.name}”).",
                "Change its condition, or put it before the prices that come first now.",
            )
        earlier.append(band.when)
