"""From a draft's text to a document and what is to be said of it. Pure: the command line does the same with files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import msgspec

from cardservice.catalogue.served import AREA, AREA_WORDS, SERVED_KINDS, unpayable
from entitlements.documents import load_services, standalone
from entitlements.errors import DocumentError, Problem
from entitlements.jsontext import line_of, lines, read_json
from entitlements.lint import Finding, KnownFacts, lint
from entitlements.service import ServiceDocument, rule_kinds
from entitlements.world import World

UNREADABLE: Final = "not_in_order"
"""Code of a finding that keeps the text from being read as a document at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A text that was read. ``document`` and ``value`` (its JSON, bases merged in) are ``None`` where that failed."""

    findings: tuple[Finding, ...]
    document: ServiceDocument | None = None
    value: dict[str, Any] | None = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What keeps it from being approved and published."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def read_document(text: str, bases: Mapping[str, Any] | None = None) -> Reading:
    """The document of a text, or what is wrong with its form, each problem with its line."""
    try:
        found = load_services(text, bases=bases)
    except DocumentError as error:
        return Reading(findings=tuple(map(_finding, error.problems)))
    value = read_json(text)
    if isinstance(value, list):
        problem = Problem(
            pointer="", message="this is a list of documents", advice="Write one document in each draft.", line=1
        )
        return Reading(findings=(_finding(problem),))
    return Reading(findings=(), document=found[0], value=standalone(value, bases=bases))


def check(
    text: str,
    *,
    world: World,
    known: KnownFacts,
    on: date,
    titles: Mapping[str, str] | None = None,
    bases: Mapping[str, Any] | None = None,
    service_id: str | None = None,
    tenant: str | None = None,
    drafted_by: str | None = None,
    approved_by: str | None = None,
) -> Reading:
    """Read a text and lint it.

    Args:
        text: as its author wrote it.
        world: what its names stand for.
        known: facts that somebody supplies.
        on: the council's local day; hours are looked at from its year on.
        titles: what the council calls things.
        bases: documents that it may extend, by id.
        service_id: the id it must have, where that is settled.
        tenant: the council it must be of, where that is settled.
        drafted_by: who wrote it.
        approved_by: who approves it, where somebody does now.
    """
    reading = read_document(text, bases)
    document, value = reading.document, reading.value
    if document is None or value is None:
        return reading
    findings = [
        *_misplaced(document, service_id, tenant),
        *_unserved(document),
        *lint(
            document,
            world,
            known_facts=known,
            year=on.year,
            drafted_by=drafted_by,
            approved_by=approved_by,
            source=value,
            titles=titles,
        ),
    ]
    return Reading(findings=tuple(_placed(findings, text)), document=document, value=value)


def _finding(problem: Problem) -> Finding:
    message = problem.message[:1].upper() + problem.message[1:]
    return Finding(
        severity="error",
        code=UNREADABLE,
        pointer=problem.pointer,
        message=message if message.endswith(".") else f"{message}.",
        advice=problem.advice,
        line=problem.line,
    )


def _misplaced(document: ServiceDocument, service_id: str | None, tenant: str | None) -> Iterable[Finding]:
    if service_id is not None and document.id != service_id:
        yield Finding(
            severity="error",
            code="other_service",
            pointer="/id",
            message=f"The id is {document.id}, but this is a draft of {service_id}.",
            advice="Write the id of the draft, or begin another draft for the other service.",
        )
    if tenant is not None and document.tenant != tenant:
        yield Finding(
            severity="error",
            code="other_council",
            pointer="/tenant",
            message=f"The council is {document.tenant}, but you write for {tenant}.",
            advice="Publish your own council’s services only.",
        )


def _unserved(document: ServiceDocument) -> Iterable[Finding]:
    if AREA.fullmatch(document.area) is None:
        yield Finding(
            severity="error",
            code="area_name",
            pointer="/area",
            message=f"The area is {document.area}, but {AREA_WORDS}.",
            advice='Write "area" in such letters, for example "pools"; without it the second part of the id counts.',
        )
    for kind in sorted(rule_kinds(document) - SERVED_KINDS):
        yield Finding(
            severity="error",
            code="rule_kind_not_served",
            pointer="/" + kind.split(".")[0],
            message=f"Gates cannot hold this rule yet: {kind}.",
            advice="Take it out until they can.",
        )
    problem = unpayable(document)
    if problem is not None:
        yield Finding(
            severity="error",
            code="rule_kind_not_served",
            pointer="/requires",
            message=f"Nobody could ever pay: {problem}.",
            advice="Add “live” or “static” to the ways in which the card may be shown.",
        )


def _placed(findings: Iterable[Finding], text: str) -> Iterable[Finding]:
    """The findings with their lines; what stands in a patch is pointed at there."""
    value, positions = read_json(text), lines(text)
    for finding in findings:
        pointer = finding.pointer
        patch = value.get("patch")
        if isinstance(patch, dict) and pointer and pointer.split("/")[1] in patch:
            pointer = f"/patch{pointer}"
        yield msgspec.structs.replace(finding, pointer=pointer, line=line_of(pointer, positions))
