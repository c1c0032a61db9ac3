"""What is known of a person, as the rules see it: typed, dated statements.

Lives only in the service and in tests; a reader gets the compiled :class:`~entitlements.profile.Profile` and
never these. ``None`` means *unknown*; an empty collection means *known to have none*. Dates are tenant-local
and inclusive.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import msgspec

from entitlements.model import PersonId, SiteId, TenantId


class Span(msgspec.Struct, frozen=True):
    """Inclusive local days on which a statement holds; an open end is ``None``."""

    start: date | None = None
    until: date | None = None
    id: str | None = None
    """Number of the permit or vehicle itself, where a quota is kept by it."""


ALWAYS: tuple[Span, ...] = (Span(),)
"""An undated statement."""

Statements = Mapping[str, tuple[Span, ...]]
"""Name of the statement (kind of evidence, membership...) -> the spans in which it holds."""


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """The holder let ``person`` act for them, from ``start`` to ``until`` inclusive."""

    person: PersonId
    scopes: frozenset[str]
    start: date | None = None
    until: date | None = None
    max_pence: int | None = None


class PersonFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the rules may ask about one person.

    ``date_of_birth`` and ``residency`` are unknown (``None``) until somebody states them. The other facts are
    statements that the council either holds or does not hold, so they are empty by default; pass ``None``
    where even that is not known (a source that has not answered yet): an unknown fact never satisfies a rule,
    under ``not`` either.
    """

    id: PersonId
    household: str | None = None
    date_of_birth: date | None = None
    residency: Mapping[TenantId, tuple[Span, ...]] | None = None
    evidence: Statements | None = msgspec.field(default_factory=dict)
    member_of: Statements | None = msgspec.field(default_factory=dict)
    permit: Statements | None = msgspec.field(default_factory=dict)
    role: Statements | None = msgspec.field(default_factory=dict)
    linked: Statements | None = msgspec.field(default_factory=dict)
    prerequisites: Mapping[str, frozenset[SiteId]] = msgspec.field(default_factory=dict)
    """Name -> sites where it was done; the site ``*`` stands for all."""
    blocked: frozenset[str] = frozenset()
    """Service ids, or ``*`` for all."""
    delegates: tuple[Delegation, ...] = ()
