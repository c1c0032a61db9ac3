"""The live part of the gates page: what changed on it, for everybody who looks, in every process.

A report or tap wakes the boards of this process at once and, by a hint through Valkey, those of the others. A hint may
be lost, so a board that has watchers also looks by itself: each second without Valkey, else every few seconds. What is
sent is taken from the state, never from the hint, and a slow watcher costs nothing: it is given what is new since it
was last ready, however much that was, and nothing is queued for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import asyncpg
import structlog

from cardservice.db import Database, queries
from cardservice.shared import Shared
from cardservice.tasks import end_tasks
from cardservice.web.pages import Fragments, render_fragments
from cardservice.web.told import read_stopped
from cardservice.web.view import GatesView, Rows, build

HINTS: Final = "rescard:gates"
"""Valkey channel; the message is the tenant whose gates changed."""
TAPS_SHOWN: Final = 4
"""Decisions below each lane: what happened while somebody walked to the screen."""
LEAST_REST: Final = 0.08
"""Seconds between two looks at the database; a burst of taps is one look."""
LOOK_SECONDS: Final = 5.0
"""A board looks so often by itself: readers go offline without saying so."""
LOOK_ALONE_SECONDS: Final = 1.0
"""The same without Valkey, when other processes cannot tell."""
RETRY_SECONDS: Final = 1.0
"""After a failure of the database."""

log = structlog.get_logger("gates")


async def read_gates(db: Database, scope: str) -> GatesView:
    """The page of one council, or of all (``*``), as it stands."""
    now = datetime.now(UTC)
    async with db.transaction(scope, read_only=True) as conn:
        gates = queries().gates
        councils = [row async for row in gates.councils(conn, scope=scope)]
        rows = Rows(
            councils=councils,
            sites=[row async for row in gates.sites(conn, scope=scope)],
            readers=[row async for row in gates.readers(conn, scope=scope)],
            taps=[row async for row in gates.last_taps(conn, scope=scope, limit=TAPS_SHOWN)],
            counts=[row async for row in gates.counts_today(conn, scope=scope)],
            services=[row async for row in gates.services(conn)],
            stopped=await read_stopped(conn, councils, now),
        )
    return build(rows, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What a watcher has to show: the clock, and the fragments that are new. ``whole`` if the page has other parts."""

    time: str
    fragments: Mapping[str, str]
    whole: bool = False


@dataclass
class _Scope:
    """The board of one council, or of all. ``seen_in`` says in which round each fragment last changed."""

    due: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    watchers: int = 0
    round: int = 0
    time: str = ""
    fragments: Fragments = field(default_factory=Fragments)
    seen_in: dict[str, int] = field(default_factory=dict)
    parts_of: int = 0
    task: asyncio.Task[None] | None = None


class Board:
    """The boards of this process. Made and opened by ``cardservice.app``."""

    def __init__(self, db: Database, shared: Shared) -> None:
        self._db = db
        self._shared = shared
        self._scopes: dict[str, _Scope] = {}
        self._untold: set[str] = set()
        self._tell = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    async def open(self) -> None:
        """Start to tell and to hear other processes."""
        self._tasks = [asyncio.create_task(self._tell_others()), asyncio.create_task(self._hear_others())]

    async def close(self) -> None:
        """Stop, and let every watcher go."""
        self._closing = True
        tasks = [*self._tasks, *(scope.task for scope in self._scopes.values() if scope.task is not None)]
        await end_tasks(*tasks)
        await self.end_watching()

    async def end_watching(self) -> None:
        """Let every watcher go: the service is about to stop."""
        self._closing = True
        for scope in self._scopes.values():
            async with scope.changed:
                scope.changed.notify_all()

    def wake(self, tenant: str) -> None:
        """Something at the gates of a council changed: look at once, and tell the other processes."""
        self._look(tenant)
        self._untold.add(tenant)
        self._tell.set()

    @asynccontextmanager
    async def watch(self, scope_name: str) -> AsyncIterator[AsyncIterator[Update | None]]:
        """Updates of one council's page (``*``: all), the first one whole; ``None`` when nothing came for a while."""
        scope = self._scopes.setdefault(scope_name, _Scope())
        scope.watchers += 1
        if scope.task is None:
            scope.task = asyncio.create_task(self._keep(scope_name, scope))
        try:
            yield self._updates(scope)
        finally:
            scope.watchers -= 1
            if not scope.watchers and scope.task is not None:
                await end_tasks(scope.task)
                scope.task = None
                if not scope.watchers:
                    self._scopes.pop(scope_name, None)

    async def _updates(self, scope: _Scope) -> AsyncIterator[Update | None]:
        last = 0
        while not self._closing:
            try:
                async with asyncio.timeout(LOOK_SECONDS), scope.changed:
                    await scope.changed.wait_for(lambda: scope.round > last or self._closing)  # noqa: B023
            except TimeoutError:
                yield None
                continue
            whole = scope.parts_of > last
            new = {
                name: html for name, html in scope.fragments.items() if not whole and scope.seen_in.get(name, 0) > last
            }
            last = scope.round
            if whole:
                yield Update(time=scope.time, fragments={"board": scope.fragments.board()}, whole=True)
            else:
                yield Update(time=scope.time, fragments=new)

    async def _keep(self, name: str, scope: _Scope) -> None:
        """Look at the database whenever there may be something new, as long as somebody watches."""
        while True:
            scope.due.clear()
            began = time.monotonic()
            try:
                view = await read_gates(self._db, name)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                log.warning("the database does not answer; the gates page waits", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._show(scope, view)
            await asyncio.sleep(max(LEAST_REST, time.monotonic() - began))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self._shared.connected else LOOK_ALONE_SECONDS):
                    await scope.due.wait()

    async def _show(self, scope: _Scope, view: GatesView) -> None:
        fragments = render_fragments(view)
        scope.round += 1
        if fragments.keys() != scope.fragments.keys():
            scope.parts_of = scope.round
        for name, html in fragments.items():
            if scope.fragments.get(name) != html:
                scope.seen_in[name] = scope.round
        scope.fragments, scope.time = fragments, view.time
        scope.seen_in = {name: scope.seen_in[name] for name in fragments}
        async with scope.changed:
            scope.changed.notify_all()

    def _look(self, tenant: str) -> None:
        for name in (tenant, "*"):
            if name in self._scopes:
                self._scopes[name].due.set()

    async def _tell_others(self) -> None:
        while True:
            await self._tell.wait()
            self._tell.clear()
            told, self._untold = self._untold, set()
            for tenant in sorted(told):
                await self._shared.hint(HINTS, tenant)
            await asyncio.sleep(LEAST_REST)

    async def _hear_others(self) -> None:
        async for tenant in self._shared.hints(HINTS):
            for name in [tenant] if tenant is not None else list(self._scopes):
                self._look(name)
