"""How far the latest change of a card has come: gate by gate, and in one sentence for the desk.

A feed keeps its changes for a month and begins a new epoch without any, so the change itself may not be there. Gates
are therefore those of the readers that carry the council's feeds, whatever was told; see ``last_told`` in
``sql/queries/fleet.sql`` for the number that a reader must have applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from cardservice.api.models import ApiModel
from cardservice.db import Connection, queries
from cardservice.fleet.presence import is_online

MAX_NAMED: Final = 3
"""Gates named in the sentence; the rest are counted."""


class Gate(ApiModel):
    """One lane."""

    lane: str
    name: str


class ReaderProgress(ApiModel):
    """One reader and one change. ``milliseconds`` from the commit's clock to the reader's word that it applied it.

    ``applied_at`` is when it first reported a number that includes the change, as far as its reports are kept.
    """

    tenant: str
    reader_id: UUID
    name: str
    site: str
    gates: list[Gate]
    applied: bool
    applied_at: datetime | None
    milliseconds: int | None
    last_seen_at: datetime | None
    offline_since: datetime | None


class AreaProgress(ApiModel):
    """What the feed of one area last told of the card."""

    area: str
    number: int = Field(description="A reader that has applied this number of the feed has it.")
    written_at: datetime | None = Field(
        description="Null where the change is no longer kept (30 days), or was first told by a snapshot."
    )
    readers: list[ReaderProgress]


class Propagation(ApiModel):
    """How far the card's latest changes have come."""

    card_id: str
    summary: str
    gates: int
    effective: int
    areas: list[AreaProgress]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A gate that does not know the change yet."""

    gate: str
    site: str
    offline_since: datetime | None


async def propagation(conn: Connection, *, tenant: str, card_id: bytes, card: str, now: datetime) -> Propagation | None:
    """How far the latest change of a card has come, or ``None`` where the tenant has no such card."""
    known = await queries().fleet.card_and_timezone(conn, tenant=tenant, card_id=card_id)
    if known is None:
        return None
    changes = [row async for row in queries().fleet.last_told(conn, tenant=tenant, card_id=card_id)]
    feeds = [f"{tenant}/{change['area']}" for change in changes]
    readers = [row async for row in queries().fleet.subscribers(conn, feeds=feeds)]
    applied = {
        (row["tenant"], row["reader_id"], row["area"]): row["applied_at"]
        async for row in queries().fleet.applied_since(
            conn,
            tenant=tenant,
            areas=[change["area"] for change in changes],
            epochs=[change["epoch"] for change in changes],
            numbers=[change["number"] for change in changes],
        )
    }
    areas: list[AreaProgress] = []
    gates: dict[tuple[str, UUID, str], Waiting | None] = {}
    for change in changes:
        progress: list[ReaderProgress] = []
        for reader in readers:
            if f"{tenant}/{change['area']}" not in reader["feeds"]:
                continue
            one = _progress(reader, change, applied.get((reader["tenant"], reader["reader_id"], change["area"])), now)
            progress.append(one)
            for gate in one.gates:
                place = (one.tenant, one.reader_id, gate.lane)
                waiting = Waiting(gate=gate.name, site=reader["site_name"] or one.site, offline_since=one.offline_since)
                gates[place] = gates.get(place) if one.applied else waiting
        areas.append(
            AreaProgress(
                area=change["area"], number=change["number"], written_at=change["written_at"], readers=progress
            )
        )
    effective = sum(waiting is None for waiting in gates.values())
    summary = sentence(effective, [gate for gate in gates.values() if gate], now, ZoneInfo(known["timezone"]))
    return Propagation(card_id=card, summary=summary, gates=len(gates), effective=effective, areas=areas)


def _progress(
    reader: Mapping[str, Any], change: Mapping[str, Any], applied_at: datetime | None, now: datetime
) -> ReaderProgress:
    seen = reader["last_seen_at"]
    written = change["written_at"]
    took = (applied_at - written).total_seconds() if applied_at is not None and written is not None else None
    return ReaderProgress(
        tenant=reader["tenant"],
        reader_id=reader["reader_id"],
        name=reader["name"],
        site=reader["site_id"],
        gates=_gates(reader, change["area"]),
        applied=applied_at is not None,
        applied_at=applied_at,
        # Two clocks: the reader's may be some milliseconds behind ours, and nothing is applied before it is written.
        milliseconds=max(0, round(took * 1000)) if took is not None else None,
        last_seen_at=seen,
        offline_since=None if is_online(reader["state"], seen, now) else seen,
    )


def _gates(reader: Mapping[str, Any], area: str) -> list[Gate]:
    """The lanes that read this feed: as the site has them, else as the reader reports them, else the reader itself."""
    lanes = reader["lanes"]
    if lanes:
        mine = [lane for lane in lanes if not lane.get("areas") or area in lane["areas"]]
        return [Gate(lane=lane["lane"], name=lane["name"]) for lane in mine or lanes]
    reported = (reader["status"] or {}).get("lanes") or [{"lane": reader["name"], "name": reader["name"]}]
    return [Gate(lane=lane["lane"], name=lane["name"]) for lane in reported]


def sentence(effective: int, waiting: Sequence[Waiting], now: datetime, zone: ZoneInfo) -> str:
    """One sentence, e.g. ``Effective at 41 of 42 gates, Lane 7 at Porchester offline since 14:02.``"""
    total = effective + len(waiting)
    if not total:
        return "No gate reads this card's feeds."
    parts = [f"Effective at {effective} of {total} {'gate' if total == 1 else 'gates'}"]
    # Offline ones first: a gate that is online learns it in a moment, the others need somebody to go there.
    ordered = sorted(waiting, key=lambda gate: (gate.offline_since is None, gate.site, gate.gate))
    for gate in ordered[:MAX_NAMED]:
        state = "not yet" if gate.offline_since is None else f"offline since {_clock(gate.offline_since, now, zone)}"
        parts.append(f"{gate.gate} at {gate.site} {state}")
    if len(ordered) > MAX_NAMED:
        parts.append(f"{len(ordered) - MAX_NAMED} more not yet")
    return ", ".join(parts) + "."


def _clock(moment: datetime, now: datetime, zone: ZoneInfo) -> str:
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    if local.date() == today:
        return f"{local:%H:%M}"
    return f"{local:%H:%M} on {local.day} {local:%B}" + (f" {local.year}" if local.year != today.year else "")
