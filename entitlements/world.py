"""The world that service documents refer to: tenants, site sets, calendars and item lists (``rescard.world/1``)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal
from zoneinfo import ZoneInfoNotFoundError

import msgspec

from entitlements.calendars import local_time
from entitlements.durations import parse_date
from entitlements.errors import Problem, WorldError
from entitlements.jsontext import TextError, line_of, lines, read_json
from entitlements.model import SiteId, TenantId
from entitlements.shapes import check, pointer_step, schema

FORMAT = "rescard.world/1"


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A council's time: IANA zone and the day on which a 29 February birthday falls in common years."""

    timezone: str
    leap_birthday: Literal["03-01", "02-28"] = "03-01"


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Sets, calendars and lists carry their ``@`` in the key. ``sites`` are further sites that no set names."""

    tenants: Mapping[TenantId, Tenant]
    site_sets: Mapping[str, frozenset[SiteId]] = msgspec.field(default_factory=dict)
    calendars: Mapping[str, frozenset[date]] = msgspec.field(default_factory=dict)
    item_lists: Mapping[str, frozenset[str]] = msgspec.field(default_factory=dict)
    sites: frozenset[SiteId] = frozenset()


def load_world(text: str) -> World:
    """Read a world document from JSON text.

    Raises:
        WorldError: with every problem, its pointer, its line and what to do.
    """
    try:
        value = read_json(text)
    except TextError as error:
        raise WorldError([error.problem]) from None
    try:
        return parse_world(value)
    except WorldError as error:
        positions = lines(text)
        raise WorldError(
            [msgspec.structs.replace(problem, line=line_of(problem.pointer, positions)) for problem in error.problems]
        ) from None


def parse_world(value: Any) -> World:
    """The same from an already decoded JSON value.

    Raises:
        WorldError: problems carry pointers into ``value``, and no lines.
    """
    problems = check(value, schema("world-1"))
    if not problems:
        problems = _unknown_zones(value)
    if problems:
        raise WorldError(problems)
    return World(
        tenants={
            TenantId(name): Tenant(timezone=tenant["timezone"], leap_birthday=tenant.get("leap_birthday", "03-01"))
            for name, tenant in value["tenants"].items()
        },
        site_sets={
            name: frozenset(SiteId(site) for site in sites) for name, sites in value.get("site_sets", {}).items()
        },
        calendars={name: frozenset(map(parse_date, days)) for name, days in value.get("calendars", {}).items()},
        item_lists={name: frozenset(items) for name, items in value.get("item_lists", {}).items()},
        sites=frozenset(SiteId(site) for site in value.get("sites", ())),
    )


def _unknown_zones(value: Any) -> list[Problem]:
    problems = []
    for name, tenant in value["tenants"].items():
        try:
            local_time(tenant["timezone"])
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problems.append(
                Problem(
                    pointer=f"/tenants{pointer_step(name)}/timezone",
                    message=f"there is no time zone {tenant['timezone']!r}",
                    advice="Write an IANA name such as Europe/London.",
                )
            )
    return problems
