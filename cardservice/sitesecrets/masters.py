"""Masters of a council: for rotating codes, for chips, and for serial numbers of legacy chips. Sealed at rest.

A master is made when it is first needed. After a rotation the newest makes new secrets and the older ones stay good,
until an administrator retires them because nothing in use was made by them any more.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from cardservice.db import Connection, queries
from cardservice.errors import conflict, not_found
from cardservice.keys.sealing import Sealer
from entitlements.credential.sitesecrets import MAX_MASTERS
from entitlements.wire.secrets import CHIP_MASTER_BYTES, TOTP_MASTER_BYTES, UID_KEY_BYTES


class Kind(StrEnum):
    """What a master is for."""

    TOTP = "totp"
    CHIP = "chip"
    UID = "uid"


SIZES: Final = {Kind.TOTP: TOTP_MASTER_BYTES, Kind.CHIP: CHIP_MASTER_BYTES, Kind.UID: UID_KEY_BYTES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Master:
    """One master, unsealed. ``secret_id`` may be stored beside what it made; the octets may not."""

    secret_id: UUID
    octets: bytes = field(repr=False)


class MasterStore:
    """Masters of all tenants.

    :param sealer: of :attr:`cardservice.keys.sealing.Sealed.TENANT_SECRETS`.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def in_use(self, conn: Connection, tenant: str, kind: Kind) -> tuple[Master, ...]:
        """Masters that are not retired, newest first; none where none was ever needed.

        Raises:
            UnsealError: another key-encryption key sealed them.
        """
        rows = [row async for row in queries().secrets.in_use(conn, tenant=tenant, kind=kind.value)]
        unseal = self._sealer.unseal_aside
        return tuple(
            [
                Master(
                    secret_id=row["secret_id"],
                    octets=await unseal(sealed_name(tenant, kind, row["secret_id"]), row["sealed"]),
                )
                for row in rows
            ]
        )

    async def newest(self, conn: Connection, tenant: str, kind: Kind) -> Master:
        """The master that makes new secrets; made now where there is none.

        Args:
            conn: a writing transaction of the tenant. It holds the tenant's row lock afterwards.
        """
        found = await self.in_use(conn, tenant, kind)
        if not found:
            # Two that need the first one meet here; the second finds what the first has made.
            await queries().feed.lock_tenant(conn, tenant=tenant)
            found = await self.in_use(conn, tenant, kind)
        if not found:
            await self.add(conn, tenant, kind)
            found = await self.in_use(conn, tenant, kind)
        return found[0]

    async def add(self, conn: Connection, tenant: str, kind: Kind) -> Mapping[str, Any]:
        """A new master, before all others; what may be shown of it.

        Raises:
            ApiProblem: 409 where readers would have to try too many.
        """
        await queries().feed.lock_tenant(conn, tenant=tenant)
        if len(await self.in_use(conn, tenant, kind)) >= MAX_MASTERS:
            raise conflict("too_many_secrets", f"{MAX_MASTERS} of this kind are in use; retire the oldest first.")
        secret_id = uuid.uuid4()
        sealed = await self._sealer.seal_aside(sealed_name(tenant, kind, secret_id), os.urandom(SIZES[kind]))
        row = await queries().secrets.add(conn, tenant=tenant, secret_id=secret_id, kind=kind.value, sealed=sealed)
        await queries().secrets.changed(conn, tenant=tenant, kind=kind.value)
        return dict(row)

    async def retire(self, conn: Connection, tenant: str, secret_id: UUID, *, now: datetime) -> Mapping[str, Any]:
        """Let nothing that a master made be good any more; what may be shown of it.

        Raises:
            ApiProblem: 404; 409 where it was retired before, or is the newest, which makes new ones.
        """
        await queries().feed.lock_tenant(conn, tenant=tenant)
        row = await queries().secrets.get(conn, tenant=tenant, secret_id=secret_id)
        if row is None:
            raise not_found("site secret", secret_id)
        kind = Kind(row["kind"])
        in_use = await self.in_use(conn, tenant, kind)
        if in_use and in_use[0].secret_id == secret_id:
            raise conflict("secret_in_use", "The newest makes new cards: rotate first, then retire this one.")
        retired = await queries().secrets.retire(conn, tenant=tenant, secret_id=secret_id, now=now)
        if retired is None:
            raise conflict("secret_retired", "This one was retired before.")
        await queries().secrets.changed(conn, tenant=tenant, kind=kind.value)
        return dict(retired)


def sealed_name(tenant: str, kind: Kind, secret_id: UUID) -> str:
    """Under which a master is sealed: copied to another row it does not open."""
    return f"{tenant}/{kind.value}/{secret_id}"
