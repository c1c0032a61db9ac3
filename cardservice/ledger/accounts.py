"""Whose units a service takes, and in which period: from facts and document to real ids and instants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

import msgspec

from cardservice.db import Connection, queries
from entitlements.compile import CompiledService, account_keys, compile_profile
from entitlements.facts import PersonFacts
from entitlements.model import Instant, SiteId
from entitlements.periods import PeriodBounds
from entitlements.profile import Horizon
from entitlements.service import Period, Quota
from entitlements.situation import NOTHING, PLAIN_TAP, Moment, Situation, Subject
from entitlements.world import World

Moves = Mapping[UUID, Sequence[tuple[datetime, str | None]]]
"""By person: until when they lived in which household before, oldest first."""


async def household_moves(conn: Connection, tenant: str, people: Iterable[UUID]) -> Moves:
    """Where these people lived before."""
    moves: dict[UUID, list[tuple[datetime, str | None]]] = {}
    async for row in queries().ledger.moves(conn, tenant=tenant, people=list(people)):
        moves.setdefault(row["person_id"], []).append((row["until"], row["household"]))
    return moves


def facts_at(facts: PersonFacts, moves: Sequence[tuple[datetime, str | None]], at: datetime) -> PersonFacts:
    """The facts with the household of that time: units of an event before a move belong to the old household."""
    for until, household in moves:
        if at < until:
            return msgspec.structs.replace(facts, household=household)
    return facts


def holder_of(facts: PersonFacts, service: CompiledService, scope: str, at: Instant) -> tuple[str, str]:
    """Scope and real id under which units are kept: the person's own where the scope has nobody else (decision 16)."""
    keys = account_keys(facts, service, at)
    return (scope, keys[scope]) if scope in keys else ("person", keys["person"])


def quotas(service: CompiledService) -> list[Quota]:
    """The quotas of a service."""
    return [limit for limit in service.document.limits if isinstance(limit, Quota)]


@lru_cache(maxsize=512)
def _bounds(period: Period, zone: str) -> PeriodBounds:
    from entitlements.calendars import local_time

    return PeriodBounds(period, local_time(zone))


def period_of(
    service: CompiledService, period: Period, at: Instant, facts: PersonFacts | None, world: World
) -> tuple[Instant | None, Instant | None]:
    """``[since, until)`` of the period that holds an instant; ``None`` is open.

    Args:
        facts: of the person, for the period ``grant``, which begins where their unbroken right began.
    """
    bounds = _bounds(period, service.time.name)
    if not bounds.is_grant:
        return bounds.at(at)
    if facts is None:
        return None, None
    profile = compile_profile(facts, [service], world, Horizon(start=at, end=Instant(at + 1)))
    now = Situation(
        Subject(card=None), Moment(at=at, site=SiteId("")), PLAIN_TAP, NOTHING, profile.segments(service.id)
    )
    return now.grant_start, None


def instant(at: datetime) -> Instant:
    """Whole seconds since the epoch."""
    return Instant(int(at.timestamp()))


def moment_of(at: Instant | None) -> datetime | None:
    """The aware datetime of an instant; none where it is open."""
    return None if at is None else datetime.fromtimestamp(at, UTC)
