"""What the linter says, and what it has to know beside the document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from entitlements.jsontext import line_of, lines
from entitlements.service import PRESENTATION_KINDS


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a service manager should know before a document goes live.

    An ``error`` refuses the document; a ``warning`` may be right. ``code`` is stable, for screens and tests;
    ``pointer`` is a JSON pointer (RFC 6901) into the document; ``line`` is known only where the text was given.
    """

    severity: Literal["error", "warning"]
    code: str
    pointer: str
    message: str
    advice: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}, " if self.line is not None else ""
        return f"{self.severity}: {where}{self.pointer or 'the document'}: {self.message} {self.advice}"


class KnownFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Names of facts that somebody supplies for a tenant: what a desk, a form or another system records.

    ``presentations`` are the kinds that cards of this platform are issued in; ``non_digital`` those of them that need
    no phone.
    """

    evidence: frozenset[str] = frozenset()
    member_of: frozenset[str] = frozenset()
    permit: frozenset[str] = frozenset()
    role: frozenset[str] = frozenset()
    linked: frozenset[str] = frozenset()
    prerequisites: frozenset[str] = frozenset()
    upstreams: frozenset[str] = frozenset()
    presentations: frozenset[str] = PRESENTATION_KINDS
    non_digital: frozenset[str] = frozenset(("static", "chip", "uid"))


def with_lines(findings: Iterable[Finding], text: str) -> list[Finding]:
    """The findings with the lines on which what they point at stands in the document's JSON text (valid JSON)."""
    positions = lines(text)
    return [msgspec.structs.replace(finding, line=line_of(finding.pointer, positions)) for finding in findings]


class Findings:
    """Findings as they are made."""

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def error(self, code: str, pointer: str, message: str, advice: str) -> None:
        """Note what refuses the document."""
        self._add("error", code, pointer, message, advice)

    def warn(self, code: str, pointer: str, message: str, advice: str) -> None:
        """Note what may be right, and may not."""
        self._add("warning", code, pointer, message, advice)

    def _add(self, severity: Literal["error", "warning"], code: str, pointer: str, message: str, advice: str) -> None:
        finding = Finding(severity=severity, code=code, pointer=pointer, message=message, advice=advice)
        if finding not in self.found:
            self.found.append(finding)
