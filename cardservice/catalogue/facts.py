"""From rows to what the person rules ask: everything known of many people in two queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final
from uuid import UUID

from cardservice.db import Connection, queries
from entitlements.facts import Delegation, PersonFacts, Span, Statements
from entitlements.model import PersonId, SiteId, TenantId

STATEMENTS: Final = ("residency", "evidence", "member_of", "permit", "role", "linked")
"""Kinds of facts that hold from day to day; the rules get their days and decide."""


@dataclass(slots=True)
class _Gathered:
    """Facts of one person while their rows come in."""

    spans: dict[str, dict[str, list[Span]]] = field(default_factory=dict)
    prerequisites: dict[str, set[SiteId]] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    delegates: list[Delegation] = field(default_factory=list)

    def add(self, row: Mapping[str, Any], today: date) -> None:
        kind, name, detail = row["kind"], row["name"], row["detail"]
        start, until = row["from_date"], row["until_date"]
        if kind in STATEMENTS:
            self.spans.setdefault(kind, {}).setdefault(name, []).append(Span(start, until, detail.get("id")))
        elif kind == "delegate":
            self.delegates.append(
                Delegation(
                    person=PersonId(detail["person"]),
                    scopes=frozenset(detail["scopes"]),
                    start=start,
                    until=until,
                    max_pence=detail.get("max_pence"),
                )
            )
        # Blocks and prerequisites have no days in the rules: they hold today or not, and each day is compiled anew.
        elif (start is None or start <= today) and (until is None or today <= until):
            if kind == "block":
                self.blocked.add(name)
            else:
                self.prerequisites.setdefault(name, set()).update(SiteId(site) for site in detail["sites"])

    def statements(self, kind: str) -> Statements:
        return {name: tuple(spans) for name, spans in self.spans.get(kind, {}).items()}


async def load_facts(
    conn: Connection, tenant: str, people: Sequence[UUID] | None, *, today: date
) -> dict[UUID, PersonFacts]:
    """What is known of the named people, or of everybody who holds a card.

    Args:
        conn: a transaction of the tenant.
        people: person ids; ``None`` for all.
        today: the tenant's local day, on which blocks and prerequisites hold or not.
    """
    wanted = None if people is None else list(people)
    gathered: dict[UUID, _Gathered] = {}
    async for row in queries().catalogue.facts(conn, tenant=tenant, people=wanted):
        gathered.setdefault(row["person_id"], _Gathered()).add(row, today)
    nothing = _Gathered()
    return {
        row["person_id"]: _facts(row, gathered.get(row["person_id"], nothing))
        async for row in queries().catalogue.people(conn, tenant=tenant, people=wanted)
    }


def gather_facts(person: Mapping[str, Any], statements: Iterable[Mapping[str, Any]], today: date) -> PersonFacts:
    """What is known of one person.

    Args:
        person: a row with ``person_id``, ``household`` and ``date_of_birth``.
        statements: rows of ``fact``.
        today: the tenant's local day, on which blocks and prerequisites hold or not.
    """
    known = _Gathered()
    for row in statements:
        known.add(row, today)
    return _facts(person, known)


def _facts(row: Mapping[str, Any], known: _Gathered) -> PersonFacts:
    residency = {TenantId(name): spans for name, spans in known.statements("residency").items()}
    return PersonFacts(
        id=PersonId(str(row["person_id"])),
        household=row["household"],
        date_of_birth=row["date_of_birth"],
        residency=residency or None,  # where nobody has stated an address, it is unknown
        evidence=known.statements("evidence"),
        member_of=known.statements("member_of"),
        permit=known.statements("permit"),
        role=known.statements("role"),
        linked=known.statements("linked"),
        prerequisites={name: frozenset(sites) for name, sites in known.prerequisites.items()},
        blocked=frozenset(known.blocked),
        delegates=tuple(known.delegates),
    )
