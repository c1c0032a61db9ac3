"""One SQLite file with a thread of its own, so that no disk is ever waited for in the event loop."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, TypeVar

import structlog

from readers.errors import DatabaseFaultError, DiskFullError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_SECONDS: Final = 5.0
"""How long SQLite waits for another process that holds the file (a second daemon by mistake, a backup)."""

_log = structlog.get_logger(__name__)


class Database:
    """A SQLite database in WAL mode whose work runs in order, one transaction each, in one thread.

    ``synchronous`` is SQLite's: FULL survives a power cut at each commit, NORMAL survives a killed process and may
    lose the last commits in a power cut, never their order. A file that SQLite finds damaged when it is opened is
    set aside under another name, never deleted, and a new one begun; ``was_set_aside`` then names it.
    """

    def __init__(self, path: Path, *, schema: str, synchronous: Literal["FULL", "NORMAL"]) -> None:
        self.path = path
        self.was_set_aside: Path | None = None
        self._schema = schema
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"db-{path.stem}")

    async def __aenter__(self) -> Self:
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._open_or_replace)
        except BaseException:
            self._executor.shutdown(wait=True)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.submit(self._close)
        await asyncio.get_running_loop().run_in_executor(None, self._executor.shutdown)

    async def run(self, work: Work[T]) -> T:
        """Run ``work`` in one transaction and return what it returns, after the commit.

        Raises:
            DiskFullError, DatabaseFaultError: it was rolled back.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._transact, work)

    def _transact(self, work: Work[T]) -> T:
        connection = self._connection
        if connection is None:
            raise DatabaseFaultError(self.path, "closed")
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._roll_back(connection)
            raise translate(self.path, error) from error
        except BaseException:
            self._roll_back(connection)
            raise
        return result

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                # SQLite rolls back by itself on a full disk or an I/O error; what remains is told by the next work.
                _log.debug("rollback", path=str(self.path), problem=str(error))

    def _open_or_replace(self) -> None:
        try:
            self._open()
        except sqlite3.OperationalError as error:
            raise translate(self.path, error) from error
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            self._open()

    def _open(self) -> None:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise sqlite3.DatabaseError(problem)
            connection.executescript(self._schema)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _set_aside(self, error: sqlite3.Error) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns() // 1_000_000}")
        self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            beside = self.path.with_name(self.path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
        self.was_set_aside = aside
        _log.error(
            "a local database was damaged; it is kept under another name and a new one begun",
            path=str(self.path),
            kept=str(aside),
            problem=str(error),
        )

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def translate(path: Path, error: sqlite3.Error | OSError) -> DatabaseFaultError:
    """The one place where SQLite's errors become ours."""
    full = (
        error.errno in {errno.ENOSPC, errno.EDQUOT}
        if isinstance(error, OSError)
        else getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or "disk is full" in str(error)
    )
    kind = DiskFullError if full else DatabaseFaultError
    return kind(path, str(error))
