"""Faults of the rules half of this package.

::

    EntitlementsError
    ├── DocumentError     a service document that cannot be used, with every problem found
    │   └── WorldError    the same for the world document (tenants, sites, calendars, items)
    └── CaseError         a case of the decision tool that cannot be run

A refusal at a gate is never one of these: it is a :class:`~entitlements.model.Decision`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong in a document.

    ``pointer`` is a JSON pointer (RFC 6901) from the document's root, ``line`` counts from 1 and is known only
    where the document was read from text, ``advice`` says what to do about it.
    """

    pointer: str
    message: str
    advice: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.pointer or "the document"
        at = f"line {self.line}, " if self.line is not None else ""
        return f"{at}{where}: {self.message}. {self.advice}"


class EntitlementsError(Exception):
    """The rules could not be used."""


class DocumentError(EntitlementsError):
    """{name}: {count} problem(s) found."""

    kind = "service document"

    def __init__(self, problems: Sequence[Problem], *, name: str = "") -> None:
        self.problems = tuple(problems)
        self.name = name or self.kind
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{self.name}: {len(self.problems)} problem(s) found\n{lines}")


class WorldError(DocumentError):
    """The world document (tenants, site sets, calendars, item lists) cannot be used."""

    kind = "world document"


class CaseError(EntitlementsError):
    """Case {case_id}: {message}."""

    def __init__(self, case_id: str, message: str) -> None:
        self.case_id = case_id
        self.message = message
        super().__init__(f"case {case_id}: {message}")
