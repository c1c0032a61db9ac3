"""Why a reader and a replay may differ: what the reader did not have yet, its clock, and what came to light later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from cardservice.api.call import Work
from cardservice.db import queries
from cardservice.why.models import Rules
from cardservice.why.past import when

NOTABLE_MS: Final = 2_000
"""Milliseconds of clock offset worth a word: less does not move a decision across a minute."""


async def may_explain(
    work: Work, tap: Mapping[str, Any], late: Sequence[str], rules: Rules | None, zone: ZoneInfo
) -> list[str]:
    """Sentences, the likeliest first; never none."""
    told = [*await _unseen(work, tap, zone), *late]
    if rules is not None and rules.in_force is not None and rules.version != rules.in_force:
        told.append(
            f"The gate still had version {rules.version} of the service; version {rules.in_force} was in force."
        )
    if not tap["online"]:
        told.append("The gate was offline: it decided by what it had heard last, and by its allowance.")
    if not tap["clock_trusted"]:
        told.append("The gate did not trust its clock, so the time of the tap may be wrong.")
    elif abs(tap["clock_offset_ms"]) >= NOTABLE_MS:
        seconds = tap["clock_offset_ms"] / 1000
        told.append(f"The gate’s clock was {abs(seconds):.0f} s off; the time of the tap is corrected by that.")
    if tap["detail"]:
        told.append(f"The gate added: {tap['detail']}.")
    return told or ["Nothing that is recorded explains it. The gate’s own log may: quote the tap’s id."]


async def _unseen(work: Work, tap: Mapping[str, Any], zone: ZoneInfo) -> list[str]:
    """Changes of the card that the service had told and the reader had not applied: its cache number says so."""
    feed, number = tap["feed"], tap["feed_number"]
    if feed is None or number is None:
        return ["The gate does not say how far its data were."]
    tenant, _, area = feed.partition("/")
    if tenant != work.tenant:
        return []
    named = {"tenant": tenant, "area": area, "at": tap["happened_at"]}
    missed = [
        row async for row in queries().why.changes_not_seen(work.conn, **named, card_id=tap["card_id"], number=number)
    ]
    if missed:
        last = missed[-1]
        told = when(last["written_at"], zone)
        missing = f"change {last['number']} of this card, told {told}, had not reached it"
        return [f"The gate’s data of {feed} were at change {number}; {missing}."]
    newest = await queries().why.number_at(work.conn, **named)
    if newest is not None and newest > number:
        return [f"The gate’s data of {feed} were at change {number} of {newest}."]
    return []
