"""How many people are inside a site, by the passages that its gates told of.

A gate counts by itself and decides by its own count, which also sees who goes out without showing a card. This one is
for people who look from afar, and for looking back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from cardservice.db import Connection, queries
from entitlements.wire.feed import Lane


@dataclass(kw_only=True)
class ZoneCount:
    """One zone since the local midnight: a missed exit is forgiven then, as gates do."""

    zone: str | None
    went_in: int = 0
    went_out: int = 0
    last_at: datetime | None = None
    inside: int = field(init=False, default=0)

    def add(self, row: Mapping[str, Any]) -> None:
        """Passages of one lane."""
        if row["direction"] == "exit":
            self.went_out += row["people"]
        else:
            self.went_in += row["people"]
        self.last_at = row["last_at"] if self.last_at is None else max(self.last_at, row["last_at"])
        self.inside = max(0, self.went_in - self.went_out)


def local_midnight(at: datetime, zone: ZoneInfo) -> datetime:
    """The beginning of the local day."""
    return datetime.combine(at.astimezone(zone).date(), time(), zone)


async def zone_counts(
    conn: Connection, tenant: str, site: str, lanes: Sequence[Lane], *, since: datetime, until: datetime
) -> list[ZoneCount]:
    """Who passed at a site's lanes in ``[since, until)``, by zone.

    Args:
        conn: a transaction of the site's council.
        lanes: as the site has them now; a lane that it has no more is left out.
    """
    found = {lane.zone: ZoneCount(zone=lane.zone) for lane in lanes}
    zones = {lane.lane: lane.zone for lane in lanes}
    rows = queries().taps.passed_by_lane(conn, tenant=tenant, site=site, since=since, until=until)
    async for row in rows:
        if row["lane_id"] in zones:
            found[zones[row["lane_id"]]].add(row)
    return sorted(found.values(), key=lambda count: count.zone or "")
