"""What gates hear of other systems' words: in every area with a service that asks for them, under that area's keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cardservice.catalogue.loading import Catalogue
from cardservice.db import Connection, queries
from cardservice.feed.telling import Wanted
from cardservice.ledger.keys import AccountKeyring
from entitlements.compile import CompiledService
from entitlements.service import Upstream as UpstreamRule
from entitlements.wire.state import Upstream, UpstreamChange


def oldest_words(services: Iterable[CompiledService]) -> dict[str, int]:
    """By name of another system: for how many seconds at most a service still believes its word."""
    found: dict[str, int] = {}
    for service in services:
        for rule in service.document.requires:
            if isinstance(rule, UpstreamRule):
                found[rule.name] = max(found.get(rule.name, 0), rule.max_age)
    return found


def tellings(row: Mapping[str, Any], catalogue: Catalogue, ring: AccountKeyring) -> list[Wanted]:
    """The changes that tell of a word."""
    areas = sorted(area for area in catalogue.areas if row["name"] in oldest_words(catalogue.area(area).services))
    return [_change(area, wire_word(row, area, ring)) for area in areas]


def wire_word(row: Mapping[str, Any], area: str, ring: AccountKeyring) -> Upstream:
    """A word's row as gates of an area get it."""
    return Upstream(
        name=row["name"],
        key=ring.key(area, "person", str(row["person_id"])),
        at=int(row["said_at"].timestamp()),
        not_blocked=row["not_blocked"],
    )


async def recent_words(
    conn: Connection,
    tenant: str,
    area: str,
    services: Sequence[CompiledService],
    ring: AccountKeyring,
    now: datetime,
) -> list[Upstream]:
    """Words that some service still believes, for a snapshot."""
    named = sorted(oldest_words(services).items())
    if not named:
        return []
    rows = queries().upstreams.recent(
        conn,
        tenant=tenant,
        names=[name for name, _ in named],
        sinces=[now - timedelta(seconds=seconds) for _, seconds in named],
    )
    return [wire_word(row, area, ring) async for row in rows]


def _change(area: str, word: Upstream) -> Wanted:
    return area, lambda n, tn, at: UpstreamChange(n=n, tn=tn, at=at, upstream=word)
