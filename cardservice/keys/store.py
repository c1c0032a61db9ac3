"""Signing keys of tenants: one active key a tenant and purpose, unsealed in memory by ``kid``.

A key is published before it signs (readers and relying parties learn it first), active while it signs, retired while
cards that it signed are still good, then ended, and revoked when it must no longer be believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from cardservice.db import Connection, queries
from cardservice.errors import conflict
from cardservice.keys.encryption import KeyEncryption
from cardservice.keys.sealing import Sealed, Sealer
from cardservice.settings import Settings
from entitlements.credential.es256 import private_key_from_pem, private_key_to_pem
from entitlements.credential.keys import MAX_KEYS, KeySet, SigningKey
from entitlements.model import TenantId

Purpose = Literal["card", "feed", "status", "openid4vci", "mdoc"]
KeyState = Literal["published", "active", "retired", "ended", "revoked"]
MAX_CACHED: Final = 1024
"""Unsealed keys kept: tenants times purposes times a few rollovers; beyond it the cache begins again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """What may be shown of a key."""

    kid: str
    purpose: Purpose
    state: KeyState
    public_jwk: Mapping[str, Any]
    created_at: datetime


class KeyStore:
    """Keys of all tenants.

    Keys that were opened stay in memory: a token that goes away stops no card from being signed; it only keeps a key
    that another process made meanwhile from being used.

    Raises:
        SettingError: the key-encryption key is missing or too short.
    """

    def __init__(self, settings: Settings, encryption: KeyEncryption | None = None) -> None:
        self._sealer = Sealer(encryption or KeyEncryption.of(settings), Sealed.SIGNING_KEYS)
        self._unsealed: dict[str, SigningKey] = {}

    async def signer(self, conn: Connection, tenant: str, purpose: Purpose) -> SigningKey:
        """The active key of a tenant for a purpose.

        Raises:
            ApiProblem: 409 where no key is active, which only an emergency revocation brings about.
            UnsealError: no key-encryption key of the settings opens it.
            KeyTokenError: the token that could does not answer.
        """
        row = await queries().keys.active(conn, tenant=tenant, purpose=purpose)
        if row is None:
            raise conflict("no_signing_key", f"No key of purpose {purpose} is active; an administrator activates one.")
        return await self._open(tenant, row["kid"], row["private_sealed"])

    async def open(self, conn: Connection) -> None:
        """Open every key that may sign: one that the settings do not open is told now, and not at the first card.

        Args:
            conn: a transaction that sees all tenants.

        Raises:
            UnsealError: no key-encryption key of the settings opens one of them.
            KeyTokenError: the token does not answer.
        """
        await asyncio.to_thread(self._sealer.open)
        async for row in queries().keys.may_sign(conn):
            await self._open(row["tenant"], row["kid"], row["private_sealed"])

    async def jwks(self, conn: Connection, tenant: str, purpose: Purpose | None) -> dict[str, Any]:
        """The JWKS (RFC 7517 section 5) of all keys that may be believed, oldest first; ``None`` is every purpose."""
        rows = [row async for row in queries().keys.believed(conn, tenant=tenant, purpose=purpose)]
        return {"keys": [row["public_jwk"] for row in rows]}

    async def create(self, conn: Connection, tenant: str, purpose: Purpose, state: KeyState) -> StoredKey:
        """Make a key and store it sealed.

        Raises:
            ApiProblem: 409 ``too_many_keys``: gates would refuse the whole set, and with it the next revocation.
        """
        believed = KeySet.from_jwks(TenantId(tenant), await self.jwks(conn, tenant, purpose))
        if len(believed) >= MAX_KEYS:
            raise conflict("too_many_keys", f"{MAX_KEYS} keys of this purpose are believed; revoke those not needed.")
        key = SigningKey.generate(TenantId(tenant))
        while believed.by_cose_kid(key.verification_key.cose_kid) is not None:  # once in some hundred million
            key = SigningKey.generate(TenantId(tenant))
        public = key.verification_key.to_jwk()
        row = await queries().keys.add(
            conn,
            tenant=tenant,
            kid=key.kid,
            purpose=purpose,
            state=state,
            public_jwk=public,
            private_sealed=await self._sealer.seal_aside(key.kid, private_key_to_pem(key.private)),
        )
        return StoredKey(kid=key.kid, purpose=purpose, state=state, public_jwk=public, created_at=row["created_at"])

    async def _open(self, tenant: str, kid: str, sealed: bytes) -> SigningKey:
        known = self._unsealed.get(kid)
        if known is None:
            private = private_key_from_pem(await self._sealer.unseal_aside(kid, sealed))
            known = SigningKey.of(TenantId(tenant), private, kid)
            if len(self._unsealed) >= MAX_CACHED:
                self._unsealed.clear()
            self._unsealed[kid] = known
        return known
