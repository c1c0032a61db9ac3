"""Units given back: an entrance was released for somebody who did not come in.

A tap is uploaded at the release and its units are posted at once; what the passage contact said follows, usually in a
later upload, sometimes in an earlier one. The gate lets go of its own count by itself, and only at entrances (decision
25), so here it is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from cardservice.db import Connection, queries
from cardservice.feed.writer import lock_tenant
from cardservice.ledger.entries import Entry, post
from cardservice.ledger.keys import keyring
from entitlements.wire.taps import Passage, Tap

NOT_PASSED: Final = "not passed"
"""What the id of the entry is derived from beside the tap's: the same each time, so that it is posted once."""
SERVICE: Final = "service"
"""Who closes a flag that is settled by itself."""
NOTE: Final = "Nobody passed, so the units were given back."

Unused = tuple[UUID, int | None]
"""A tap that nobody passed on, and the version of the service by which it was decided."""


def reversal_id(tap_id: UUID) -> UUID:
    """Id of the entry that gives a tap's units back (UUID version 5, RFC 9562 section 5.5)."""
    return uuid5(tap_id, NOT_PASSED)


async def unused_taps(
    conn: Connection, tenant: str, site: str, items: Sequence[Tap | Passage]
) -> dict[str, list[Unused]]:
    """Of taps and passages that were just stored: taps that nobody passed on, by the council of the card.

    Args:
        conn: a transaction of the site's tenant.
        tenant: of the site.
        site: a reader tells of nobody's taps elsewhere.
        items: those that were new; the other half of each may have been stored long before.
    """
    ids = [item.tap_id for item in items if concerns_units(item)]
    found: dict[str, list[Unused]] = {}
    if ids:
        async for row in queries().taps.not_passed(conn, tenant=tenant, site=site, tap_ids=ids):
            found.setdefault(row["card_tenant"], []).append((row["tap_id"], row["service_version"]))
    return found


def concerns_units(item: Tap | Passage) -> bool:
    """Whether a tap took units, or a passage may give some back."""
    return bool(item.effects) if isinstance(item, Tap) else item.result != "passed"


async def give_back(conn: Connection, council: str, origin: str, unused: Sequence[Unused], now: datetime) -> bool:
    """Post the opposite of what these taps took, at the same time of event and so in the same period.

    Args:
        conn: a transaction of the council whose cards they were.
        origin: council of the site.

    Returns:
        Whether any feed may have got a change.
    """
    rows = queries().ledger.entries_to_give_back(
        conn,
        tenant=council,
        origin=origin,
        tap_ids=[tap_id for tap_id, _ in unused],
        versions=[version for _, version in unused],
    )
    entries = [_opposite(row) async for row in rows]
    if not entries:
        return False
    issue_number = await lock_tenant(conn, council)
    ring = await keyring(conn, council)
    fresh = await post(conn, council, entries, keyring=ring, issue_number=issue_number, now=now)
    taps = [tap_id for tap_id, _ in unused]
    await queries().ledger.resolve_overspent(
        conn, tenant=council, tap_ids=taps, resolved_by=SERVICE, note=NOTE, now=now
    )
    return bool(fresh)


def _opposite(row: Mapping[str, Any]) -> Entry:
    return Entry(
        entry_id=reversal_id(row["entry_id"]),
        origin=row["origin"],
        area=row["area"],
        account=row["account"],
        scope=row["scope"],
        holder=row["holder"],
        units=-row["units"],
        at=row["happened_at"],
        kind="reversal",
        service_id=row["service_id"],
        person_id=row["person_id"],
        site_id=row["site_id"],
        reader_id=row["reader_id"],
        offline=row["offline"],
    )
