"""What a handler is given: who calls, for which tenant, in which transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from aiohttp import web

from cardservice.db import Connection
from cardservice.errors import ApiProblem, not_found

if TYPE_CHECKING:
    from cardservice.platform import Platform


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who calls. ``name`` goes into the audit: ``token:<label>``, ``person:<person> token:<label>`` where the token
    says whose it is, ``reader:<id>`` or ``public``.
    """

    name: str
    tenant: str
    roles: frozenset[str] = frozenset()
    person: str | None = None
    """Whose token it is, where it says so."""
    reader: dict[str, Any] | None = None
    """The reader's row when a reader calls."""

    @property
    def author(self) -> str:
        """By whom something is written or approved: a person, or a token's label where it names none."""
        return self.name if self.person is None else f"person:{self.person}"


def same_person(one: str, other: str) -> bool:
    """Whether two of :attr:`Actor.author` are one person. A label stands for the person where its token names none."""
    return _whose(one) == _whose(other)


def _whose(author: str) -> str:
    return author.partition(":")[2].strip().casefold()


class Work(Protocol):
    """What a change has to know of whoever asked for it: a request, or the clock that something was left to."""

    @property
    def conn(self) -> Connection:
        """The transaction of the change."""
        ...

    @property
    def tenant(self) -> str:
        """Whose rows it is about."""
        ...

    @property
    def actor(self) -> Actor:
        """Who asked for it."""
        ...

    @property
    def request_id(self) -> str:
        """For the audit; empty where no request asked for it."""
        ...

    @property
    def now(self) -> datetime:
        """When."""
        ...


@dataclass(frozen=True, kw_only=True)
class Errand:
    """Work that nobody waits for: what was scheduled, and what goes on in the background."""

    conn: Connection
    actor: Actor
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    request_id: str = ""

    @property
    def tenant(self) -> str:
        """Whose rows it is about."""
        return self.actor.tenant


@dataclass(kw_only=True)
class Call:
    """One request on its way through a handler."""

    platform: Platform
    request: web.Request
    actor: Actor
    request_id: str
    _conn: Connection | None = None
    after_commit: list[Callable[[], None]] = field(default_factory=list)
    """Run once the transaction has committed; dropped when it was rolled back."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    prepared: Any = None
    """What the endpoint's ``before`` gave."""

    @property
    def conn(self) -> Connection:
        """The transaction of the caller's tenant."""
        if self._conn is None:
            raise RuntimeError("this endpoint was declared without a transaction")
        return self._conn

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.actor.tenant

    def path(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]

    def path_uuid(self, name: str, what: str) -> UUID:
        """A part of the path that must be a UUID; anything else is simply not found."""
        try:
            return UUID(self.path(name))
        except ValueError:
            raise not_found(what, self.path(name)[:80]) from None

    @property
    def reader(self) -> dict[str, Any]:
        """The calling reader's row."""
        if self.actor.reader is None:
            raise ApiProblem(403, "readers_only", "Only a reader may call this.")
        return self.actor.reader
