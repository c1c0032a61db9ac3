"""Secrets that all processes of the platform share, made once and sealed in the database."""

from __future__ import annotations

import os
from typing import Final

from cardservice.db import ALL_TENANTS, Database, queries
from cardservice.keys.encryption import KeyEncryption
from cardservice.keys.sealing import Sealed, Sealer

SECRET_BYTES: Final = 32


class SharedSecret:
    """One secret of 32 bytes, e.g. what signs the cookies of a page. Opened by ``cardservice.app``."""

    def __init__(self, db: Database, encryption: KeyEncryption, name: str) -> None:
        self._db = db
        self._sealer = Sealer(encryption, Sealed.PLATFORM_SECRETS)
        self._name = name
        self._value = b""

    async def open(self) -> None:
        """Read the secret; the first process makes it.

        Raises:
            UnsealError: the key-encryption keys of the settings do not open it.
            KeyTokenError: the token does not answer.
        """
        async with self._db.transaction(ALL_TENANTS) as conn:
            sealed = await queries().keys.platform_secret(conn, name=self._name)
            if sealed is None:
                made = await self._sealer.seal_aside(self._name, os.urandom(SECRET_BYTES))
                await queries().keys.add_platform_secret(conn, name=self._name, sealed=made)
                # Another process may have been quicker: what is stored is what counts.
                sealed = await queries().keys.platform_secret(conn, name=self._name)
        self._value = await self._sealer.unseal_aside(self._name, sealed)

    @property
    def value(self) -> bytes:
        """The secret."""
        if not self._value:
            raise RuntimeError(f"the secret {self._name} is not open")
        return self._value
