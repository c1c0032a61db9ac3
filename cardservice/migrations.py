"""Migrations: plain ``.sql`` files, applied once and in order, checked by SHA-256."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg

from cardservice.db import SQL_FOLDER
from cardservice.errors import MigrationError

LOCK_ID: Final = 0x72657363  # "resc"
LOCK_POLL_SECONDS: Final = 0.1
"""The lock is polled: a blocking advisory lock deadlocks with CREATE INDEX CONCURRENTLY."""
LOCK_SECONDS: Final = 60.0


async def migrate(url: str, folder: Path = SQL_FOLDER / "migrations") -> Sequence[str]:
    """Apply what is not applied yet and return the names of those files.

    Raises:
        MigrationError: an applied file was changed or is gone, a file failed, or the lock was held too long.
    """
    connection = await asyncpg.connect(url)
    try:
        deadline = asyncio.get_running_loop().time() + LOCK_SECONDS
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_ID):
            if asyncio.get_running_loop().time() > deadline:
                raise MigrationError(migration="*", detail="another process has been migrating for a minute")
            await asyncio.sleep(LOCK_POLL_SECONDS)
        return await _apply(connection, folder)
    finally:
        await connection.close()


async def _apply(connection: asyncpg.Connection, folder: Path) -> Sequence[str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migration (name text PRIMARY KEY, sha256 text NOT NULL, "
        "applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = {
        row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM schema_migration")
    }
    files = {path.name: path.read_text() for path in sorted(folder.glob("*.sql"))}
    done: list[str] = []
    for name in applied.keys() - files.keys():
        raise MigrationError(migration=name, detail="it was applied, but the file is gone: this is an older release")
    for name, text in files.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        if name in applied:
            if applied[name] != digest:
                raise MigrationError(migration=name, detail="the file was changed after it was applied")
            continue
        try:
            async with connection.transaction():
                await connection.execute(text)
                await connection.execute("INSERT INTO schema_migration (name, sha256) VALUES ($1, $2)", name, digest)
        except asyncpg.PostgresError as error:
            raise MigrationError(migration=name, detail=str(error)) from error
        done.append(name)
    return done
