"""What was so at an instant: a card's state, a person's facts, units, visits, bookings, loans, other systems' words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from cardservice.cards.signing import card_text
from cardservice.catalogue.facts import gather_facts
from cardservice.catalogue.loading import site_value
from cardservice.db import Connection, queries
from cardservice.ledger.accounts import holder_of, instant
from cardservice.ledger.reversals import reversal_id
from cardservice.taps.occupancy import local_midnight, zone_counts
from entitlements.compile import CompiledService
from entitlements.facts import PersonFacts
from entitlements.ledger import Entries
from entitlements.model import CardState
from entitlements.service import Balance, BookingRule, Capacity, LoanRule, Quota, Upstream
from entitlements.situation import Booking, Presence, State, UpstreamCheck

VISITS: Final = timedelta(hours=36)
"""How far back somebody may have come in and still be inside, where the service names no longest stay."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person as known at an instant. ``since`` says what was recorded, withdrawn or changed after it."""

    id: UUID
    facts: PersonFacts
    since: tuple[str, ...] = ()
    details_changed: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Then:
    """The state behind limits at an instant, in values and in words."""

    state: State = field(default_factory=State)
    told: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    """What happened before the instant and was heard of only after it."""
    not_known: list[str] = field(default_factory=list)


async def card_state(conn: Connection, tenant: str, card: Row, at: datetime) -> CardState | None:
    """State of a card at an instant; ``None`` before its issue. By its audit, for a row only says what is now."""
    if at < card["issued_at"]:
        return None
    state = CardState.ACTIVE
    subject = f"card:{card_text(card['card_id'])}"
    async for event in queries().why.card_events(conn, tenant=tenant, subject=subject):
        after = event["detail"].get("after")
        if after is not None and event["happened_at"] <= at:
            state = CardState(after)
    # The hourly job is not waited for: a card is over in its last second.
    return CardState.EXPIRED if state is CardState.ACTIVE and at >= card["expires_at"] else state


async def person(conn: Connection, tenant: str, person_id: UUID, at: datetime, zone: ZoneInfo) -> Person:
    """A person's facts as they stood at an instant."""
    row = await queries().why.person_at(conn, tenant=tenant, person_id=person_id, at=at)
    named = {"tenant": tenant, "person_id": person_id, "at": at}
    rows = [fact async for fact in queries().why.facts_at(conn, **named)]
    since = []
    async for fact in queries().why.facts_changed(conn, **named):
        what = f"{fact['kind'].replace('_', ' ')} “{fact['name']}”"
        if fact["created_at"] > at:
            since.append(f"{what} was recorded {when(fact['created_at'], zone)}.")
        if fact["ended_at"] is not None and fact["ended_at"] > at:
            since.append(f"{what} was withdrawn {when(fact['ended_at'], zone)}.")
    changed = row["updated_at"] if row["updated_at"] > at and row["updated_at"] != row["created_at"] else None
    return Person(
        id=person_id,
        facts=gather_facts(row, rows, at.astimezone(zone).date()),
        since=tuple(text[:1].upper() + text[1:] for text in since),
        details_changed=changed,
    )


async def state_then(
    conn: Connection, tenant: str, *, tap: Row, holder: Person, service: CompiledService, zone: ZoneInfo
) -> Then:
    """What limits, presence and upstream checks of a service rested on for this person at the tap.

    Args:
        conn: a transaction of the card's tenant.
        tenant: that tenant.
        tap: the tap's row.
        holder: whose units, bookings and loans count.
        service: by the document of the decision.
        zone: the council's.
    """
    then, at = Then(), tap["happened_at"]
    document = service.document
    entries, presence, booking, loans, upstream, heads = [], None, None, (), {}, None
    for limit in document.limits:
        if isinstance(limit, Quota):
            entries += await _units(conn, tenant, tap, holder, service, limit, then)
        elif isinstance(limit, BookingRule):
            booking = await _booking(conn, tenant, holder.id, limit.resource, at, then, zone)
        elif isinstance(limit, LoanRule):
            loans = await _loans(conn, tenant, tap, holder.id, limit.pool, then)
        elif isinstance(limit, Balance):
            then.not_known.append("Money is spent at the service itself, so the balance is not part of this replay.")
        elif isinstance(limit, Capacity):
            heads = await _heads(conn, tap, then, zone)
    if service.exclusive or service.min_gap is not None:
        presence = await _presence(conn, tenant, tap, holder.id, service, then, zone)
    if heads is not None:
        presence = msgspec.structs.replace(presence or Presence(), zone_count=heads)
    for rule in document.requires:
        if isinstance(rule, Upstream):
            check = await _upstream(conn, tenant, holder.id, rule.name, tap, then, zone)
            if check is not None:
                upstream[rule.name] = check
    leases = dict(document.offline.lease)
    if not tap["online"] and leases:
        then.not_known.append("The gate was offline: how much of its allowance was left is known to the gate only.")
    then.state = State(
        ledger=Entries(entries),
        leases=leases,
        presence=presence,
        upstream=upstream,
        booking=booking,
        loans=loans,
    )
    return then


async def _units(
    conn: Connection, tenant: str, tap: Row, holder: Person, service: CompiledService, quota: Quota, then: Then
) -> list[Any]:
    at = instant(tap["happened_at"])
    scope, key = holder_of(holder.facts, service, quota.scope, at)
    entries = []
    late = 0
    rows = queries().why.units_of(
        conn,
        tenant=tenant,
        area=str(service.area),
        account=quota.account,
        scope=scope,
        holder=key,
        at=tap["happened_at"],
        own=[tap["tap_id"], reversal_id(tap["tap_id"])],
    )
    async for row in rows:
        if row["posted_at"] > tap["received_at"]:
            late += row["units"]
            continue
        entries.append((quota.account, key, row["units"], instant(row["happened_at"])))
    total = sum(units for _, _, units, _ in entries)
    then.told.append(
        f"Account {quota.account} of this {scope}: {total} {quota.unit} taken before, over all its entries; "
        f"the limit is {quota.max} a {quota.period.name}."
    )
    if late:
        then.late.append(
            f"{late} {quota.unit} of account {quota.account} were taken before this tap and became known only after it."
        )
    return entries


async def _presence(
    conn: Connection, tenant: str, tap: Row, person_id: UUID, service: CompiledService, then: Then, zone: ZoneInfo
) -> Presence:
    at = tap["happened_at"]
    back = VISITS if service.max_stay is None else max(VISITS, timedelta(seconds=service.max_stay))
    since = last = None
    rows = queries().why.visits_before(
        conn,
        tenant=tenant,
        site_tenant=tap["tenant"],
        person_id=person_id,
        site_id=tap["site_id"],
        since=at - back,
        at=at,
        tap_id=tap["tap_id"],
    )
    async for row in rows:
        if row["direction"] == "exit":
            since = None
        elif row["passage_result"] not in ("timed_out", "fault"):  # released, but nobody passed
            since = last = row["happened_at"]
    if last is None:
        then.told.append("Nobody had come in on this person’s cards shortly before.")
    elif since is None:
        then.told.append(f"Had last come in {when(last, zone)}, and gone out since.")
    else:
        then.told.append(f"Had come in {when(since, zone)}, and not gone out since.")
    return Presence(
        inside=since is not None,
        since=None if since is None else instant(since),
        last=None if last is None else instant(last),
    )


async def _heads(conn: Connection, tap: Row, then: Then, zone: ZoneInfo) -> int | None:
    """People in the lane's zone by the passages before the tap; None where the site is another council's."""
    site = await queries().fleet.get_site(conn, tenant=tap["tenant"], site_id=tap["site_id"])
    if site is None:
        then.not_known.append(
            "How many people were inside is known to the other council only; it is taken as room enough."
        )
        return None
    at, lanes = tap["happened_at"], site_value(site).lanes
    of_lane = next((lane.zone for lane in lanes if lane.lane == tap["lane_id"]), None)
    counts = await zone_counts(conn, tap["tenant"], tap["site_id"], lanes, since=local_midnight(at, zone), until=at)
    inside = next((count.inside for count in counts if count.zone == of_lane), 0)
    then.told.append(f"{inside} people were inside, by the passages of that day.")
    then.not_known.append("Who had gone out without showing a card is known to the gate only.")
    return inside


async def _booking(
    conn: Connection, tenant: str, person_id: UUID, resource: str, at: datetime, then: Then, zone: ZoneInfo
) -> Booking | None:
    row = await queries().why.booking_at(conn, tenant=tenant, person_id=person_id, resource=resource, at=at)
    if row is None:
        then.told.append(f"There was no booking of {resource}.")
        return None
    checked_in = row["checked_in_at"] is not None and row["checked_in_at"] < at
    then.told.append(
        f"{resource} was booked from {when(row['starts_at'], zone)} to {row['ends_at'].astimezone(zone):%H:%M}"
        f"{', checked in' if checked_in else ''}."
    )
    return Booking(start=instant(row["starts_at"]), end=instant(row["ends_at"]), checked_in=checked_in)


async def _loans(conn: Connection, tenant: str, tap: Row, person_id: UUID, pool: str, then: Then) -> tuple[Any, ...]:
    rows = queries().why.loans_at(
        conn, tenant=tenant, person_id=person_id, pool=pool, at=tap["happened_at"], tap_id=tap["tap_id"]
    )
    due = tuple([row["due"] async for row in rows])
    then.told.append(f"{len(due)} of {pool} out" + (f", the first due {due[0].isoformat()}." if due else "."))
    return due


async def _upstream(
    conn: Connection, tenant: str, person_id: UUID, name: str, tap: Row, then: Then, zone: ZoneInfo
) -> UpstreamCheck | None:
    row = await queries().why.upstream_word(conn, tenant=tenant, person_id=person_id, name=name)
    at = tap["happened_at"]
    if row is None:
        then.told.append(f"The system {name} has never said anything of this person.")
        return None
    if row["said_at"] > at:
        then.not_known.append(
            f"The system {name} has spoken since; what it said before is not kept. Its word is taken from the tap."
        )
        blocked = tap["reason"].endswith("_blocked")
        return None if tap["reason"].endswith("_check_unavailable") else UpstreamCheck(age=0, not_blocked=not blocked)
    words = {True: "not blocked", False: "blocked", None: "nothing definite"}[row["not_blocked"]]
    then.told.append(f"The system {name} had said {words}, {when(row['said_at'], zone)}.")
    return UpstreamCheck(age=int((at - row["said_at"]).total_seconds()), not_blocked=row["not_blocked"])


def when(at: datetime, zone: ZoneInfo) -> str:
    """Day and time by a council's clock, for sentences."""
    return f"on {at.astimezone(zone):%-d %B %Y at %H:%M}"
