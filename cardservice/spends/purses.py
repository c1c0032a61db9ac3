"""Budgets and what moves in them. Whoever moves money holds the purse's row lock, so no two see the same penny."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from cardservice.db import Connection, queries

Book = Literal["council", "purse", "held", "provider"]
TransferKind = Literal["topup", "hold", "confirm", "release", "expire", "correction"]

ROUTES: dict[TransferKind, tuple[Book, Book]] = {
    "topup": ("council", "purse"),
    "correction": ("purse", "council"),
    "hold": ("purse", "held"),
    "confirm": ("held", "provider"),
    "release": ("held", "purse"),
    "expire": ("held", "purse"),
}
"""From which book to which each kind of transfer goes; a spend without a hold is held and confirmed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """A budget, locked until the transaction ends. ``balance`` may be spent, ``held`` is set aside; both in pence."""

    conn: Connection
    tenant: str
    purse_id: UUID
    account: str
    scope: str
    holder: str

    async def move(
        self,
        kind: TransferKind,
        pence: int,
        *,
        now: datetime,
        actor: str,
        spend: UUID | None,
        reason: str | None = None,
    ) -> None:
        """Write one transfer of ``pence`` (above zero)."""
        debit, credit = ROUTES[kind]
        await queries().spends.add_transfer(
            self.conn,
            tenant=self.tenant,
            kind=kind,
            purse_id=self.purse_id,
            spend_id=spend,
            debit=debit,
            credit=credit,
            pence=pence,
            happened_at=now,
            actor=actor,
            reason=reason,
        )

    async def books(self) -> dict[str, int]:
        """What each book of the purse holds; together they are zero."""
        rows = queries().spends.books(self.conn, tenant=self.tenant, purse_id=self.purse_id)
        return {"council": 0, "purse": 0, "held": 0, "provider": 0} | {
            row["book"]: int(row["pence"]) async for row in rows
        }

    async def expire_holds(self, *, now: datetime) -> int:
        """Give back what was set aside and never confirmed in time; how many spends it were."""
        rows = [
            row async for row in queries().spends.expire(self.conn, tenant=self.tenant, purse_id=self.purse_id, now=now)
        ]
        for row in rows:
            await self.move("expire", row["pence"], now=now, actor="upkeep", spend=row["spend_id"])
        return len(rows)


async def open_purse(conn: Connection, tenant: str, account: str, scope: str, holder: str) -> Purse:
    """The purse of an account and holder, made on its first use, and locked."""
    named = {"account": account, "scope": scope, "holder": holder}
    await queries().spends.add_purse(conn, tenant=tenant, **named)
    purse_id = await queries().spends.lock_purse(conn, tenant=tenant, **named)
    return Purse(conn=conn, tenant=tenant, purse_id=purse_id, **named)


async def lock_purse(conn: Connection, tenant: str, purse_id: UUID) -> Purse:
    """A purse by its id, locked."""
    row = await queries().spends.lock_purse_by_id(conn, tenant=tenant, purse_id=purse_id)
    return Purse(
        conn=conn,
        tenant=tenant,
        purse_id=purse_id,
        account=row["account"],
        scope=row["scope"],
        holder=row["holder"],
    )
