"""Entries against limits and clocks, once they are in: what is over, late or dated by a clock that was wrong.

A gate that was cut off may have let somebody in on a unit that was spent elsewhere. That stands; people are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from cardservice.db import Connection, queries
from cardservice.ledger.accounts import instant, moment_of, period_of
from cardservice.ledger.entries import Entry, Holding
from cardservice.ledger.flags import Flag
from entitlements.compile import CompiledService
from entitlements.facts import PersonFacts
from entitlements.model import Instant
from entitlements.service import Quota
from entitlements.world import World

LATE: Final = timedelta(days=1)
"""A line that was down for longer is worth a look."""
CLOSED_FOR: Final = timedelta(minutes=15)
"""A period that closed so long before its event came in was over for everybody; less is a tap at midnight."""
AHEAD: Final = timedelta(seconds=120)
"""Drift beyond which a reader's clock is untrusted (entitlements.md)."""
DAY_SECONDS: Final = 86_400
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
PEOPLE: Final = {"person": "the person", "household": "the household", "vehicle": "the vehicle", "permit": "the permit"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A new entry with what it was counted by."""

    entry: Entry
    quota: Quota
    service: CompiledService
    facts: PersonFacts
    clock_trusted: bool = True


@dataclass(frozen=True, slots=True)
class _Row:
    name: tuple[UUID, str, str]
    at: Instant
    units: int


async def reconcile(
    conn: Connection, tenant: str, posted: Sequence[Posted], world: World, *, now: datetime
) -> list[Flag]:
    """What people should look at after these entries were posted, in their order."""
    known = await _known(conn, tenant, posted, world)
    waiting = {item.entry.name for item in posted}
    flags = []
    for item in sorted(posted, key=lambda one: one.entry.at):
        waiting.discard(item.entry.name)
        rows = [row for row in known.get(item.entry.holding, ()) if row.name not in waiting]
        flags += [flag for flag in (_overspent(item, rows, world), _clock(item, now), _late(item, world, now)) if flag]
    return flags


async def _known(conn: Connection, tenant: str, posted: Sequence[Posted], world: World) -> dict[Holding, list[_Row]]:
    """Entries of the accounts concerned, since the earliest period that is concerned."""
    since: dict[Holding, datetime] = {}
    for item in posted:
        start, _ = _period(item, instant(item.entry.at), world)
        begun = moment_of(start) or BEGINNING
        since[item.entry.holding] = min(begun, since.get(item.entry.holding, begun))
    found: dict[Holding, list[_Row]] = {}
    rows = queries().ledger.entries_since(
        conn,
        tenant=tenant,
        areas=[holding[0] for holding in since],
        accounts=[holding[1] for holding in since],
        scopes=[holding[2] for holding in since],
        holders=[holding[3] for holding in since],
        sinces=list(since.values()),
    )
    async for row in rows:
        holding = (row["area"], row["account"], row["scope"], row["holder"])
        name = (row["entry_id"], row["origin"], row["account"])
        found.setdefault(holding, []).append(_Row(name, instant(row["happened_at"]), row["units"]))
    return found


def _period(item: Posted, at: Instant, world: World) -> tuple[Instant | None, Instant | None]:
    return period_of(item.service, item.quota.period, at, item.facts, world)


def units_over(item: Posted, rows: Sequence[tuple[Instant, int]], world: World) -> tuple[int, int]:
    """Units beyond the limit, and all units, in the period of an entry that holds most of them.

    A rolling period holds an event for days to come, so each later event within them is looked at as well.
    """
    at = instant(item.entry.at)
    moments = {at}
    if item.quota.period.name == "rolling":
        reach = at + item.quota.period.days * DAY_SECONDS
        moments |= {when for when, _ in rows if at < when < reach}
    worst = (0, 0)
    for moment in moments:
        since, until = _period(item, moment, world)
        if since is not None and since > at:
            continue  # the event has fallen out of the window of that day
        inside = [row for row in rows if (since is None or since <= row[0]) and (until is None or row[0] < until)]
        total = sum(units for _, units in inside)
        over = total - item.quota.max
        # A session that may be finished may have begun with the last unit.
        if item.quota.overshoot == "finish_session" and inside and total - max(inside)[1] < item.quota.max:
            over = 0
        worst = max(worst, (over, total))
    return worst


def _overspent(item: Posted, rows: Sequence[_Row], world: World) -> Flag | None:
    over, total = units_over(item, [(row.at, row.units) for row in rows], world)
    over = min(over, item.entry.units)
    if over <= 0:
        return None
    who = PEOPLE[item.entry.scope]
    sentence = (
        f"With {_where(item)} {who} has taken {total} of {item.quota.max} {item.quota.unit} of "
        f"“{item.service.document.title}”: {over} too many. It stands, and nobody is charged."
    )
    return _flag(item, "overspent", sentence, over)


def _clock(item: Posted, now: datetime) -> Flag | None:
    entry = item.entry
    if entry.at > now + AHEAD:
        minutes = int((entry.at - now).total_seconds() // 60)
        sentence = (
            f"The clock of the reader was ahead: {_where(item)} is dated {minutes} minutes after it came in. "
            "Its units count at that time; put them right by an adjustment if that is another period."
        )
        return _flag(item, "clock_ahead", sentence, entry.units)
    if not item.clock_trusted:
        sentence = f"The reader did not trust its own clock at {_where(item)}, so its time may be wrong."
        return _flag(item, "clock_untrusted", sentence, entry.units)
    return None


def _late(item: Posted, world: World, now: datetime) -> Flag | None:
    at = item.entry.at
    _, until = _period(item, instant(at), world)
    ended = moment_of(until)
    closed = item.quota.period.name != "rolling" and ended is not None and ended + CLOSED_FOR <= now
    if at + LATE > now and not closed:
        return None
    hours = int((now - at).total_seconds() // 3600)
    after = ", after its period had ended" if closed else ""
    sentence = f"{_where(item)} came in {hours} hours late{after}. It counts in the period it belongs to."
    return _flag(item, "late", sentence, item.entry.units)


def _where(item: Posted) -> str:
    """The event in words, in the service's local time."""
    local = item.entry.at.astimezone(ZoneInfo(item.service.time.name))
    return f"the visit of {local:%d %B %Y, %H:%M} at {item.entry.site_id or 'the desk'}"


def _flag(item: Posted, kind: str, sentence: str, units: int) -> Flag:
    entry = item.entry
    return Flag(
        kind=kind,  # type: ignore[arg-type]  # one of the words above
        sentence=sentence[:1].upper() + sentence[1:],
        at=entry.at,
        service_id=entry.service_id,
        area=entry.area,
        account=entry.account,
        scope=entry.scope,
        holder=entry.holder,
        person_id=entry.person_id,
        tap_id=entry.entry_id if entry.kind == "tap" else None,
        site_id=entry.site_id,
        units=units,
    )
