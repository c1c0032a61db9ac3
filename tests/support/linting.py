"""The linter over changed worked services: what it refuses, what it warns of, and how to write a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entitlements.lint import Finding, lint
from tests.support.documents import KNOWN, changed, world

Change = Callable[[dict[str, Any]], object]
YEAR = 2026


def errors(name: str, change: Change) -> list[Finding]:
    return [
        finding
        for finding in lint(changed(name, change), world(), known_facts=KNOWN, year=YEAR)
        if finding.severity == "error"
    ]


def codes(name: str, change: Change) -> list[str]:
    return [finding.code for finding in errors(name, change)]


def warnings(name: str, change: Change) -> list[str]:
    found = lint(changed(name, change), world(), known_facts=KNOWN, year=YEAR)
    return [finding.code for finding in found if finding.severity == "warning"]


def put(*path: str | int) -> Callable[[Any], Change]:
    """Set one value of the document."""

    def to(value: Any) -> Change:
        def change(service: dict[str, Any]) -> None:
            inner: Any = service
            for step in path[:-1]:
                inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
            inner[path[-1]] = value

        return change

    return to


def both(*changes: Change) -> Change:
    def change(service: dict[str, Any]) -> None:
        for one in changes:
            one(service)

    return change


windows = put("when", "windows")
who = put("who")
