"""Documents in files, without a server: what they name is taken on trust where nobody says what it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from cardservice.catalogue.life.reading import Reading, check, read_document
from cardservice.errors import RefusedError
from entitlements.errors import DocumentError
from entitlements.jsontext import TextError, read_json
from entitlements.lint import Finding, KnownFacts
from entitlements.model import SiteId, TenantId
from entitlements.possibility import atoms
from entitlements.service import All as AllOf
from entitlements.service import Any as AnyOf
from entitlements.service import Expression, Prerequisite, ResidentOf, ServiceDocument, Upstream
from entitlements.service import Not as NotOf
from entitlements.world import Tenant, World, load_world

TIMEZONE: Final = "Europe/London"
"""Of councils that no world is given for."""
NO_SITES: Final = " (no sites yet)"
"""What the read-back says of a set that it does not know; here nobody has said what is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What files say of the world around a document; ``None`` where no file says it."""

    world: World | None = None
    known: KnownFacts | None = None
    titles: dict[str, str] | None = None

    @property
    def on_trust(self) -> list[str]:
        """What was not given, in words."""
        told = []
        if self.world is None:
            told.append("sites, calendars and lists (--world)")
        if self.known is None:
            told.append("which facts somebody supplies (--facts)")
        return told


def load_surroundings(world: Path | None, facts: Path | None, titles: Path | None) -> Surroundings:
    """Read the files that were given.

    Raises:
        RefusedError: one of them cannot be used; names it.
    """
    return Surroundings(
        world=None if world is None else _world(world),
        known=None if facts is None else _convert(facts, KnownFacts),
        titles=None if titles is None else _convert(titles, dict[str, str]),
    )


def read_file(path: Path) -> str:
    """The text of a file.

    Raises:
        RefusedError: it is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(detail=f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def lint_text(text: str, around: Surroundings) -> Reading:
    """The findings of a text in its surroundings."""
    reading = read_document(text)
    if reading.document is None:
        return reading
    document = reading.document
    return check(
        text,
        world=around.world or trusted_world(document),
        known=around.known or trusted_facts(document),
        on=today(),
        titles=around.titles,
    )


def document_of(path: Path) -> ServiceDocument:
    """The one document of a file.

    Raises:
        DocumentError: with every problem and its line.
    """
    reading = read_document(read_file(path))
    if reading.document is None:
        raise UnreadableError(path, reading.findings)
    return reading.document


class UnreadableError(RefusedError):
    """{path} is no service document; ``findings`` say why, with lines."""

    def __init__(self, path: Path, findings: tuple[Finding, ...]) -> None:
        super().__init__(detail=f"{path} is no service document")
        self.path = path
        self.findings = findings


def trusted_world(*documents: ServiceDocument) -> World:
    """A world in which everything that these documents name exists."""
    tenants: set[str] = set()
    site_sets, calendars, items = set(), set(), set()
    sites: set[str] = set()
    for document in documents:
        tenants.add(document.tenant)
        for expression in _conditions(document):
            tenants |= _tenants(expression)
        if document.where is not None:
            site_sets |= {name for name in document.where.sites if name.startswith("@")}
            sites |= {name for name in document.where.sites if not name.startswith("@")}
        if document.when is not None:
            calendars |= {name for name in (*document.when.closed, document.when.holidays) if name.startswith("@")}
        items |= {name for name in document.items or () if name.startswith("@")}
    return World(
        tenants={TenantId(name): Tenant(timezone=TIMEZONE) for name in tenants},
        # Never empty: a set without sites is something that the linter speaks of.
        site_sets={name: frozenset((SiteId(f"{name.removeprefix('@')}-site"),)) for name in site_sets},
        calendars={name: frozenset() for name in calendars},
        item_lists={name: frozenset() for name in items},
        sites=frozenset(map(SiteId, sites)),
    )


def told_world(world: World) -> World:
    """A trusted world for the read-back, which would otherwise name the sites that were made up for it."""
    return msgspec.structs.replace(world, site_sets={})


def trusted_facts(document: ServiceDocument) -> KnownFacts:
    """Facts of which every one that the document asks for is supplied."""
    names: dict[str, set[str]] = {}
    for expression in _conditions(document):
        for (kind, name), _ in atoms(expression):
            names.setdefault(kind, set()).add(name)
    return KnownFacts(
        **{kind: frozenset(names.get(kind, ())) for kind in ("evidence", "member_of", "permit", "role", "linked")},
        prerequisites=frozenset(rule.name for rule in document.requires if isinstance(rule, Prerequisite)),
        upstreams=frozenset(rule.name for rule in document.requires if isinstance(rule, Upstream)),
    )


def today() -> date:
    """The day from which opening hours are looked at."""
    return datetime.now(UTC).date()


def _conditions(document: ServiceDocument) -> list[Expression]:
    found = [] if document.who is None else [document.who]
    return found + [band.when for band in document.price if band.when is not None]


def _tenants(expression: Expression) -> set[str]:
    if isinstance(expression, ResidentOf):
        return set(expression.tenants)
    if isinstance(expression, (AllOf, AnyOf)):
        return {name for item in expression.items for name in _tenants(item)}
    return _tenants(expression.item) if isinstance(expression, NotOf) else set()


def _world(path: Path) -> World:
    try:
        return load_world(read_file(path))
    except DocumentError as error:
        raise RefusedError(detail=f"{path}: {error}") from error


def _convert(path: Path, kind: Any) -> Any:
    try:
        return msgspec.convert(read_json(read_file(path)), kind)
    except (TextError, msgspec.ValidationError) as error:
        raise RefusedError(detail=f"{path}: {error}") from error
