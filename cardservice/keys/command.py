"""``cardservice keys``: what an operator does with the key-encryption key."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, Final

import click

from cardservice.db import ALL_TENANTS, Database, queries
from cardservice.errors import KeyTokenError, SettingError
from cardservice.keys.encryption import KeyEncryption
from cardservice.keys.rewrap import rewrap as run_rewrap
from cardservice.keys.token import TokenKey
from cardservice.settings import PREFIX, Settings, load_settings

NOT_ALL: Final = 1
"""Exit status where something could not be opened, and so stays as it is."""
SHOWN: Final = 10
"""Rows that do not open, named on the terminal; the rest are counted."""


@click.group()
def keys() -> None:
    """The key-encryption key, which seals signing keys and other secrets in the database (docs/keys.md)."""


@keys.command()
def check() -> None:
    """Count what is sealed under which key-encryption key. Exits 1 where the settings lack one."""
    sys.exit(_run(_check(load_settings())))


@keys.command()
def rewrap() -> None:
    """Seal everything anew under the current key-encryption key; stopped or killed, it is simply run again.

    The former key stands in RESCARD_OLD_KEY_ENCRYPTION_KEY, ..._KEY_FILE or ..._TOKEN meanwhile. Exits 1 where some
    rows could not be opened; they stay as they are.
    """
    sys.exit(_run(_rewrap(load_settings())))


@keys.command("create-token-key")
def create_token_key() -> None:
    """Make the key that RESCARD_KEY_ENCRYPTION_TOKEN names: AES-256, which never leaves the token."""
    places = [place for place in load_settings().key_places() if place.token is not None]
    if not places or places[0].token is None:
        raise SettingError(setting=f"{PREFIX}KEY_ENCRYPTION_TOKEN", detail="it is not set")
    made = TokenKey(places[0].token, places[0].setting)
    made.create()
    click.echo(f"made {places[0].token.key} on the token {places[0].token.token}: {made.key_id.hex()}")


async def _check(settings: Settings) -> int:
    encryption = KeyEncryption.of(settings)
    await asyncio.to_thread(encryption.open)
    current = encryption.current.key_id.hex()
    click.echo(f"the current key-encryption key is {current}")
    database = Database(settings.database_url, pool_size=1)
    await database.open()
    missing = False
    try:
        async with database.transaction(ALL_TENANTS, read_only=True) as conn:
            async for row in queries().sealed.heads(conn):
                key_id = row["key_id"]
                known = bool(encryption.secrets) if not key_id else encryption.by_id(bytes.fromhex(key_id)) is not None
                missing = missing or not known
                told = "version 1" if not key_id else "current" if key_id == current else f"key {key_id}"
                state = "" if key_id == current else ", to be sealed anew" if known else ", which no setting names"
                click.echo(f"{row['kind']:<20} {row['rows']:>8}  {told}{state}")
    finally:
        await database.close()
    return NOT_ALL if missing else 0


async def _rewrap(settings: Settings) -> int:
    encryption = KeyEncryption.of(settings)
    await asyncio.to_thread(encryption.open)
    database = Database(settings.database_url, pool_size=2)
    await database.open()
    problems: list[str] = []
    try:
        async for done in run_rewrap(database, encryption):
            click.echo(f"{done.title:<20} {done.rows:>8} sealed anew")
            problems += done.problems
    except KeyTokenError as error:
        raise click.ClickException(f"{error}. What was sealed anew stays so; run it again.") from error
    finally:
        await database.close()
    for problem in problems[:SHOWN]:
        click.echo(problem, err=True)
    if problems:
        click.echo(f"{len(problems)} rows were left as they are: the settings lack the key that sealed them", err=True)
    return NOT_ALL if problems else 0


def _run(work: Coroutine[Any, Any, int]) -> int:
    return asyncio.run(work)
