"""What happens in one run: a list of steps made from a seed and from nothing else."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields
from typing import Final, Literal, get_args

READERS: Final = ("a", "b")
LANES: Final = ("1", "2")
CARDS: Final = 20
"""Cards that are there when a run begins, all active; those issued in the run are numbered on."""
SPARE_PEOPLE: Final = 10
"""People without a card; each is issued one at most."""
STEPS: Final = 50

End = Literal["kill", "power", "rot"]
"""How a reader ends: SIGKILL; with what the disk had not confirmed lost or torn; with a file damaged beyond that."""
Moment = Literal["sent", "tap", "kept", "durable"]
"""When a reader is killed: right after a card was held up, or once it said that of this card's tap."""
Harm = Literal["cut", "cut_at", "refuse", "hang", "trickle", "delay", "half_close"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that is done; ``str`` tells it in a line."""

    def __str__(self) -> str:
        told = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
        return f"{type(self).__name__.lower()} {' '.join(told)}"


@dataclass(frozen=True, kw_only=True)
class Issue(Step):
    """A card for a person who has none."""

    person: int
    card: int


@dataclass(frozen=True, kw_only=True)
class Change(Step):
    """The desk changes a card's state; sent again until it is answered."""

    card: int
    event: Literal["suspend", "resume", "revoke", "lost"]


@dataclass(frozen=True, kw_only=True)
class Taps(Step):
    """Cards are held up, one at each lane, at the same time; until they are decided."""

    reader: str
    cards: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Told(Step):
    """Wait until a reader has applied every change that the desk was answered; the way to it is in order."""

    reader: str


@dataclass(frozen=True, kw_only=True)
class KillReader(Step):
    """A reader ends while a card is held up at it."""

    reader: str
    how: End
    card: int
    when: Moment
    harm: int
    """Seed of what the power cut or the damage does to the files."""


@dataclass(frozen=True, kw_only=True)
class Kill(Step):
    """SIGKILL for a server, after so many more octets have passed between it and readers and desk."""

    part: Literal["service", "postgres", "valkey"]
    octets: int


@dataclass(frozen=True, kw_only=True)
class Start(Step):
    """A reader or server starts again, on the same files and port."""

    part: str


@dataclass(frozen=True, kw_only=True)
class Disturb(Step):
    """The network between the service and a reader (or the desk) is disturbed."""

    link: str
    harm: Harm
    octets: int
    upwards: bool


@dataclass(frozen=True, kw_only=True)
class Heal(Step):
    """The network is well again; connections that hung are lost."""

    link: str


@dataclass
class _Known:
    """What the plan knows of the system while it is made."""

    chance: random.Random
    states: dict[int, str] = field(default_factory=lambda: dict.fromkeys(range(CARDS), "active"))
    touched: list[int] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    disturbed: set[str] = field(default_factory=set)
    kills: dict[str, int] = field(default_factory=dict)
    issued: int = 0

    def card(self) -> int:
        """Any card, and often one that was changed a moment ago."""
        if self.touched and self.chance.random() < 0.5:
            return self.chance.choice(self.touched[-6:])
        return self.chance.randrange(len(self.states))

    def up(self) -> list[str]:
        return [reader for reader in READERS if reader not in self.down]


KILLS: Final = {"postgres": 1, "valkey": 1, "service": 2, "a": 2, "b": 2}
"""At most so many of each in a run, which bounds its time."""
_NEXT: Final = {
    "active": ("suspend", "revoke", "lost"),
    "suspended": ("resume", "revoke", "resume"),
}
_AFTER: Final = {"suspend": "suspended", "resume": "active", "revoke": "revoked", "lost": "lost"}


def plan(seed: int, *, steps: int = STEPS) -> list[Step]:
    """The steps of a seed. The same seed gives the same steps, always."""
    known = _Known(random.Random(f"rescard faults {seed}"))
    made: list[Step] = []
    while len(made) < steps:
        made += _some(known)
    return made


def _some(known: _Known) -> list[Step]:
    what = known.chance.random()
    if what < 0.45:
        return _taps(known)
    if what < 0.65:
        return _change(known)
    if what < 0.72:
        return _issue(known)
    if what < 0.82:
        return _kill(known)
    if what < 0.88:
        return _start(known)
    if what < 0.96:
        return _disturb(known)
    return _heal(known)


def _taps(known: _Known) -> list[Step]:
    if not (up := known.up()):
        return []
    reader, chance = known.chance.choice(up), known.chance
    steps: list[Step] = []
    if not known.down & {"service", "postgres"} and reader not in known.disturbed and chance.random() < 0.4:
        steps.append(Told(reader=reader))
    cards = tuple(known.card() for _ in range(chance.choice((1, 2, 2))))
    return [*steps, Taps(reader=reader, cards=cards)]


def _change(known: _Known) -> list[Step]:
    card = known.card()
    events = _NEXT.get(known.states[card])
    if events is None:
        return []
    event = known.chance.choice(events)
    known.states[card] = _AFTER[event]
    known.touched.append(card)
    return [Change(card=card, event=event)]  # type: ignore[arg-type]  # from the table above


def _issue(known: _Known) -> list[Step]:
    if known.issued == SPARE_PEOPLE:
        return []
    card = len(known.states)
    known.states[card] = "active"
    known.touched.append(card)
    known.issued += 1
    return [Issue(person=known.issued - 1, card=card)]


def _kill(known: _Known) -> list[Step]:
    chance = known.chance
    part = chance.choice(("postgres", "valkey", "service", "a", "b", "a", "b"))
    if part in known.down or known.kills.get(part, 0) >= KILLS[part]:
        return []
    known.kills[part] = known.kills.get(part, 0) + 1
    known.down.add(part)
    if part in READERS:
        how: End = chance.choice(("kill", "kill", "power", "power", "rot"))
        moment: Moment = chance.choice(("sent", "tap", "kept", "durable"))
        return [KillReader(reader=part, how=how, card=known.card(), when=moment, harm=chance.randrange(2**32))]
    return [Kill(part=part, octets=chance.choice((0, chance.randrange(4000))))]  # type: ignore[arg-type]  # no reader


def _start(known: _Known) -> list[Step]:
    if not known.down:
        return []
    part = known.chance.choice(sorted(known.down))
    steps: list[Step] = []
    if part == "service" and "postgres" in known.down:
        # A service does not start without its database.
        known.down.discard("postgres")
        steps.append(Start(part="postgres"))
    known.down.discard(part)
    return [*steps, Start(part=part)]


def _disturb(known: _Known) -> list[Step]:
    chance = known.chance
    link = chance.choice((*READERS, *READERS, "desk"))
    if link in known.disturbed:
        return []
    # A desk waits for answers, so its network is only ever cut; a reader's may be bad in every way.
    harms: tuple[Harm, ...] = ("cut", "cut_at", "cut_at") if link == "desk" else get_args(Harm)
    harm = chance.choice(harms)
    if harm in ("refuse", "hang", "delay"):
        known.disturbed.add(link)
    octets = chance.choice((1, chance.randrange(1, 200), chance.randrange(200, 6000)))
    return [Disturb(link=link, harm=harm, octets=octets, upwards=chance.random() < 0.5)]


def _heal(known: _Known) -> list[Step]:
    if not known.disturbed:
        return []
    link = known.chance.choice(sorted(known.disturbed))
    known.disturbed.discard(link)
    return [Heal(link=link)]
