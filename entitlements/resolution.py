"""Names of a service document looked up in the world."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfoNotFoundError

from entitlements.calendars import MAX_ORDINAL, LocalTime, Openings, local_time
from entitlements.durations import parse_date
from entitlements.errors import DocumentError, Problem
from entitlements.service import ServiceDocument, Window
from entitlements.world import World

EVERY_DAY = frozenset(range(7))


class Resolver:
    """Names of a document looked up in the world; what is missing is collected, then raised together."""

    def __init__(self, document: ServiceDocument, world: World) -> None:
        self._document = document
        self._world = world
        self._problems: list[Problem] = []

    def finish(self) -> None:
        """Raises DocumentError where a name was not found."""
        if self._problems:
            raise DocumentError(self._problems, name=f"service {self._document.id}")

    def _missing(self, pointer: str, what: str, name: str, known: Sequence[str]) -> None:
        listed = ", ".join(sorted(known)) or "none"
        self._problems.append(
            Problem(pointer=pointer, message=f"there is no {what} {name}", advice=f"Add it, or use one of: {listed}.")
        )

    def zone(self) -> LocalTime:
        """The tenant's zone."""
        tenant = self._world.tenants.get(self._document.tenant)
        if tenant is None:
            self._missing("/tenant", "tenant", self._document.tenant, list(self._world.tenants))
            return local_time("UTC")
        try:
            return local_time(tenant.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            self._missing("/tenant", "time zone", tenant.timezone, ["Europe/London"])
            return local_time("UTC")

    def sites(self) -> frozenset[str] | None:
        """Sites of ``where``; ``None`` for every site."""
        where = self._document.where
        if where is None:
            return None
        found: set[str] = set()
        for index, name in enumerate(where.sites):
            if not name.startswith("@"):
                found.add(name)
            elif name in self._world.site_sets:
                found |= self._world.site_sets[name]
            else:
                self._missing(f"/where/sites/{index}", "site set", name, list(self._world.site_sets))
        return frozenset(found)

    def items(self) -> frozenset[str] | None:
        """Items of ``allow_only_items``; ``None`` for every item."""
        if self._document.items is None:
            return None
        found: set[str] = set()
        for name in self._document.items:
            if not name.startswith("@"):
                found.add(name)
            elif name in self._world.item_lists:
                found |= self._world.item_lists[name]
            else:
                self._missing("/allow_only_items", "item list", name, list(self._world.item_lists))
        return frozenset(found)

    def openings(self, zone: LocalTime) -> Openings | None:
        """Windows, closures and service dates; ``None`` where the document says nothing of hours."""
        when, valid = self._document.when, self._document.valid
        if when is None:
            return None
        windows = when.windows
        if windows is None:
            windows = (Window(days=EVERY_DAY, start=0, until=0),)
        asks_holidays = any(window.holidays != "include" for window in windows)
        return Openings(
            zone,
            windows,
            closed=self._days("/when/closed", when.closed),
            holidays=self._days("/when/holidays", (when.holidays,)) if asks_holidays else frozenset(),
            first=1 if valid.start is None else valid.start.toordinal(),
            last=MAX_ORDINAL if valid.until is None else valid.until.toordinal(),
        )

    def _days(self, pointer: str, entries: Sequence[str]) -> frozenset[int]:
        days: set[int] = set()
        for name in entries:
            if not name.startswith("@"):
                days.add(parse_date(name).toordinal())
            elif name in self._world.calendars:
                days |= {day.toordinal() for day in self._world.calendars[name]}
            else:
                self._missing(pointer, "calendar", name, list(self._world.calendars))
        return frozenset(days)
