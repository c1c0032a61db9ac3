"""Parts of a case, already of the right shape, as the values that compile and decide take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from entitlements.compiled import CompiledService
from entitlements.durations import parse_date, parse_duration, parse_instant
from entitlements.facts import ALWAYS, Delegation, PersonFacts, Span, Statements
from entitlements.ledger import Entries
from entitlements.model import Instant, PersonId, SiteId, TenantId
from entitlements.situation import Booking, Presence, State, TapInput, UpstreamCheck


class Forms(ValueError):
    """Values of a case that contradict each other."""


def person(value: Mapping[str, Any]) -> PersonFacts:
    """Holder or presenter of a case.

    A missing date of birth or residency is unknown; any other missing fact is one that the person does not
    have; ``null`` is unknown everywhere.
    """
    return PersonFacts(
        id=PersonId(value["id"]),
        household=value.get("household"),
        date_of_birth=_day(value.get("date_of_birth")),
        residency=_residency(value.get("residency")),
        evidence=_statements(value.get("evidence", {})),
        member_of=_statements(value.get("member_of", {})),
        permit=_statements(value.get("permit", {}), numbered=True),
        role=_statements(value.get("role", {})),
        linked=_statements(value.get("linked", {})),
        prerequisites={name: _sites(sites) for name, sites in value.get("prerequisites", {}).items()},
        blocked=frozenset(name for name, blocked in value.get("blocked", {}).items() if blocked),
        delegates=tuple(map(_delegation, value.get("delegates", ()))),
    )


def _day(value: str | None) -> date | None:
    return None if value is None else parse_date(value)


def _span(value: Mapping[str, Any], number: str | None = None) -> Span:
    return Span(_day(value.get("from")), _day(value.get("until")), value.get("id", number))


def _residency(value: list[Mapping[str, Any]] | None) -> dict[TenantId, tuple[Span, ...]] | None:
    if value is None:
        return None
    found: dict[TenantId, tuple[Span, ...]] = {}
    for residence in value:
        tenant = TenantId(residence["tenant"])
        found[tenant] = (*found.get(tenant, ()), _span(residence))
    return found


def _statements(value: Any, *, numbered: bool = False) -> Statements | None:
    """Names, or names with spans. A permit of a case has no number but its name."""
    if value is None:
        return None
    if isinstance(value, list):
        return {name: (Span(id=name),) if numbered else ALWAYS for name in value}
    return {
        name: tuple(_span(span, name if numbered else None) for span in (spans if isinstance(spans, list) else [spans]))
        for name, spans in value.items()
    }


def _sites(value: str | Iterable[str]) -> frozenset[SiteId]:
    return frozenset(SiteId(site) for site in ([value] if isinstance(value, str) else value))


def _delegation(value: Mapping[str, Any]) -> Delegation:
    return Delegation(
        person=PersonId(value["person"]),
        scopes=frozenset(value["scopes"]),
        start=_day(value.get("from")),
        until=_day(value.get("until")),
        max_pence=value.get("max_pence"),
    )


def read_tap(value: Mapping[str, Any]) -> TapInput:
    """``tap`` of a case."""
    return TapInput(
        pin=value.get("pin"),
        presentation=value.get("presentation") or "static",
        units=value.get("units", 1),
        amount_pence=value.get("amount_pence"),
        item=value.get("item"),
        confirmed=value.get("confirmed", False),
        children=value.get("children", 0),
    )


def read_state(value: Mapping[str, Any], reader: Mapping[str, Any], service: CompiledService) -> State:
    """``state`` of a case, with the reader's leases.

    Raises:
        Forms: a booking that ends before it starts.
    """
    booking = value.get("booking")
    if booking is not None and parse_instant(booking["end"]) <= parse_instant(booking["start"]):
        raise Forms("/state/booking: it ends before it starts. Put start and end in order.")
    presence = value.get("presence")
    return State(
        ledger=Entries(
            (entry["account"], entry["key"], entry["units"], parse_instant(entry["at"]))
            for entry in value.get("ledger", ())
        ),
        leases=reader.get("leases", {}),
        presence=None
        if presence is None
        else Presence(
            inside=presence.get("inside", False),
            since=_instant(presence.get("since")),
            last=_instant(presence.get("last")),
            zone_count=presence.get("zone_count"),
        ),
        upstream={
            name: UpstreamCheck(age=parse_duration(check["age"]), not_blocked=check.get("not_blocked"))
            for name, check in value.get("upstream", {}).items()
            if check is not None
        },
        booking=None
        if booking is None
        else Booking(
            start=parse_instant(booking["start"]),
            end=parse_instant(booking["end"]),
            checked_in=booking.get("checked_in", False),
        ),
        balance_pence=value.get("balance_pence"),
        loans=tuple(_due(loan["due"], service) for loan in value.get("loans", ())),
    )


def _instant(value: str | None) -> Instant | None:
    return None if value is None else parse_instant(value)


def _due(value: str, service: CompiledService) -> date:
    """Due dates are local days; an instant falls on the local day it lies in."""
    if len(value) == len("YYYY-MM-DD"):
        return parse_date(value)
    return date.fromordinal(service.time.day(parse_instant(value)))
