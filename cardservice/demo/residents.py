"""Synthetic residents: made from a seed, with names nobody could have."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

GIVEN: Final = (
    "Azalea", "Barnacle", "Crumpet", "Dandelion", "Eiderdown", "Figaro", "Gingham", "Haddock", "Indigo", "Juniper",
    "Kazoo", "Lavender", "Marmalade", "Nutmeg", "Origami", "Pumpernickel", "Quince", "Rhubarb", "Saffron", "Teapot",
    "Umbrella", "Velvet", "Wellington", "Xylophone", "Yarrow", "Zeppelin",
)  # fmt: skip
FAMILY: Final = (
    "Exampleton", "Testworthy", "Sampleford", "Mockingham", "Placeholder-Jones", "Fixturesby", "Demonstrate",
    "Synthetica", "Inventedly", "Fauxley", "Nonesuch", "Madeupson",
)  # fmt: skip

NAMESPACE: Final = uuid.UUID("6f1d2c1e-6d9b-4a53-9f0b-1d8e5b1a7c55")
"""Ids of synthetic people are derived, so that a second run makes the same ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A dated statement; ``until`` is inclusive."""

    kind: str
    name: str
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """One synthetic person with the facts stated on them."""

    person_id: uuid.UUID
    given_name: str
    family_name: str
    date_of_birth: date
    household: str
    facts: tuple[Fact, ...]


def make_residents(tenant: str, count: int, today: date) -> Iterator[Resident]:
    """``count`` residents of a tenant: ages 5 to 95, households of one to five, some with concessions, most readers.

    The same tenant and day give the same people.
    """
    dice = random.Random(f"{tenant}/{today.isoformat()}")  # noqa: S311 - synthetic people, not secrets
    household = 0
    left = 0
    for number in range(count):
        if left == 0:
            household += 1
            left = dice.choice((1, 1, 2, 2, 3, 4, 5))
        left -= 1
        born = today - timedelta(days=dice.randint(5 * 365, 95 * 365))
        since = today - timedelta(days=dice.randint(30, 3000))
        facts = [Fact(kind="residency", name=tenant, since=since)]
        if dice.random() < 0.7:
            facts.append(Fact(kind="member_of", name="library", since=since))
        for kind, share in (("universal_credit", 0.12), ("disability", 0.06), ("carer", 0.04), ("student", 0.08)):
            if dice.random() < share:
                until = today + timedelta(days=dice.randint(-60, 700))
                facts.append(Fact(kind="evidence", name=kind, since=min(since, until), until=until))
        yield Resident(
            person_id=uuid.uuid5(NAMESPACE, f"{tenant}/{number}"),
            given_name=dice.choice(GIVEN),
            family_name=dice.choice(FAMILY),
            date_of_birth=born,
            household=f"{tenant}-h{household}",
            facts=tuple(facts),
        )
