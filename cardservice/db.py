"""The service's way to PostgreSQL: one pool, transactions bound to a tenant, SQL from ``sql/queries``.

A transaction is opened for a tenant; row-level security shows it that tenant's rows and nothing else. A statement that
reads by itself needs no transaction: it binds its tenant itself (:class:`Reading`), in one round trip instead of five.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeAlias, cast

import aiosql
import asyncpg
from aiosql.adapters.asyncpg import AsyncPGAdapter

from cardservice.errors import DatabaseRefusedError

SQL_FOLDER: Final = Path(__file__).resolve().parent.parent / "sql"
ALL_TENANTS: Final = "*"
"""For the few system operations that are about no one tenant. Never derived from a request."""
COMMAND_SECONDS: Final = 30.0
"""A statement that takes longer is a fault, not a slow page."""
CLOSE_SECONDS: Final = 5.0
"""A process that was asked to stop does not wait longer for a connection that never comes back."""
DATABASE_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of a message
    OSError,
    TimeoutError,
)
"""What asyncpg raises while PostgreSQL stops, is gone, or starts."""

TRY_AGAIN: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Two transactions met; the same work done again goes through."""

Connection: TypeAlias = asyncpg.Connection


class _Adapter(AsyncPGAdapter):
    """aiosql's way to asyncpg, for connections and never pools.

    Its own asks each time whether it was given a pool, by listing all that the object can do: a tenth of the time of a
    small query.
    """

    async def select(self, conn: Any, name: str, sql: str, parameters: Any, _: Any = None) -> AsyncIterator[Any]:
        for row in await conn.fetch(sql, *self._values(name, parameters)):
            yield row

    async def select_one(self, conn: Any, name: str, sql: str, parameters: Any, _: Any = None) -> Any:
        return await conn.fetchrow(sql, *self._values(name, parameters))

    async def select_value(self, conn: Any, name: str, sql: str, parameters: Any) -> Any:
        return await conn.fetchval(sql, *self._values(name, parameters))

    async def insert_update_delete(self, conn: Any, name: str, sql: str, parameters: Any) -> Any:
        return await conn.execute(sql, *self._values(name, parameters))

    def _values(self, name: str, parameters: Any) -> Sequence[Any]:
        values: Sequence[Any] = self.maybe_order_params(name, parameters)  # type: ignore[no-untyped-call]
        return values


@cache
def queries() -> Any:
    """Every named query of ``sql/queries/*.sql``, one namespace a file: ``queries().cards.get(conn, ...)``."""
    # aiosql makes namespaces of folders, not of files, so each file is loaded on its own.
    files = sorted((SQL_FOLDER / "queries").glob("*.sql"))
    return SimpleNamespace(
        **{path.stem: aiosql.from_path(path, cast("Any", _Adapter), mandatory_parameters=False) for path in files}
    )


async def _prepare(connection: asyncpg.Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


class _Session(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection that knows whether its user left nothing behind in the session.

    asyncpg undoes everything that a user might have set, with a statement at each release. Whoever set nothing but for
    a transaction, which is nearly everybody here, says so and spares it. What is not known to be clean is cleaned.
    """

    clean = False

    def leave_clean(self) -> None:
        """Only transaction-local settings were made, and the transaction is over."""
        self.clean = True


async def _clean_up(session: _Session) -> None:
    """What the pool does at a release, after it has rolled back what was still open."""
    if not session.clean:
        await session.execute(session.get_reset_query())
    session.clean = False


@lru_cache(maxsize=1024)
def _bound(statement: str, parameters: int) -> str:
    """The same query with one more parameter, the tenant that it is bound to before it reads anything.

    PostgreSQL computes a LIMIT's bounds before it asks for the first row (executor/nodeLimit.c), and ``set_config`` is
    volatile, so nothing computes it earlier. Should that ever change, row-level security shows no rows at all: the
    setting is local, and ends with the statement. What writes does not parse here.
    """
    # Both parts are this project's own: a named query of sql/ and a number.
    return (
        f"SELECT found.* FROM (\n{statement.rstrip().removesuffix(';')}\n) AS found "  # noqa: S608
        f"OFFSET (set_config('rescard.tenant', ${parameters + 1}, true) IS NULL)::integer"
    )


class Reading:
    """Single statements that read a tenant's rows, each with a connection for no longer than it takes.

    Has the part of a connection that named queries use. Each statement sees what was committed before it began, as in
    a transaction (READ COMMITTED); none may depend on a setting or a lock of another.
    """

    def __init__(self, pool: asyncpg.Pool, tenant: str) -> None:
        self._pool = pool
        self._tenant = tenant

    async def fetch(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Every row."""
        async with self._pool.acquire() as session:
            rows: list[asyncpg.Record] = await session.fetch(_bound(statement, len(values)), *values, self._tenant)
            session.leave_clean()
        return rows

    async def fetchrow(self, statement: str, *values: Any) -> asyncpg.Record | None:
        """The first row."""
        async with self._pool.acquire() as session:
            row = await session.fetchrow(_bound(statement, len(values)), *values, self._tenant)
            session.leave_clean()
        return row

    async def fetchval(self, statement: str, *values: Any) -> Any:
        """The first column of the first row."""
        row = await self.fetchrow(statement, *values)
        return None if row is None else row[0]


def _address(url: str) -> str:
    """Host, port and database of a URL, without the password."""
    return url.rpartition("@")[2] or url


class Database:
    """A pool whose sessions work as ``rescard_app``, under row-level security."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self._url = url
        self._pool_size = pool_size
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Open the pool.

        Raises:
            DatabaseRefusedError: the database cannot be reached or does not let us in.
        """
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=self._pool_size,
                init=_prepare,
                reset=_clean_up,
                connection_class=_Session,
                command_timeout=COMMAND_SECONDS,
                server_settings={"role": "rescard_app", "application_name": "cardservice", "timezone": "UTC"},
            )
        except (*DATABASE_AWAY, asyncpg.PostgresError, ValueError) as error:
            raise DatabaseRefusedError(address=_address(self._url), detail=str(error)) from error

    async def close(self) -> None:
        """Close the pool; statements still running are given a moment."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    @property
    def pool(self) -> asyncpg.Pool:
        """The open pool."""
        if self._pool is None:
            raise RuntimeError("the database is not open")
        return self._pool

    @asynccontextmanager
    async def transaction(self, tenant: str, *, read_only: bool = False) -> AsyncIterator[Connection]:
        """A transaction that sees the rows of ``tenant`` and nothing else (READ COMMITTED)."""
        async with self.pool.acquire() as connection:
            async with connection.transaction(readonly=read_only):
                await connection.execute("SELECT set_config('rescard.tenant', $1, true)", tenant)
                yield connection
            connection.leave_clean()

    def reading(self, tenant: str) -> Reading:
        """Statements that each see the rows of ``tenant`` as they are, and nothing else."""
        return Reading(self.pool, tenant)
