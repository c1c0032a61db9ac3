"""Hints between service processes through PostgreSQL, for when Valkey cannot carry them.

The feeds are their own outbox: a change is numbered in the transaction that makes it. One process, whichever holds an
advisory lock, looks every few milliseconds whether a number moved and tells all processes by one NOTIFY, however many
changes that was. No writing transaction notifies: NOTIFY takes a lock that all commits of a database share, which would
queue them up behind each other. A notification is a hint as one of Valkey's is; lost ones cost a poll of the hub.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import asyncpg
import structlog

from cardservice.db import DATABASE_AWAY, Connection, queries
from cardservice.tasks import end_tasks

MOVED: Final = "rescard_feed"
"""PostgreSQL channel on which the pump says that a feed moved."""
ALONE: Final = "rescard_alone"
"""Channel on which a process says that Valkey brings it nothing, so that the pump hurries for it."""
HURRY_SECONDS: Final = 0.02
"""Between two looks of the pump while some process has no Valkey: one small statement, 50 times a second, of all
processes together."""
WATCH_SECONDS: Final = 0.25
"""Between two looks while Valkey carries the hints, and between two tries for the lock: a pump that was killed is
followed by another within this time."""
ALONE_EVERY: Final = 1.0
"""How often a process without Valkey says so. Thrice as long without a word, and the pump takes it for well."""
ANSWER_SECONDS: Final = 5.0
"""A pump whose database does not answer for so long begins anew with another connection."""
RETRY_SECONDS: Final = 0.2

log = structlog.get_logger("feed.outbox")


class Outbox:
    """One process's part in it: listens always, and pumps while it holds the lock.

    Args:
        url: of the database; the connection is its own, for a pooled one cannot listen.
        heard: called whenever a feed may have moved.
        carried: whether Valkey brings this process the others' hints now.
    """

    def __init__(self, url: str, *, heard: Callable[[], None], carried: Callable[[], bool]) -> None:
        self._url = url
        self._heard = heard
        self._carried = carried
        self._task: asyncio.Task[None] | None = None
        self._alone_heard_at = float("-inf")
        self._alone_told_at = float("-inf")
        self.pumping = False
        """Whether this process is the one that tells."""

    async def open(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; the lock goes with the connection."""
        if self._task is not None:
            await end_tasks(self._task)

    async def _run(self) -> None:
        away = False
        while True:
            try:
                conn = await self._connect()
                away = False
                try:
                    await self._serve(conn)
                finally:
                    self.pumping = False
                    conn.terminate()
            except DATABASE_AWAY as error:
                if not away:
                    log.warning("no hints through the database while it is away", error=str(error))
                away = True
            except Exception:  # hints are worth less than the process that they serve
                log.exception("hints through the database failed; beginning anew")
            await asyncio.sleep(RETRY_SECONDS)

    async def _connect(self) -> Connection:
        conn = await asyncpg.connect(
            self._url,
            timeout=ANSWER_SECONDS,
            command_timeout=ANSWER_SECONDS,
            server_settings={"role": "rescard_app", "application_name": "cardservice-outbox"},
        )
        try:
            await queries().feed.see_all(conn)
            await conn.add_listener(MOVED, self._on_moved)
            await conn.add_listener(ALONE, self._on_alone)
        except BaseException:
            conn.terminate()
            raise
        self._heard()  # what was told before we listened, nobody repeats
        return conn

    async def _serve(self, conn: Connection) -> None:
        mark: str | None = None
        while True:
            if not self.pumping and await queries().feed.try_outbox_lock(conn):
                # Without a mark the first look tells: whoever pumped before may have died between commit and word.
                self.pumping, mark = True, None
                log.info("this process tells the others of changes, where Valkey does not")
            if self.pumping:
                now = await queries().feed.outbox_mark(conn)
                if now != mark:
                    await queries().feed.notify(conn, channel=MOVED, message="")
                    mark = now
                    self._heard()
            if not self._carried() and time.monotonic() - self._alone_told_at >= ALONE_EVERY:
                self._alone_told_at = time.monotonic()
                await queries().feed.notify(conn, channel=ALONE, message="")
            await asyncio.sleep(HURRY_SECONDS if self.pumping and self._somebody_alone() else WATCH_SECONDS)

    def _somebody_alone(self) -> bool:
        return not self._carried() or time.monotonic() - self._alone_heard_at < 3 * ALONE_EVERY

    def _on_moved(self, *_: Any) -> None:
        self._heard()

    def _on_alone(self, *_: Any) -> None:
        self._alone_heard_at = time.monotonic()
