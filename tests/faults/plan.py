"""What happens in one run: a list of steps made from a seed and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Literal

READERS: Final = ("a", "b")
SERVICES: Final = ("service-1", "service-2")
SERVICE_OF: Final = dict(zip(READERS, SERVICES, strict=True))
"""Two processes on one database: what is changed at the one must reach the other's reader."""
DESKS: Final = ("desk-1", "desk-2")
"""The desk's ways, one to each service."""
SERVICE_BEHIND: Final = SERVICE_OF | dict(zip(DESKS, SERVICES, strict=True))
LANES: Final = ("1", "2")
AREAS: Final = ("leisure", "libraries")
CARDS: Final = 20
"""Cards that are there when a run begins, all active; those issued in the run are numbered on."""
SPARE_PEOPLE: Final = 10
"""People without a card; each is issued one at most."""
STEPS: Final = 50

End = Literal["kill", "stop", "power", "rot"]
"""How a reader ends: SIGKILL; with what the disk had not confirmed lost or torn; with a file damaged beyond that."""
Moment = Literal["sent", "released", "tap", "kept", "durable", "base"]
"""When a reader is killed: right after a card was held up; when the gate was released for it; once it said that of this
card's tap; or while it writes a new base."""
Event = Literal["suspend", "resume", "revoke", "lost"]
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
    event: Event


@dataclass(frozen=True, kw_only=True)
class Succeed(Step):
    """A card is renewed or replaced: it ends, and its holder gets another."""

    card: int
    event: Literal["renew", "replace"]
    successor: int


@dataclass(frozen=True, kw_only=True)
class Publish(Step):
    """A service's document is published anew; the editions of one service count up."""

    area: str
    edition: int


@dataclass(frozen=True, kw_only=True)
class Rename(Step):
    """A site gets another name, which is a change of what documents refer to."""

    reader: str
    edition: int


@dataclass(frozen=True, kw_only=True)
class Rotate(Step):
    """Another key signs cards from now on, whether gates know it yet or not."""


@dataclass(frozen=True, kw_only=True)
class Overhaul(Step):
    """What the service does now and then to a whole feed: begin a new epoch, forget all changes so far, or move the
    horizon (as if nobody had moved it for so many days, and then on)."""

    what: Literal["epoch", "prune", "horizon"]
    area: str
    days: int


@dataclass(frozen=True, kw_only=True)
class Taps(Step):
    """Cards are held up, one at each lane, at the same time; until they are decided."""

    reader: str
    cards: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Ready(Step):
    """Wait until a reader that was just started has taken its first snapshots; before it refers everybody to staff."""

    reader: str


@dataclass(frozen=True, kw_only=True)
class Told(Step):
    """Wait until a reader has applied every change that the desk was answered; the way to it is in order."""

    reader: str


@dataclass(frozen=True, kw_only=True)
class Compact(Step):
    """A reader writes new bases, while whatever comes next goes on."""

    reader: str


@dataclass(frozen=True, kw_only=True)
class KillReader(Step):
    """A reader ends while a card is held up at it, and perhaps while it writes a base."""

    reader: str
    how: End
    card: int
    when: Moment
    harm: int
    """Seed of what the power cut or the damage does to the files."""


@dataclass(frozen=True, kw_only=True)
class Kill(Step):
    """SIGKILL for a server, after so many more octets have passed between it and readers and desk."""

    part: str
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
    """The network is well again. What hung is delivered late, or lost with its connection."""

    link: str
    late: bool


_AFTER: Final[dict[str, str]] = {
    "suspend": "suspended",
    "resume": "active",
    "revoke": "revoked",
    "lost": "lost",
    "renew": "replaced",
    "replace": "replaced",
}


def states(steps: list[Step]) -> dict[int, str]:
    """The state of every card after these steps, once the desk was answered all of them."""
    made = dict.fromkeys(range(CARDS), "active")
    for step in steps:
        if isinstance(step, Issue):
            made[step.card] = "active"
        elif isinstance(step, Change):
            made[step.card] = _AFTER[step.event]
        elif isinstance(step, Succeed):
            made[step.card], made[step.successor] = _AFTER[step.event], "active"
    return made
