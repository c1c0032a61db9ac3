"""From a JSON value that has passed the schema to a :class:`~entitlements.service.ServiceDocument`.

What a schema cannot say is checked here: dates in order, ages that leave somebody, leases of quotas that exist.
"""

from __future__ import annotations

from datetime import date
from typing import Any as Json

from entitlements.durations import parse_date, parse_duration
from entitlements.errors import Problem
from entitlements.model import AreaId, ServiceId, TenantId, ZoneId
from entitlements.service import (
    EVERY_BLOCK,
    AccompaniedBy,
    ActsFor,
    Age,
    All,
    Any,
    Balance,
    Band,
    BookingRule,
    Capacity,
    Confirm,
    Delegated,
    Expression,
    Holds,
    Limit,
    LoanRule,
    Not,
    Offline,
    Period,
    Pin,
    Prerequisite,
    PresenceRule,
    Presentation,
    Quota,
    Requirement,
    ResidentOf,
    ServiceDocument,
    SpendCap,
    Upstream,
    Valid,
    When,
    Where,
    Window,
)

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ANY_COMMON_YEAR = 2023
"""A year without 29 February, to test that a month and day exist every year."""

TAKEN_NAMES = {"prerequisite": ("adult_card", "confirmation"), "upstream": ("delegate",)}
"""Names that would build a reason of the fixed list: ``needs_adult_card``, ``delegate_blocked``..."""


class Faults:
    """Problems found while building."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, pointer: str, message: str, advice: str) -> None:
        """Note one problem."""
        self.problems.append(Problem(pointer=pointer, message=message, advice=advice))


def build(document: Json, faults: Faults) -> ServiceDocument:
    """The document as values; only to be used where ``faults`` stays empty."""
    limits = tuple(_limit(limit, f"/limits/{index}", faults) for index, limit in enumerate(document.get("limits", ())))
    deny = document.get("deny")
    items = document.get("allow_only_items")
    parts = document["id"].split(".")
    who = document.get("who")
    return ServiceDocument(
        id=ServiceId(document["id"]),
        tenant=TenantId(document["tenant"]),
        area=AreaId(document.get("area") or parts[1 if len(parts) > 1 else 0]),
        kind=document["kind"],
        title=document["title"],
        description=document.get("description", ""),
        valid=_valid(document.get("valid", {}), faults),
        who=None if who is None else _expression(who, "/who", faults),
        where=_where(document.get("where")),
        when=_when(document.get("when")),
        requires=_requirements(document.get("requires", ()), faults),
        limits=limits,
        presence=_presence(document.get("presence", {})),
        delegation=_delegation(document.get("delegation", {})),
        price=_price(document.get("price", ()), faults),
        deny=EVERY_BLOCK if deny is None else _blocks(deny),
        items=None if items is None else tuple(_names(items)),
        offline=_offline(document.get("offline", {}), limits, faults),
    )


def _names(value: Json) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _blocks(value: Json) -> frozenset[str]:
    return frozenset(value["blocks"] if isinstance(value, dict) else value)


def _day(value: str | None) -> date | None:
    return None if value is None else parse_date(value)


def _seconds(value: str | None) -> int | None:
    return None if value is None else parse_duration(value)


def _time(value: str) -> int:
    return int(value[:2]) * 3600 + int(value[3:]) * 60


def _valid(value: Json, faults: Faults) -> Valid:
    valid = Valid(start=_day(value.get("from")), until=_day(value.get("until")))
    if valid.start is not None and valid.until is not None and valid.until < valid.start:
        faults.add("/valid/until", "the last day is before the first", "Put from and until in order.")
    return valid


def _expression(value: Json, pointer: str, faults: Faults) -> Expression:
    """A condition; several keys in one object must all hold."""
    parts = [_condition(key, value[key], f"{pointer}/{key}", faults) for key in value]
    return parts[0] if len(parts) == 1 else All(items=tuple(parts))


def _condition(key: str, value: Json, pointer: str, faults: Faults) -> Expression:
    if key in ("all", "any"):
        items = tuple(_expression(item, f"{pointer}/{index}", faults) for index, item in enumerate(value))
        return All(items=items) if key == "all" else Any(items=items)
    if key == "not":
        return Not(item=_expression(value, pointer, faults))
    if key == "age":
        return _age(value, pointer, faults)
    if key == "resident_of":
        return ResidentOf(tenants=tuple(TenantId(name) for name in _names(value)))
    return Holds(statement=key, names=tuple(_names(value)))  # type: ignore[arg-type]  # the schema fixed the word


def _age(value: Json, pointer: str, faults: Faults) -> Age:
    lows = [years for years in (value.get("gte"), _after(value.get("gt"))) if years is not None]
    highs = [years for years in (value.get("lt"), _after(value.get("lte"))) if years is not None]
    age = Age(low=max(lows, default=None), high=min(highs, default=None))
    if age.high is not None and (age.low or 0) >= age.high:
        faults.add(pointer, "nobody has that age", "Make the lower age less than the upper.")
    return age


def _after(years: int | None) -> int | None:
    return None if years is None else years + 1


def _where(value: Json) -> Where | None:
    if value is None:
        return None
    return Where(sites=tuple(value["sites"]), zones=tuple(ZoneId(zone) for zone in value.get("zones", ())))


def _when(value: Json) -> When | None:
    if value is None:
        return None
    windows = value.get("windows")
    return When(
        windows=None if windows is None else tuple(map(_window, windows)),
        closed=tuple(_names(value.get("closed", ()))),
        holidays=value.get("holidays", "@uk-bank-holidays"),
    )


def _window(value: Json) -> Window:
    return Window(
        days=frozenset(DAYS.index(day) for day in value.get("days", DAYS)),
        start=_time(value["from"]),
        until=_time(value["until"]),
        holidays=value.get("holidays", "include"),
    )


def _requirements(value: Json, faults: Faults) -> tuple[Requirement, ...]:
    for index, rule in enumerate(value):
        for key, taken in TAKEN_NAMES.items():
            if rule.get(key) in taken:
                message = f"{rule[key]!r} would make a reason that means something else"
                faults.add(f"/requires/{index}/{key}", message, "Choose another name.")
    return tuple(map(_requirement, value))


def _requirement(value: Json) -> Requirement:
    if "prerequisite" in value:
        return Prerequisite(name=value["prerequisite"], scope=value.get("scope", "site"))
    if "factor" in value:
        return Pin()
    if "presentation" in value:
        return Presentation(kinds=frozenset(_names(value["presentation"])))
    return Upstream(
        name=value["upstream"],
        check=value.get("check", "not_blocked"),
        max_age=parse_duration(value["max_age"]),
        if_unknown=value.get("if_unknown", "deny"),
    )


def _period(value: Json, pointer: str, faults: Faults) -> Period:
    name = value["period"]
    for key, owner in (("year_start", "year"), ("anchor", "night"), ("days", "rolling")):
        if key in value and name != owner:
            faults.add(f"{pointer}/{key}", f"{key} has no meaning for period {name}", f"Remove it, or use {owner}.")
    if name == "rolling" and "days" not in value:
        faults.add(f"{pointer}/period", "a rolling period needs its length", 'Add "days".')
    month, day = (int(part) for part in value.get("year_start", "01-01").split("-"))
    try:
        date(ANY_COMMON_YEAR, month, day)
    except ValueError:
        faults.add(f"{pointer}/year_start", "that day does not exist every year", "Choose another day.")
    return Period(
        name=name, year_start=(month, day), anchor=_time(value.get("anchor", "12:00")), days=value.get("days", 1)
    )


def _limit(value: Json, pointer: str, faults: Faults) -> Limit:
    ((key, rule),) = value.items()
    pointer = f"{pointer}/{key}"
    if key == "quota":
        overshoot = rule.get("overshoot", "none")
        return Quota(
            account=rule["id"],
            unit=rule.get("unit", "visit"),
            period=_period(rule, pointer, faults),
            max=rule["max"],
            scope=rule.get("scope", "person"),
            overshoot=None if overshoot == "none" else overshoot,
            counts=rule.get("counts", "used"),
        )
    if key == "balance":
        return _balance(rule, pointer, faults)
    if key == "booking":
        return BookingRule(
            resource=rule["resource"],
            early=parse_duration(rule.get("early", "PT0S")),
            late=_seconds(rule.get("late")),
            party_max=rule.get("party_max"),
        )
    if key == "loan":
        return LoanRule(
            pool=rule["pool"],
            max_out=rule["max_out"],
            period=_seconds(rule.get("period")),
            renewals=rule.get("renewals", 0),
            overdue_days=rule.get("block_if_overdue_days"),
        )
    zone = rule.get("zone")
    return Capacity(max=rule["max"], zone=None if zone is None else ZoneId(zone))


def _balance(rule: Json, pointer: str, faults: Faults) -> Balance:
    confirm, cap = rule.get("confirm"), rule.get("per_period")
    return Balance(
        account=rule["account"],
        unit=rule.get("unit", "GBP"),
        confirm=None
        if confirm is None
        else Confirm(over_pence=confirm["over_pence"], by=tuple(confirm.get("by", ("holder",)))),
        hold=_seconds(rule.get("hold")),
        cap=None
        if cap is None
        else SpendCap(period=_period(cap, f"{pointer}/per_period", faults), max_pence=cap["max_pence"]),
        scope=rule.get("scope", "person"),
    )


def _presence(value: Json) -> PresenceRule:
    reset = value.get("reset")
    return PresenceRule(
        anti_passback=value.get("anti_passback"),
        reset=None if reset == "never" else reset,
        min_gap=_seconds(value.get("min_gap")),
        max_stay=_seconds(value.get("max_stay")),
        one_at_a_time=value.get("one_at_a_time"),
    )


def _delegation(value: Json) -> Delegated:
    acts_for, accompanied = value.get("acts_for"), value.get("accompanied_by")
    return Delegated(
        acts_for=None
        if acts_for is None
        else ActsFor(
            scopes=frozenset(acts_for["scopes"]),
            max_pence=acts_for.get("max_pence_per_action"),
            needs=tuple(acts_for.get("needs", ())),
        ),
        accompanied_by=None
        if accompanied is None
        else AccompaniedBy(
            children_under=accompanied["children_under"],
            max=accompanied["max"],
            relations=tuple(accompanied.get("relations", ())),
        ),
    )


def _price(value: Json, faults: Faults) -> tuple[Band, ...]:
    bands = []
    for index, band in enumerate(value):
        condition = band["when"]
        when = None if condition is True else _expression(condition, f"/price/{index}/when", faults)
        bands.append(Band(name=band["band"], pence=band["pence"], when=when))
        if when is None and index + 1 < len(value):
            faults.add(f"/price/{index}", "no band after the default is ever reached", "Put the default last.")
    return tuple(bands)


def _offline(value: Json, limits: tuple[Limit, ...], faults: Faults) -> Offline:
    accounts = {limit.account for limit in limits if isinstance(limit, Quota)}
    for account in value.get("lease", {}):
        if account not in accounts:
            advice = f"Lease one of: {', '.join(sorted(accounts)) or 'this service has no quota'}."
            faults.add(f"/offline/lease/{account}", f"there is no quota {account} in this service", advice)
    return Offline(
        max_stale=_seconds(value.get("max_stale")),
        mode=value.get("mode", "normal"),
        lease=tuple(sorted(value.get("lease", {}).items())),
        on_overspend=value.get("on_overspend", "deny"),
        capacity=value.get("capacity", "enforce"),
        presence=value.get("presence", "enforce"),
        spend=value.get("spend", "deny"),
        bookings=value.get("bookings", "cached_today"),
    )
