"""The services of one feed, compiled for deciding.

A document that this reader cannot read or compile (a later format version, a name that the world lacks) never takes
the place of one that works: the last good version stays in use, and the reader says so loudly. If there is none, or if
a document uses a kind of rule for which a lane has no input, everybody who gets that far is referred to staff.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Self

import msgspec
import structlog

from entitlements.compiled import CompiledService, compile_service
from entitlements.documents import parse_services
from entitlements.errors import EntitlementsError
from entitlements.model import TenantId
from entitlements.service import rule_kinds
from entitlements.wire.feed import FeedWorld, ServiceEntry
from entitlements.world import World, parse_world
from readers.needs import NO_NEEDS, Needs, needs_of

UNSUPPORTED: Final = {
    "limits.balance": "the service takes money, which is spent at a desk or terminal and not at a gate",
    "allow_only_items": "the service is for certain items, and nothing at a gate says which",
}
"""Kinds of rule for which a lane has no input, in the words for staff."""

_log = structlog.get_logger(__name__)


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """One service as this reader can offer it. ``unsupported`` says in plain words why staff must decide, if so;
    ``compiled`` is None where not even the document could be read; ``needs`` is what a decision is gathered from.
    """

    id: str
    version: int
    compiled: CompiledService | None
    unsupported: str | None = None
    needs: Needs = NO_NEEDS


class Catalogue:
    """The services of one feed by id."""

    def __init__(self, feed: str, world: World | None) -> None:
        self.feed = feed
        self.problems: dict[str, str] = {}
        """What cannot be used as published, by service id (``world`` for the world), in plain words."""
        self._world = world
        self._documents: dict[str, Any] = {}
        self._offered: dict[str, Offered] = {}
        self._order: tuple[Offered, ...] = ()
        self.acts_for = False
        """Whether any service may be used by somebody for another."""

    @classmethod
    def empty(cls, feed: str) -> Self:
        """A catalogue without services."""
        return cls(feed, None)

    @classmethod
    def build(cls, feed: str, entries: Sequence[ServiceEntry], world: FeedWorld, before: Catalogue) -> Self:
        """Compile all documents; what cannot be compiled is kept from ``before``. Fit for a thread."""
        problem = None
        try:
            parsed: World | None = parse_world(world.world)
        except EntitlementsError as error:
            parsed, problem = before._world, str(error)
        made = cls(feed, parsed)
        if problem is not None:
            made.problems["world"] = problem
            _log.error("the world of a feed cannot be used; the last good one stays in use", feed=feed, problem=problem)
        made._documents = {str(entry.document.get("id")): entry.document for entry in entries}
        for entry in entries:
            name = str(entry.document.get("id"))
            made._put(name, entry.version, entry.document, before._offered.get(name))
        made._sort()
        return made

    def replace(self, name: str, version: int, document: dict[str, Any]) -> None:
        """Take a published document in the place of the one before."""
        self._documents[name] = document
        self._put(name, version, document, self._offered.get(name))
        # Others may extend it.
        for other, text in self._documents.items():
            if other != name and text.get("extends") == name and (known := self._offered.get(other)) is not None:
                self._put(other, known.version, text, known)
        self._sort()

    def withdraw(self, name: str) -> None:
        """The service is no longer offered."""
        self._documents.pop(name, None)
        self._offered.pop(name, None)
        self.problems.pop(name, None)
        self._sort()

    def timezone(self) -> str:
        """IANA zone of the feed's council; UTC as long as the world is not known."""
        tenant = None if self._world is None else self._world.tenants.get(TenantId(self.feed.partition("/")[0]))
        return "UTC" if tenant is None else tenant.timezone

    def offered(self, only: Iterable[str] | None) -> Sequence[Offered]:
        """The services in order of their ids, or just those named, in the order named."""
        if only is None:
            return self._order
        return [service for name in only if (service := self._offered.get(name)) is not None]

    def _put(self, name: str, version: int, document: dict[str, Any], before: Offered | None) -> None:
        try:
            compiled = self._compile(document)
        except EntitlementsError as error:
            self.problems[name] = str(error)
            kept = before is not None and before.compiled is not None
            _log.error(
                "a service document cannot be used; "
                + ("the last good version stays in use" if kept else "its visitors are referred to staff"),
                feed=self.feed,
                service=name,
                version=version,
                problem=str(error),
            )
            if before is not None and kept:
                self._offered[name] = before
            else:
                detail = "this reader cannot read the service document"
                self._offered[name] = Offered(id=name, version=version, compiled=None, unsupported=detail)
            return
        self.problems.pop(name, None)
        missing = [UNSUPPORTED[kind] for kind in sorted(rule_kinds(compiled.document)) if kind in UNSUPPORTED]
        because = "; ".join(missing) or None
        if because is not None and (before is None or before.version != version):
            _log.warning("visitors of a service are referred to staff", feed=self.feed, service=name, because=because)
        self._offered[name] = Offered(
            id=name, version=version, compiled=compiled, unsupported=because, needs=needs_of(compiled)
        )

    def _compile(self, document: dict[str, Any]) -> CompiledService:
        world = self._world
        if world is None:
            raise EntitlementsError("the world that the document refers to cannot be read")
        return compile_service(parse_services(document, bases=self._documents)[0], world)

    def _sort(self) -> None:
        self._order = tuple(self._offered[name] for name in sorted(self._offered))
        self.acts_for = any(offered.needs.acts_for for offered in self._order)
