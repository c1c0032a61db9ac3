"""Routes: what is served, to whom, with which body and reply. The OpenAPI document is made from the same list."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel

Method = Literal["GET", "POST", "PUT", "DELETE"]
Access = Literal["public", "staff", "reader"]
Handler = Callable[..., Awaitable[Any]]

ROLES = ("admin", "desk", "manager", "operator", "station", "auditor")
"""What staff and machine tokens may hold; ``admin`` may do all within its tenant."""


JSON: Final = "application/json"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a handler takes and gives, where its annotations do not say it: for the OpenAPI document alone.

    Types are those of pydantic or msgspec.
    """

    body: Any = None
    body_type: str = JSON
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that the caller may send, and what they are for."""
    reply: Any = None
    also: Mapping[int, str] = field(default_factory=dict)
    """Other good answers: 206 has the same content, others have none."""
    more: tuple[Any, ...] = ()
    """Types of what travels within a reply: the payload of a token, the data of an event."""


NOTHING_TOLD: Final = Told()


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One operation. ``body``, ``query`` and ``reply`` are pydantic models, taken from the handler's annotations."""

    method: Method
    path: str
    handler: Handler
    summary: str
    tag: str
    access: Access
    roles: frozenset[str]
    status: int
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    reply: type[BaseModel] | None
    raw: bool
    """The handler reads the request and makes the response itself (streams, files, msgspec bodies)."""
    media_type: str
    transaction: bool
    reading: bool
    before: Handler | None = None
    """Runs with the handler's arguments before there is a transaction; what it gives is ``call.prepared``."""
    told: Told = NOTHING_TOLD

    @property
    def writes(self) -> bool:
        """Whether it changes something, and so takes an ``Idempotency-Key``."""
        return self.method != "GET" and not self.raw


@dataclass
class Routes:
    """A list of endpoints of one part of the service; ``cardservice.app`` puts the parts together."""

    tag: str
    endpoints: list[Endpoint] = field(default_factory=list)

    def add(
        self,
        method: Method,
        path: str,
        summary: str,
        *,
        access: Access = "staff",
        roles: Iterable[str] = (),
        status: int = 200,
        raw: bool = False,
        media_type: str = JSON,
        transaction: bool = True,
        reading: bool = False,
        before: Handler | None = None,
        told: Told = NOTHING_TOLD,
    ) -> Callable[[Handler], Handler]:
        """Declare a handler ``async def handler(call[, body: Model][, query: Model]) -> Model | None``.

        ``roles`` lists who may call it besides ``admin``. With ``transaction`` (the default) ``call.conn`` is a
        transaction of the caller's tenant, committed after the handler has returned, together with the idempotency row.
        With ``reading`` it is a :class:`~cardservice.db.Reading` of that tenant: for handlers whose statements only
        read, and need nothing of each other.

        ``before`` is for what takes long or needs transactions of its own; it is spared where the key of the request
        says that it was answered before. A handler opens none while it holds the one it was given: as soon as all
        connections of the pool are in the hands of such, each would wait for the others for ever.
        """

        if reading and method != "GET":
            raise ValueError(f"{method} {path} is no reading")

        def declare(handler: Handler) -> Handler:
            hints = typing.get_type_hints(handler)
            parameters = inspect.signature(handler).parameters
            reply = hints.get("return")
            self.endpoints.append(
                Endpoint(
                    method=method,
                    path=path,
                    handler=handler,
                    summary=summary,
                    tag=self.tag,
                    access=access,
                    roles=frozenset(roles),
                    status=status,
                    body=hints["body"] if "body" in parameters else None,
                    query=hints["query"] if "query" in parameters else None,
                    reply=reply if inspect.isclass(reply) and issubclass(reply, BaseModel) else None,
                    raw=raw,
                    media_type=media_type,
                    transaction=transaction and not reading,
                    reading=reading,
                    before=before,
                    told=told,
                )
            )
            return handler

        return declare
