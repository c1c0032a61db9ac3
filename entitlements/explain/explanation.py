"""A service document read back in plain English, to somebody who has never seen how it is stored.

The order is that in which people ask: who, where, when, what it costs, what else, how much, with whom, and what happens
when the network is down.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from entitlements.explain import hours, limits, offline, people
from entitlements.explain.people import Told
from entitlements.explain.words import WEEKDAYS, Names, day, listed, sentence
from entitlements.service import ServiceDocument
from entitlements.world import World

SITES_NAMED = 12
"""Sites of a set that are written out; of a larger set the number is given."""

_KINDS = {
    "access": "It lets people in at a gate or door.",
    "spend": "It lets people pay from money that is held for them.",
    "consume": "It lets people use something that we count.",
    "book": "It lets people in to something they have booked.",
    "loan": "It lets people borrow things.",
}


class Line(msgspec.Struct, frozen=True):
    """A sentence (depth 0) or a bullet (depth 1 and more)."""

    text: str
    depth: int = 0


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A heading and what stands under it."""

    heading: str
    lines: tuple[Line, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A service in words. ``text`` gives it whole, one line a sentence or bullet, for a terminal or a letter."""

    title: str
    lead: str
    sections: tuple[Section, ...]

    def text(self) -> str:
        """Plain text that ends with a new line."""
        blocks = [self.title, self.lead]
        for section in self.sections:
            lines = [section.heading]
            lines += [
                "  " * max(line.depth - 1, 0) + ("- " if line.depth else "") + line.text for line in section.lines
            ]
            blocks.append("\n".join(lines))
        return "\n\n".join(blocks) + "\n"


def explain(document: ServiceDocument, world: World, *, titles: Mapping[str, str] | None = None) -> Explanation:
    """Read a document back in plain English.

    Args:
        document: the service, whole.
        world: what its sets and calendars stand for; names it does not know are still told by name.
        titles: what the council calls its sites, sets, tenants, facts and accounts, by id; what has no title is read
            from its id.
    """
    names = Names(titles)
    told: list[tuple[str, Told]] = [
        ("Who can use it", people.who(document, names)),
        ("Where", _where(document, world, names)),
        ("When", _when(document, world, names)),
        ("What it costs", people.prices(document, names)),
        ("What else is needed", people.requirements(document, names)),
        ("Limits", limits.limits(document, names)),
        ("Children", people.children(document, names)),
        ("Acting for someone else", people.acting(document, names)),
        ("Who is always refused", _denied(document)),
        ("If the network is down", offline.offline(document, names)),
    ]
    lead = f"This is a {names.proper(document.tenant)} service. {_KINDS[document.kind]}"
    if document.description:
        lead = f"{sentence(document.description)} {lead}"
    return Explanation(
        title=document.title,
        lead=lead,
        sections=tuple(
            Section(heading=heading, lines=tuple(Line(_finished(text, depth), depth) for depth, text in lines))
            for heading, lines in told
            if lines
        ),
    )


def _finished(text: str, depth: int) -> str:
    return sentence(text) if depth == 0 else text


def _where(document: ServiceDocument, world: World, names: Names) -> Told:
    where = document.where
    if where is None:
        return [(0, "At every site that has a gate for this service")]
    told: Told = []
    single = [names.proper(site) for site in where.sites if not site.startswith("@")]
    if single:
        told.append((0, f"At {listed(single)}"))
    for name in where.sites:
        if name.startswith("@"):
            told.append((0, _site_set(name, world, names)))
    if where.zones:
        zones = listed(names.thing(zone) for zone in where.zones)
        told.append((0, f"Only in {'this area' if len(where.zones) == 1 else 'these areas'}: {zones}"))
    return told


def _site_set(name: str, world: World, names: Names) -> str:
    sites = sorted(names.proper(site) for site in world.site_sets.get(name, ()))
    title = names.proper(name)
    if not sites:
        return f"At {title} (no sites yet)"
    if len(sites) > SITES_NAMED:
        return f"At {title} ({len(sites)} sites)"
    return f"At {title}: {listed(sites)}"


def _when(document: ServiceDocument, world: World, names: Names) -> Told:
    told: Told = []
    valid, when = document.valid, document.when
    if valid.start is not None and valid.until is not None:
        told.append((0, f"The first day is {day(valid.start)} and the last day is {day(valid.until)}"))
    elif valid.start is not None:
        told.append((0, f"The service starts on {day(valid.start)}"))
    elif valid.until is not None:
        told.append((0, f"The last day is {day(valid.until)}"))
    if when is None or when.windows is None:
        told.append((0, "Open at all times of day"))
    else:
        lines = hours.opening_lines(when, names)
        if len(lines) == 1:
            told.append((0, _one_line(lines[0])))
        else:
            told += [(0, "Open:"), *((1, line) for line in lines)]
        if hours.past_midnight(when.windows):
            told.append((0, "Hours that run past midnight belong to the day they start on"))
    if when is not None:
        told += [(0, line) for line in hours.closed_text(when.closed, world, names)]
    return told


def _one_line(line: str) -> str:
    """``Open every day, 8am to 6pm``; of a single day ``Open on Saturdays, ...``."""
    days, _, times = line.partition(": ")
    if days in WEEKDAYS:
        return f"Open on {days}s, {times}"
    return f"Open {days.replace('Every', 'every', 1)}, {times}"


def _denied(document: ServiceDocument) -> Told:
    told: Told = [(0, "A person or card that has been blocked is always refused, whatever else is true")]
    if document.delegation.acts_for is not None:
        told.append((0, "So is anyone acting for the cardholder who has been blocked themselves"))
    return told
