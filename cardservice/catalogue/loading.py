"""The catalogue of a tenant, ready to compile with: documents in force, its own and shared ones, and their world."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from cardservice.catalogue.documents import read_document
from cardservice.catalogue.sharing import qualified_document, qualified_name
from cardservice.db import Connection, queries
from entitlements.compile import CompiledService, compile_service
from entitlements.errors import EntitlementsError
from entitlements.model import SiteId, TenantId
from entitlements.wire.feed import FeedWorld, ServiceEntry, Site
from entitlements.world import FORMAT, Tenant, World

KEPT: Final = 32
"""Catalogues kept by a process: one a tenant, and the one before it while a change commits."""
COMPILER: Final = 1
"""Raised whenever the same facts and documents compile to something else: the next move of the horizon then looks at
everybody."""
AT_THE_GATE: Final = frozenset({"title", "description", "valid", "when", "offline"})
"""Members of a document that only gates look at: nothing that is compiled of people depends on them."""
LIST_KINDS: Final = {"site_set": "site_sets", "calendar": "calendars", "item_list": "item_lists"}
"""Kinds of lists and where they stand in ``rescard.world/1``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaCatalogue:
    """What one feed offers: the services compiled, and the documents as its readers get them."""

    services: tuple[CompiledService, ...] = ()
    entries: tuple[ServiceEntry, ...] = ()
    rules: str = "none"
    """Digest of all that a profile depends on besides facts and the day: rows of equal rules need no new look."""

    def entry(self, service: str) -> ServiceEntry:
        """The document of a service that is in force here. Raises KeyError where it is not."""
        return {entry.document["id"]: entry for entry in self.entries}[service]


NO_SERVICES: Final = AreaCatalogue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything a tenant's residents may be entitled to. ``stamp`` changes whenever any of it does."""

    tenant: str
    stamp: str
    world: World
    feed_world: FeedWorld
    areas: Mapping[str, AreaCatalogue]
    services: Mapping[str, CompiledService]
    """All of them by id."""

    def area(self, area: str) -> AreaCatalogue:
        """The services of an area; none where nothing is published in it."""
        return self.areas.get(area, NO_SERVICES)

    def service(self, service: str) -> CompiledService | None:
        """A service in force for this tenant's residents."""
        return self.services.get(service)

    @property
    def zone(self) -> ZoneInfo:
        """The tenant's local time."""
        return ZoneInfo(self.world.tenants[TenantId(self.tenant)].timezone)

    def today(self, now: datetime) -> date:
        """The tenant's local day."""
        return now.astimezone(self.zone).date()


_kept: OrderedDict[tuple[str, str], Catalogue] = OrderedDict()
"""By tenant and stamp, oldest use first. The stamp is of the content, so databases in one process do not mix."""


async def load_catalogue(conn: Connection, tenant: str) -> Catalogue:
    """The catalogue as this transaction sees it; compiled anew only when something of it changed.

    Raises:
        DocumentError: a document in force names something that the lists no longer have.
    """
    stamp = await queries().catalogue.stamp(conn, tenant=tenant)
    known = _kept.get((tenant, stamp))
    if known is None:
        known = _kept[tenant, stamp] = await _load(conn, tenant, stamp)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end((tenant, stamp))
    return known


async def _load(conn: Connection, tenant: str, stamp: str) -> Catalogue:
    ask = queries().catalogue
    zones = {
        TenantId(row["tenant"]): Tenant(timezone=row["timezone"], leap_birthday=row["leap_birthday"])
        async for row in ask.tenants(conn)
    }
    lists: dict[str, dict[str, list[str]]] = {place: {} for place in LIST_KINDS.values()}
    async for row in ask.lists(conn):
        name = row["name"] if row["tenant"] == tenant else qualified_name(row["tenant"], row["name"])
        lists[LIST_KINDS[row["kind"]]][name] = list(row["members"])
    sites: dict[str, Site] = {}
    others: list[str] = []
    async for row in ask.sites(conn):
        if row["tenant"] == tenant:
            sites[row["site_id"]] = site_value(row)
        else:
            others.append(row["site_id"])
    world = _world(zones, lists, [*sites, *others])
    areas: dict[str, tuple[list[CompiledService], list[ServiceEntry]]] = {}
    async for row in ask.published(conn, tenant=tenant):
        document = row["document"]
        if row["tenant"] != tenant:
            document = qualified_document(document, row["tenant"])
        services, entries = areas.setdefault(row["area"], ([], []))
        services.append(compile_service(read_document(document), world))
        entries.append(ServiceEntry(version=row["version"], document=document))
    return Catalogue(
        tenant=tenant,
        stamp=stamp,
        world=world,
        feed_world=FeedWorld(world=_wire(world), sites=sites),
        areas={
            area: AreaCatalogue(
                services=tuple(services), entries=tuple(entries), rules=_rules(services, entries, world)
            )
            for area, (services, entries) in areas.items()
        },
        services={str(service.id): service for services, _ in areas.values() for service in services},
    )


def _rules(services: Sequence[CompiledService], entries: Sequence[ServiceEntry], world: World) -> str:
    seen = [
        (
            {name: part for name, part in entry.document.items() if name not in AT_THE_GATE},
            None if service.sites is None else sorted(service.sites),
            world.tenants[service.tenant].timezone,
            world.tenants[service.tenant].leap_birthday,
        )
        for service, entry in zip(services, entries, strict=True)
    ]
    return hashlib.sha256(msgspec.json.encode((COMPILER, seen), order="sorted")).hexdigest()


async def service_of_version(
    conn: Connection, catalogue: Catalogue, service: str, version: int
) -> CompiledService | None:
    """A service as one version of its document had it; none where it cannot be read in today's world."""
    row = await queries().catalogue.version(conn, service_id=service, version=version)
    if row is None:
        return None
    document = row["document"]
    if row["tenant"] != catalogue.tenant:
        document = qualified_document(document, row["tenant"])
    try:
        return compile_service(read_document(document), catalogue.world)
    except EntitlementsError:
        return None


def site_value(row: Mapping[str, Any]) -> Site:
    """A row of ``site`` as readers get it."""
    return msgspec.convert({"site": row["site_id"], "name": row["name"], "lanes": row["lanes"]}, Site)


def _world(
    zones: Mapping[TenantId, Tenant], lists: Mapping[str, Mapping[str, Sequence[str]]], sites: Sequence[str]
) -> World:
    return World(
        tenants=zones,
        site_sets={name: frozenset(map(SiteId, members)) for name, members in lists["site_sets"].items()},
        calendars={
            name: frozenset(date.fromisoformat(day) for day in members) for name, members in lists["calendars"].items()
        },
        item_lists={name: frozenset(members) for name, members in lists["item_lists"].items()},
        sites=frozenset(map(SiteId, sites)),
    )


def _wire(world: World) -> dict[str, Any]:
    """``rescard.world/1`` of a world, in one order, so that the same world is the same bytes."""
    return {
        "schema": FORMAT,
        "tenants": {
            name: {"timezone": tenant.timezone, "leap_birthday": tenant.leap_birthday}
            for name, tenant in sorted(world.tenants.items())
        },
        "site_sets": {name: sorted(members) for name, members in sorted(world.site_sets.items())},
        "calendars": {name: sorted(day.isoformat() for day in days) for name, days in sorted(world.calendars.items())},
        "item_lists": {name: sorted(members) for name, members in sorted(world.item_lists.items())},
        "sites": sorted(world.sites),
    }
