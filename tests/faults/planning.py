"""Makes the steps of a run from a seed, so that each makes sense after those before it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from tests.faults.plan import (
    AREAS,
    DESKS,
    READERS,
    SERVICE_OF,
    SERVICES,
    SPARE_PEOPLE,
    STEPS,
    Change,
    Compact,
    Disturb,
    End,
    Event,
    Harm,
    Heal,
    Issue,
    Kill,
    KillReader,
    Moment,
    Overhaul,
    Publish,
    Ready,
    Rename,
    Rotate,
    Start,
    Step,
    Succeed,
    Taps,
    Told,
    states,
)

MOST: Final = {
    "postgres": 1, "valkey": 1, "service-1": 1, "service-2": 1, "a": 2, "b": 2, "overhaul": 2, "rotate": 1,
}  # fmt: skip
"""At most so many of each in a run, which bounds its time."""
_NEXT: Final[dict[str, tuple[Event, ...]]] = {
    "active": ("suspend", "revoke", "lost"),
    "suspended": ("resume", "revoke", "resume"),
}


@dataclass
class _Known:
    """What the plan knows of the system while it is made."""

    chance: random.Random
    steps: list[Step] = field(default_factory=list)
    touched: list[int] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    disturbed: dict[str, Harm] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def states(self) -> dict[int, str]:
        return states(self.steps)

    def card(self) -> int:
        """Any card, and often one that was changed a moment ago."""
        if self.touched and self.chance.random() < 0.5:
            return self.chance.choice(self.touched[-6:])
        return self.chance.randrange(len(self.states()))

    def once_more(self, what: str) -> bool:
        """Whether there may be one more of these; counts it."""
        if self.done[what] >= MOST.get(what, STEPS):
            return False
        self.done[what] += 1
        return True


def plan(seed: int, *, steps: int = STEPS) -> list[Step]:
    """The steps of a seed. The same seed gives the same steps, always."""
    known = _Known(random.Random(f"rescard faults {seed}"))
    if known.chance.random() < 0.8:
        known.steps += [Ready(reader=reader) for reader in READERS]
    kinds, weights = zip(*_KINDS, strict=True)
    while len(known.steps) < steps:
        (kind,) = known.chance.choices(kinds, weights)
        known.steps += kind(known)
    return known.steps


def _taps(known: _Known) -> list[Step]:
    up = [reader for reader in READERS if reader not in known.down]
    if not up:
        return []
    reader, chance = known.chance.choice(up), known.chance
    steps: list[Step] = []
    in_order = not known.down & {SERVICE_OF[reader], "postgres"} and reader not in known.disturbed
    if in_order and chance.random() < 0.4:
        steps.append(Told(reader=reader))
    cards = tuple(known.card() for _ in range(chance.choice((1, 2, 2))))
    return [*steps, Taps(reader=reader, cards=cards)]


def _change(known: _Known) -> list[Step]:
    card = known.card()
    events = _NEXT.get(known.states()[card])
    if events is None:
        return []
    known.touched.append(card)
    return [Change(card=card, event=known.chance.choice(events))]


def _succeed(known: _Known) -> list[Step]:
    card, there = known.card(), known.states()
    if there[card] not in ("active", "lost"):
        return []
    event: Literal["renew", "replace"] = (
        "replace" if there[card] == "lost" else known.chance.choice(("renew", "replace"))
    )
    known.touched += (card, len(there))
    return [Succeed(card=card, event=event, successor=len(there))]


def _issue(known: _Known) -> list[Step]:
    person = known.done["issue"]
    if person == SPARE_PEOPLE:
        return []
    known.done["issue"] += 1
    card = len(known.states())
    known.touched.append(card)
    return [Issue(person=person, card=card)]


def _catalogue(known: _Known) -> list[Step]:
    kind = known.chance.choice(("publish", "publish", "rename", "rotate"))
    if not known.once_more(kind):
        return []
    if kind == "rotate":
        return [Rotate()]
    which = known.chance.choice((0, 1))
    known.done[f"{kind} {which}"] += 1
    edition = known.done[f"{kind} {which}"]
    if kind == "rename":
        return [Rename(reader=READERS[which], edition=edition)]
    return [Publish(area=AREAS[which], edition=edition)]


def _overhaul(known: _Known) -> list[Step]:
    if not known.once_more("overhaul"):
        return []
    what: Literal["epoch", "prune", "horizon"] = known.chance.choice(("epoch", "prune", "horizon"))
    return [Overhaul(what=what, area=known.chance.choice(AREAS), days=known.chance.randint(1, 3))]


def _compact(known: _Known) -> list[Step]:
    up = [reader for reader in READERS if reader not in known.down]
    return [Compact(reader=known.chance.choice(up))] if up else []


def _kill(known: _Known) -> list[Step]:
    chance = known.chance
    part = chance.choice(("postgres", "valkey", *SERVICES, *READERS, *READERS, *READERS))
    if part in known.down or not known.once_more(part):
        return []
    known.down.add(part)
    if part in READERS:
        how: End = chance.choice(("kill", "stop", "power", "power", "rot"))
        moment: Moment = chance.choice(get_args(Moment))
        card = known.card()
        if moment == "released":
            # Of a card that is refused there is no release.
            card = chance.choice([name for name, state in known.states().items() if state == "active"] or [card])
        return [KillReader(reader=part, how=how, card=card, when=moment, harm=chance.randrange(2**32))]
    return [Kill(part=part, octets=chance.choice((0, chance.randrange(4000))))]


def _start(known: _Known) -> list[Step]:
    if not known.down:
        return []
    part = known.chance.choice(sorted(known.down))
    steps: list[Step] = []
    if part in SERVICES and "postgres" in known.down:
        # A service does not start without its database.
        known.down.discard("postgres")
        steps.append(Start(part="postgres"))
    known.down.discard(part)
    return [*steps, Start(part=part)]


def _disturb(known: _Known) -> list[Step]:
    chance = known.chance
    link = chance.choice((*READERS, *READERS, chance.choice(DESKS)))
    if link in known.disturbed:
        return []
    # A desk waits for answers, so its network is only ever cut; a reader's may be bad in every way.
    harms: tuple[Harm, ...] = ("cut", "cut_at", "cut_at") if link in DESKS else get_args(Harm)
    harm = chance.choice(harms)
    if harm in ("refuse", "hang", "delay"):
        known.disturbed[link] = harm
    octets = chance.choice((1, chance.randrange(1, 200), chance.randrange(200, 6000)))
    return [Disturb(link=link, harm=harm, octets=octets, upwards=chance.random() < 0.5)]


def _heal(known: _Known) -> list[Step]:
    if not known.disturbed:
        return []
    link = known.chance.choice(sorted(known.disturbed))
    del known.disturbed[link]
    return [Heal(link=link, late=known.chance.random() < 0.5)]


_KINDS: Final[tuple[tuple[Callable[[_Known], list[Step]], int], ...]] = (
    (_taps, 42),
    (_change, 16),
    (_succeed, 4),
    (_issue, 6),
    (_catalogue, 5),
    (_overhaul, 3),
    (_compact, 3),
    (_kill, 11),
    (_start, 6),
    (_disturb, 8),
    (_heal, 4),
)
