"""Residents of a borough with facts of every kind, and the profiles that the service would compile of them.

Shares and dates are invented, and drawn from one seed. What matters is their shape: most people share few profiles, and
whoever has a birthday, a permit or a membership that begins or ends within the horizon has a rare one.
"""

from __future__ import annotations

import json
import random
from array import array
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

from entitlements.compile import CompiledService, compile_profile, compile_service
from entitlements.documents import load_services
from entitlements.facts import PersonFacts, Span, Statements
from entitlements.model import CardState, Instant, PersonId, SiteId, TenantId
from entitlements.profile import Horizon, Profile
from entitlements.wire.rows import pack_row
from tests.benchmarks.world import DAY, NOW, VECTORS, world

RESIDENTS: Final = 350_000
HORIZON_DAYS: Final = 60
TODAY: Final = datetime.fromtimestamp(NOW, UTC).date()
SEED: Final = 350
_EVIDENCE: Final = (("universal_credit", 0.11), ("disability", 0.04), ("carer", 0.03), ("student", 0.12))
_SITES: Final = ("porchester", "seymour", "chelsea", "paddington", "queensmere", "kensal")


class Population(NamedTuple):
    """Distinct profiles, and the lower half of each resident's row."""

    profiles: list[Profile]
    lows: array[int]


def documents() -> list[dict[str, Any]]:
    """Ten services: the eight worked ones and two more of a leisure centre."""
    found: list[dict[str, Any]] = json.loads((VECTORS / "services.json").read_text())
    gym = next(document for document in found if document["id"] == "wcc.leisure.gym-offpeak")
    return [*found, gym | {"id": "wcc.leisure.swim"}, gym | {"id": "wcc.leisure.courts"}]


def services() -> list[CompiledService]:
    """The ten, compiled."""
    return [compile_service(document, world()) for document in load_services(json.dumps(documents()))]


@cache
def population() -> Population:
    """350,000 residents. The same ones each time."""
    dice = random.Random(SEED)
    compiled, everything = services(), world()
    horizon = Horizon(start=Instant(NOW - DAY), end=Instant(NOW + HORIZON_DAYS * DAY))
    numbers: dict[Profile, int] = {}
    known: dict[Any, int] = {}
    lows = array("I")
    for _ in range(RESIDENTS):
        drawn = _draw(dice)
        if drawn not in known:
            profile = compile_profile(_facts(drawn), compiled, everything, horizon)
            known[drawn] = numbers.setdefault(profile, len(numbers))
        lows.append(pack_row(tag=0, profile=known[drawn], state=CardState.ACTIVE))
    return Population(list(numbers), lows)


def residents(count: int) -> list[PersonFacts]:
    """Facts of so many residents, drawn as those of :func:`population`."""
    dice = random.Random(SEED)
    return [_facts(_draw(dice)) for _ in range(count)]


_Span = tuple[int | None, int | None]
"""Days from today on which a statement begins and ends, ``None`` for beyond the horizon."""


class _Drawn(NamedTuple):
    age: int
    birthday: int | None
    home: str
    lives: _Span
    evidence: tuple[tuple[str, _Span], ...]
    library: _Span | None
    permit: _Span | None
    care: bool
    role: str | None
    inducted: str | None


def _draw(dice: random.Random) -> _Drawn:
    """One resident, without what makes no difference within the horizon, so that equal ones are compiled once."""
    age, birthday = min(dice.randrange(0, 95), 70), dice.randrange(-1, 364)
    turns = age + 1 in {11, 16, 17, 18, 60, 65} and birthday <= HORIZON_DAYS
    evidence = tuple((kind, _span(dice, 200)) for kind, share in _EVIDENCE if dice.random() < share)
    return _Drawn(
        age=next(known for known in (70, 65, 60, 18, 17, 16, 11, 10, 0) if age >= known) if not turns else age,
        birthday=birthday if turns else None,
        home="rbkc" if dice.random() < 0.02 else "wcc",
        lives=_span(dice, 900),
        evidence=evidence,
        library=_span(dice, 300) if dice.random() < 0.5 else None,
        permit=_span(dice, 365) if dice.random() < 0.06 else None,
        care=dice.random() < 0.01,
        role="parent" if dice.random() < 0.2 else None,
        inducted=dice.choice(_SITES) if dice.random() < 0.08 else None,
    )


def _span(dice: random.Random, days: int) -> _Span:
    """A statement of about so many days, that began or is about to begin."""
    begins = dice.randrange(-days, HORIZON_DAYS) if dice.random() < 0.4 else -1
    ends = dice.randrange(0, days)
    return (begins if begins > 0 else None, ends if ends <= HORIZON_DAYS else None)


def _facts(drawn: _Drawn) -> PersonFacts:
    if drawn.birthday is None:
        born = date(TODAY.year - drawn.age, 1, 1)
    else:
        birthday = TODAY + timedelta(days=drawn.birthday)
        born = birthday.replace(year=birthday.year - drawn.age - 1)
    evidence: Statements = {kind: (_as_span(span),) for kind, span in drawn.evidence}
    return PersonFacts(
        id=PersonId("p"),
        household="h",
        date_of_birth=born,
        residency={TenantId(drawn.home): (_as_span(drawn.lives),)},
        evidence=evidence if not drawn.care else {**evidence, "care_plan": (Span(),)},
        member_of={} if drawn.library is None else {"library": (_as_span(drawn.library),)},
        permit={} if drawn.permit is None else {"ev_vehicle": (_as_span(drawn.permit),)},
        role={} if drawn.role is None else {drawn.role: (Span(),)},
        prerequisites={} if drawn.inducted is None else {"open-plus-induction": frozenset({SiteId(drawn.inducted)})},
    )


def _as_span(span: _Span) -> Span:
    begins, ends = span
    return Span(
        start=None if begins is None else TODAY + timedelta(days=begins),
        until=None if ends is None else TODAY + timedelta(days=ends),
    )
