"""Sealing everything anew after the key-encryption key was changed, in small transactions.

A row says itself under which key it is sealed, so nothing is kept of how far the work is: killed, it is simply begun
again, and finds what is left. The service may run meanwhile, with both keys in its settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from cardservice.db import ALL_TENANTS, Database, queries
from cardservice.errors import UnsealError
from cardservice.keys.encryption import KeyEncryption
from cardservice.keys.sealing import VERSION, Sealed, Sealer
from cardservice.pins.office import sealed_name as name_of_pin
from cardservice.sitesecrets.masters import Kind
from cardservice.sitesecrets.masters import sealed_name as name_of_master

BATCH: Final = 200
"""Rows of one transaction: a tenth of a second's work, and what is lost when it is killed."""
ACTOR: Final = "command line"
Place = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRows:
    """One column of sealed bytes: its queries in ``sql/queries/sealed.sql``, and under which name a row is sealed."""

    title: str
    what: Sealed
    left: str
    put: str
    name: Callable[[Place], str]


EVERYTHING: Final = (
    SealedRows(
        title="signing keys",
        what=Sealed.SIGNING_KEYS,
        left="signing_keys",
        put="put_signing_key",
        name=lambda place: place[1],
    ),
    SealedRows(
        title="tenant secrets",
        what=Sealed.TENANT_SECRETS,
        left="tenant_secrets",
        put="put_tenant_secret",
        name=lambda place: name_of_master(place[0], Kind(place[1]), UUID(place[2])),
    ),
    SealedRows(
        title="PIN verifiers",
        what=Sealed.TENANT_SECRETS,
        left="pin_verifiers",
        put="put_pin_verifier",
        name=lambda place: name_of_pin(place[0], UUID(place[1])),
    ),
    SealedRows(
        title="platform secrets",
        what=Sealed.PLATFORM_SECRETS,
        left="platform_secrets",
        put="put_platform_secret",
        name=lambda place: place[0],
    ),
    SealedRows(title="remembered replies", what=Sealed.REPLIES, left="replies", put="put_reply", name="\n".join),
    SealedRows(
        title="remembered requests",
        what=Sealed.REPLIES,
        left="requests",
        put="put_request",
        name=lambda place: "\n".join((*place, "request")),
    ),
)


@dataclass(slots=True)
class Rewrapped:
    """What one run did with one kind of row: ``problems`` has a sentence for each row that does not open."""

    title: str
    rows: int = 0
    problems: list[str] = field(default_factory=list)


async def rewrap(db: Database, encryption: KeyEncryption, *, batch: int = BATCH) -> AsyncIterator[Rewrapped]:
    """Seal under the current key-encryption key whatever is sealed under another; one result for each kind of row.

    Raises:
        KeyTokenError: a token does not answer. What was done until then stays done.
    """
    key_id = await asyncio.to_thread(lambda: encryption.current.key_id)
    sealers = {what: Sealer(encryption, what) for what in Sealed}
    for rows in EVERYTHING:
        done = await _rewrap_rows(db, rows, sealers[rows.what], VERSION + key_id, batch)
        yield done
        if done.rows:
            async with db.transaction(ALL_TENANTS) as conn:
                await queries().api.add_audit(
                    conn,
                    tenant=ALL_TENANTS,
                    actor=ACTOR,
                    action="keys.rewrapped",
                    subject=f"key-encryption key:{key_id.hex()}",
                    detail={"what": done.title, "rows": done.rows, "left": len(done.problems)},
                    request_id=None,
                )


async def _rewrap_rows(db: Database, rows: SealedRows, sealer: Sealer, head: bytes, batch: int) -> Rewrapped:
    done = Rewrapped(title=rows.title)
    left, put = getattr(queries().sealed, rows.left), getattr(queries().sealed, rows.put)
    after: Place = []
    while True:
        async with db.transaction(ALL_TENANTS) as conn:
            found = [dict(row) async for row in left(conn, head=head, after=list(after), limit=batch)]
            for place, old, new in await asyncio.to_thread(_resealed, rows, sealer, found, done.problems):
                written = await put(conn, place=list(place), old=old, new=new)
                done.rows += int(written.rpartition(" ")[2]) if isinstance(written, str) else int(written)
        if len(found) < batch:
            return done
        after = found[-1]["place"]


def _resealed(
    rows: SealedRows, sealer: Sealer, found: Sequence[dict[str, Any]], problems: list[str]
) -> list[tuple[Place, bytes, bytes]]:
    made = []
    for row in found:
        name = rows.name(row["place"])
        try:
            plain = sealer.unseal(name, row["sealed"])
        except UnsealError as error:
            problems.append(str(error))
            continue
        made.append((row["place"], row["sealed"], sealer.seal(name, plain)))
    return made
