"""Stored taps as they are replayed: loaded by a cursor, with their people's profiles under two documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from cardservice.catalogue.facts import load_facts
from cardservice.catalogue.life.hindsight import NOT_DECIDED, Hindsight
from cardservice.catalogue.loading import Catalogue
from cardservice.db import Connection, queries
from entitlements.compile import CompiledService, account_keys, compile_profile
from entitlements.model import Instant
from entitlements.profile import AccountKeys, Horizon, Profile
from entitlements.service import Balance, Quota
from entitlements.simulate import EMPTY, ReplayTap, Start

CHUNK: Final = 10_000
"""Rows fetched, and people compiled, at once."""
LONGEST_PERIOD: Final = timedelta(days=366)
"""A yearly quota: units taken so long before the replay still count in it."""
EDGE: Final = 86_400
"""Seconds that the profiles reach beyond the taps, on both sides."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which taps are replayed, under what."""

    tenant: str
    old: CompiledService | None
    new: CompiledService
    since: datetime
    until: datetime

    @property
    def service(self) -> str:
        """Id of the service."""
        return self.new.id


@dataclass(slots=True, kw_only=True)
class History:
    """What is replayed, and what was left out of it: taps by why."""

    taps: list[ReplayTap] = field(default_factory=list)
    start: Start = EMPTY
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Person:
    id: str
    old: Profile | None
    new: Profile
    keys: AccountKeys


async def load_history(conn: Connection, catalogue: Catalogue, wanted: Wanted) -> History:
    """The taps that the service decided, and those refused where it is or would be offered; of a new service all there.

    Args:
        conn: a read-only transaction of the tenant.
        catalogue: the tenant's.
        wanted: which.
    """
    history = History()
    rows = await _rows(conn, catalogue, wanted, history)
    units = [row async for row in _units_before(conn, wanted)] if wanted.new.accounts else []
    card_ids = {row["card_id"] for row in rows} | {row["card_id"] for row in units}
    owners = await _owners(conn, wanted.tenant, card_ids)
    people = await _people(conn, catalogue, wanted, set(owners.values()))
    zones = {(site, lane.lane): lane.zone for site, place in catalogue.feed_world.sites.items() for lane in place.lanes}
    hindsight = Hindsight(wanted.old, wanted.new)
    for row in rows:
        person = people.get(owners[row["card_id"]]) if row["card_id"] in owners else None
        if person is None:
            _leave_out(history, "no such card here")
            continue
        zone = zones.get((row["site_id"], row["lane_id"]))
        history.taps.append(
            hindsight.tap(
                row,
                zone=zone,
                person=person.id,
                keys=person.keys,
                old=person.old,
                new=person.new,
                mine=row["service_id"] == wanted.service,
            )
        )
    entries = []
    for row in units:
        person = people.get(owners[row["card_id"]]) if row["card_id"] in owners else None
        if person is not None:
            entries += _entries(row, person, wanted.new)
    history.start = Start(entries=tuple(entries))
    return history


async def _rows(conn: Connection, catalogue: Catalogue, wanted: Wanted, history: History) -> list[Row]:
    own = catalogue.feed_world.sites.keys()
    offered: set[str] = set()
    for service in (wanted.old, wanted.new):
        if service is not None:
            offered |= set(own) if service.sites is None else set(service.sites)
    kept: list[Row] = []
    cursor = conn.cursor(
        queries().life.replay_taps.sql.rstrip(";\n"),
        wanted.tenant,
        wanted.since,
        wanted.until,
        wanted.service,
        sorted(offered),
        wanted.old is None,
        prefetch=CHUNK,
    )
    async for row in cursor:
        if row["card_tenant"] != wanted.tenant:
            _leave_out(history, "card of another council")
        elif row["reason"] in NOT_DECIDED:
            _leave_out(history, "not decided by a service document")
        else:
            kept.append(row)
    return kept


async def _units_before(conn: Connection, wanted: Wanted) -> Any:
    found = queries().life.units_before(
        conn,
        tenant=wanted.tenant,
        service_id=wanted.service,
        since=wanted.since - LONGEST_PERIOD,
        until=wanted.since,
    )
    async for row in found:
        if row["effects"]:
            yield row


async def _owners(conn: Connection, tenant: str, card_ids: Iterable[bytes]) -> dict[bytes, UUID]:
    owners: dict[bytes, UUID] = {}
    for chunk in _chunks(sorted(card_ids)):
        found = queries().life.replay_cards(conn, tenant=tenant, card_ids=chunk)
        owners.update({row["card_id"]: row["person_id"] async for row in found})
    return owners


async def _people(conn: Connection, catalogue: Catalogue, wanted: Wanted, people: set[UUID]) -> dict[UUID, _Person]:
    """Profiles of everybody concerned, interned: most people share theirs with many."""
    horizon = Horizon(
        start=Instant(int(wanted.since.timestamp()) - EDGE), end=Instant(int(wanted.until.timestamp()) + EDGE)
    )
    at = Instant(int(wanted.until.timestamp()))
    today = catalogue.today(wanted.until)
    pool: dict[Profile, Profile] = {}

    def interned(profile: Profile) -> Profile:
        return pool.setdefault(profile, profile)

    found: dict[UUID, _Person] = {}
    for chunk in _chunks(sorted(people)):
        facts = await load_facts(conn, wanted.tenant, chunk, today=today)
        for person, known in facts.items():
            old = (
                None if wanted.old is None else interned(compile_profile(known, [wanted.old], catalogue.world, horizon))
            )
            new = interned(compile_profile(known, [wanted.new], catalogue.world, horizon))
            found[person] = _Person(str(person), old, new, account_keys(known, wanted.new, at))
    return found


def _entries(row: Row, person: _Person, service: CompiledService) -> list[tuple[str, str, int, Instant]]:
    """Units of an old tap under the key that the account is kept by, which the tap itself only names opaquely."""
    scopes = {limit.account: limit.scope for limit in service.document.limits if isinstance(limit, (Quota, Balance))}
    at = Instant(int(row["happened_at"].timestamp()))
    return [
        (effect["account"], person.keys.get(scopes[effect["account"]]) or person.id, int(effect["units"]), at)
        for effect in row["effects"]
        if effect.get("account") in scopes and isinstance(effect.get("units"), int)
    ]


def _chunks(values: Sequence[Any]) -> Iterable[list[Any]]:
    for start in range(0, len(values), CHUNK):
        yield list(values[start : start + CHUNK])


def _leave_out(history: History, why: str) -> None:
    history.left_out[why] = history.left_out.get(why, 0) + 1


__all__ = ["History", "Wanted", "load_history"]
