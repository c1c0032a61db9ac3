"""The difference between two versions of a service, told as a difference and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from entitlements.explain import limits as limit_words
from entitlements.explain.condition_changes import who_changes
from entitlements.explain.explanation import Line, explain
from entitlements.explain.hour_changes import when_changes
from entitlements.explain.phrases import condition, people
from entitlements.explain.words import Names, day, humanise, length, listed, money, plural, sentence
from entitlements.service import Band, Capacity, Limit, Offline, Quota, ServiceDocument, Valid, Where
from entitlements.world import World

Tell = Callable[[], list[str]]

_STARTS = frozenset(
    ["a", "after", "bookings", "children", "each", "entries", "everyone", "if", "nobody", "no", "once"]
) | {
    "people",
    "that",
    "the",
    "they",
    "today’s",
    "visits",
}
"""Words with which lines of an explanation begin."""
_UNTOLD = "A setting changes that does not alter how the service reads, in: {fields}."


def explain_change(
    old: ServiceDocument, new: ServiceDocument, world: World, *, titles: Mapping[str, str] | None = None
) -> list[str]:
    """Sentences on what differs, none where nothing does.

    Args:
        old: the version in force.
        new: the version that would replace it.
        world: what sets and calendars stand for; one world for both.
        titles: as for :func:`~entitlements.explain.explain`.
    """
    names = Names(titles)
    told = [*_identity(old, new, names)]
    told += who_changes(old.who, new.who, names)
    told += _where(old.where, new.where, world, names)
    told += _valid(old.valid, new.valid)
    told += when_changes(old.when, new.when, world, names)
    told += _prices(old.price, new.price, names)
    told += _limits(old.limits, new.limits, names)
    told += _lines_changed(limit_words.presence_lines(old), limit_words.presence_lines(new))
    told += _sections(old, new, world, titles)
    if not told:
        told = _untold(old, new)
    return [sentence(text) for text in told]


def _identity(old: ServiceDocument, new: ServiceDocument, names: Names) -> list[str]:
    told = []
    if old.title != new.title:
        told.append(f"The service is now called “{new.title}”, not “{old.title}”")
    if old.tenant != new.tenant:
        told.append(f"This is now a {names.proper(new.tenant)} service, not a {names.proper(old.tenant)} one")
    if old.description != new.description:
        told.append("The description changes" if new.description else "The description is taken out")
    return told


def _where(old: Where | None, new: Where | None, world: World, names: Names) -> list[str]:
    if old == new:
        return []
    if new is None:
        return ["People can now use it at every site that has a gate for it"]
    if old is None:
        only = f"People can now only use it at {listed(names.proper(site) for site in new.sites)}"
        return [only, *_zones((), new.zones, names)]
    told = []
    before, after = _sites(old, world), _sites(new, world)
    added = _places(new, after - before, world, names)
    gone = _places(old, before - after, world, names)
    if added:
        told.append(f"People can now {'also ' if before & after else ''}use it at {listed(added)}")
    if gone:
        told.append(f"People can no longer use it at {listed(gone, 'or')}")
    if old.sites != new.sites and not told:
        told.append("The list of sites is put differently, for the same sites")
    return told + _zones(old.zones, new.zones, names)


def _sites(where: Where, world: World) -> frozenset[str]:
    sites: set[str] = set()
    for name in where.sites:
        sites |= world.site_sets.get(name, frozenset((name,))) if name.startswith("@") else {name}
    return frozenset(sites)


def _places(where: Where, wanted: frozenset[str], world: World, names: Names) -> list[str]:
    """The wanted sites by the names in the document: a set where all of it is meant, else its sites."""
    told: dict[str, None] = {}
    for name in where.sites:
        sites = world.site_sets.get(name, frozenset((name,))) if name.startswith("@") else frozenset((name,))
        if sites and sites <= wanted:
            told[names.proper(name)] = None
        else:
            told.update(dict.fromkeys(names.proper(site) for site in sorted(sites & wanted)))
    return list(told)


def _zones(old: Sequence[str], new: Sequence[str], names: Names) -> list[str]:
    if set(old) == set(new):
        return []
    if not new:
        return [
            "It is no longer limited to one part of a site"
            if len(old) == 1
            else "It is no longer limited to parts of a site"
        ]
    zones = listed(names.thing(zone) for zone in new)
    return [f"It now only opens {'this area' if len(new) == 1 else 'these areas'}: {zones}"]


def _valid(old: Valid, new: Valid) -> list[str]:
    told = []
    if old.start != new.start:
        if new.start is None:
            told.append("The service no longer has a first day")
        else:
            told.append(f"The first day is now {day(new.start)}" + (f", not {day(old.start)}" if old.start else ""))
    if old.until != new.until:
        if new.until is None:
            told.append("The service no longer has a last day")
        else:
            told.append(f"The last day is now {day(new.until)}" + (f", not {day(old.until)}" if old.until else ""))
    return told


def _prices(old: Sequence[Band], new: Sequence[Band], names: Names) -> list[str]:
    if tuple(old) == tuple(new):
        return []
    before, after = _by_name(old), _by_name(new)
    if before is None or after is None:
        return ["The prices change: " + listed(f"{money(band.pence)} for {_whom(band, names)}" for band in new)]
    told = []
    for name, band in after.items():
        title, was = names.thing(name), before.get(name)
        if was is None:
            told.append(f"There is a new {title} price: {money(band.pence)} for {_whom(band, names)}")
            continue
        if was.pence != band.pence:
            way = "up" if band.pence > was.pence else "down"
            ends = f"from {money(was.pence)} to {money(band.pence)}"
            told.append(
                f"The {title} price goes {way} {ends}"
                if was.pence and band.pence
                else f"The {title} price changes {ends}"
            )
        if _whom(was, names) != _whom(band, names):
            told.append(f"The {title} price is now for {_whom(band, names)}, not {_whom(was, names)}")
    told += [f"There is no longer a {names.thing(name)} price" for name in before if name not in after]
    if not told:
        order = listed(names.thing(band.name) for band in new)
        told.append(f"Prices are now tried in this order: {order}")
    return told


def _by_name(bands: Sequence[Band]) -> dict[str, Band] | None:
    found = {band.name: band for band in bands}
    return found if len(found) == len(bands) else None


def _whom(band: Band, names: Names) -> str:
    return "everyone else" if band.when is None else people(condition(band.when), names)


def _limits(old: Sequence[Limit], new: Sequence[Limit], names: Names) -> list[str]:
    before, after = _numbered(old), _numbered(new)
    told = []
    for key, limit in after.items():
        was = before.get(key)
        if was is None:
            told += [f"New limit: {line}" for line in limit_words.limit_lines(limit, names)]
        elif was != limit:
            told += _limit(was, limit, names)
    for key, limit in before.items():
        if key not in after:
            told.append(f"There is no longer this limit: {limit_words.limit_lines(limit, names)[0]}")
    return told


def _numbered(limits: Sequence[Limit]) -> dict[tuple[object, ...], Limit]:
    """Limits by what they limit, so that a limit that moved in the list is still the same one."""
    found: dict[tuple[object, ...], Limit] = {}
    for limit in limits:
        key: tuple[object, ...] = (
            type(limit).__name__,
            *(getattr(limit, name, None) for name in ("account", "resource", "pool", "zone")),
        )
        number = 0
        while (*key, number) in found:
            number += 1
        found[(*key, number)] = limit
    return found


def _limit(old: Limit, new: Limit, names: Names) -> list[str]:
    if isinstance(old, Quota) and isinstance(new, Quota) and msgspec.structs.replace(old, max=new.max) == new:
        often, _ = limit_words.period_words(new.period)
        way = "up" if new.max > old.max else "down"
        unit = plural(humanise(new.unit), 2)
        return [
            f"The limit for each {names.thing(new.scope)} goes {way} from {old.max:,} to {new.max:,} {unit} {often}"
        ]
    if isinstance(old, Capacity) and isinstance(new, Capacity):
        way = "up" if new.max > old.max else "down"
        place = "inside" if new.zone is None else f"in this area: {names.thing(new.zone)}"
        return [f"The limit on numbers goes {way} from {old.max:,} to {new.max:,} people at once {place}"]
    return _lines_changed(limit_words.limit_lines(old, names), limit_words.limit_lines(new, names))


def _sections(old: ServiceDocument, new: ServiceDocument, world: World, titles: Mapping[str, str] | None) -> list[str]:
    """What has no form of its own here: lines of a section that are new or gone."""
    told = []
    if old.kind != new.kind:
        told.append(explain(new, world, titles=titles).lead.rpartition(". ")[2].replace("It lets", "It now lets"))
    for name, heading in (
        ("requires", "What else is needed"),
        ("delegation", "Children"),
        ("delegation", "Acting for someone else"),
        ("offline", "If the network is down"),
    ):
        same = getattr(old, name) == getattr(new, name) and old.items == new.items
        if same and name != "offline":
            continue
        before, after = ([line.text for line in _section(document, world, titles, heading)] for document in (old, new))
        start = "If the network is down: " if name == "offline" else ""
        if name == "offline":
            if _stale(old.offline, new.offline):
                told.append(_stale(old.offline, new.offline))
                before, after = before[1:], after[1:]
            elif old.offline == new.offline:
                continue  # a limit changed, which was told where it stands
        told += [start + (_small(text) if start else text) for text in _lines_changed(before, after)]
    return told


def _section(document: ServiceDocument, world: World, titles: Mapping[str, str] | None, heading: str) -> Sequence[Line]:
    return next((one.lines for one in explain(document, world, titles=titles).sections if one.heading == heading), ())


def _stale(old: Offline, new: Offline) -> str:
    if old.mode != "normal" or new.mode != "normal" or old.max_stale == new.max_stale:
        return ""
    if new.max_stale is None:
        return "If the network is down, the gate now keeps working for as long as it takes"
    was = "" if old.max_stale is None else f", not {length(old.max_stale)}"
    return f"If the network is down, the gate now keeps working for up to {length(new.max_stale)}{was}"


def _lines_changed(old: Sequence[str], new: Sequence[str]) -> list[str]:
    gone = [line for line in old if line not in new and not line.endswith(":")]
    added = [line for line in new if line not in old and not line.endswith(":")]
    if len(gone) == len(added) == 1:
        return [f"Now: {_small(added[0])}. Before: {_small(gone[0])}"]
    return [f"Taken out: {_small(line)}" for line in gone] + [f"Added: {_small(line)}" for line in added]


def _small(text: str) -> str:
    """Inside a sentence: no capital at the start, no full stop at the end; names keep their capitals."""
    first = text.partition(" ")[0]
    known = first.lower() in _STARTS
    return (text[:1].lower() + text[1:] if known else text).rstrip(".")


def _untold(old: ServiceDocument, new: ServiceDocument) -> list[str]:
    fields = [
        name.replace("_", " ")
        for name in old.__struct_fields__
        if name != "id" and getattr(old, name) != getattr(new, name)
    ]
    return [_UNTOLD.format(fields=listed(fields))] if fields else []
