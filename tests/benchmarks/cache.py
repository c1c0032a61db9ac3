"""The entitlement cache against what one would take instead: a dict of card ids to tuples, and reading a file.

Rows, profiles and documents are a borough's (:mod:`tests.benchmarks.population`), repeated until there are enough.
"""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
from array import array
from pathlib import Path

import structlog

from entitlements.model import CardState
from readers.catalogue import Catalogue
from readers.feedstore import open_cache as open_cold
from tests.benchmarks.measure import Result, compare, row
from tests.benchmarks.population import documents, population
from tests.benchmarks.world import FEED, VECTORS, open_cache, write_rows

MILLION = 1_000_000
PROBES = 200_000
"""Different cards in turn, as visitors come: a few, again and again, would measure the processor's cache."""


def run() -> list[Result]:
    """Look-up time, memory and cold start at one and ten million cards."""
    one, tags = _borough(MILLION)
    results = [*_lookups(one, tags), _memory("1 million", one, MILLION, 12)]
    ten, _ = _borough(10 * MILLION)
    return [*results, _memory("10 million", ten, 10 * MILLION, 10), _cold_start("10 million", ten)]


def _borough(cards: int) -> tuple[Path, array[int]]:
    """A base file of so many cards, and their tags."""
    people = population()
    tags = array("I", random.Random(1).randbytes(4 * cards))
    words = array("I", bytes(8 * cards))
    words[::2] = (people.lows * (cards // len(people.lows) + 1))[:cards]
    words[1::2] = tags
    return write_rows(words, people.profiles, documents(), json.loads((VECTORS / "world.json").read_text())), tags


def _lookups(path: Path, tags: array[int]) -> list[Result]:
    dice = random.Random(2)
    cache = open_cache(path)
    plain = {tag.to_bytes(8, "big"): (CardState.ACTIVE, number) for number, tag in enumerate(tags)}
    probes = [dice.randrange(MILLION) for _ in range(PROBES)]
    cards = [(index, tags[index], tags[index].to_bytes(8, "big")) for index in probes]

    def ours() -> None:
        find = cache.find
        for index, tag, _ in cards:
            find(index, tag)

    def with_profile() -> None:
        lookup = cache.lookup
        for index, tag, _ in cards:
            lookup(index, tag)

    def theirs() -> None:
        get = plain.get
        for _, _, card_id in cards:
            get(card_id)

    times = compare({"ours": ours, "profile": with_profile, "theirs": theirs}, rounds=7)
    per_probe = {name: [value / PROBES for value in values] for name, values in times.items()}
    dict_bytes = sys.getsizeof(plain) + sum(
        sys.getsizeof(key) + sys.getsizeof(value) + 32 for key, value in plain.items()
    )
    against = "dict of bytes to tuple"
    size = path.stat().st_size
    return [
        row("look-up: state, profile number; 1 million cards", against, per_probe, "ours", "theirs", 0.5),
        # The dict has no rights to unpack, so this bar is ours: it is missed if they are unpacked each time. The worst
        # case, since every card of the borough is as likely as any other; who goes to one place shares more.
        row("look-up: state, rights unpacked; 1 million cards", against, per_probe, "profile", "theirs", 4),
        Result(
            name="cache memory, a card",
            against=against,
            ours=size / MILLION,
            theirs=dict_bytes / MILLION,
            unit="B",
            ratio=size / dict_bytes,
            bar=0.12,
        ),
    ]


def _memory(name: str, path: Path, cards: int, bar: float) -> Result:
    """What a process of its own holds of the cache: mapped octets and all else together, after visits of every kind."""
    script = [sys.executable, "-m", "tests.benchmarks.resident", str(path)]
    octets = int(subprocess.run(script, check=True, capture_output=True, text=True).stdout)
    return Result(
        name=f"resident memory, {name} cards",
        against="one octet a card",
        ours=octets / cards,
        theirs=1,
        unit="B",
        ratio=octets / cards,
        bar=bar,
    )


def _cold_start(name: str, path: Path) -> Result:
    """From nothing to all documents compiled and the rights of the first card, against read() of the same octets."""
    # One service of the ten is referred to staff at gates; a reader says so once, not at each round.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    before = open_cache(path)
    last = before.cards - 1
    tag = before.base.row(last) >> 32
    nothing = Catalogue.empty(FEED)

    def ours() -> None:
        cache = open_cold(path, FEED)
        contents = cache.contents
        Catalogue.build(FEED, list(contents.services.values()), contents.world, nothing)
        assert cache.lookup(last, tag) is not None

    def theirs() -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            read = 0
            while read < size:
                read += len(os.read(descriptor, size))
        finally:
            os.close(descriptor)

    return row(
        f"cold start, {name} cards", "read() of the same octets", compare({"o": ours, "t": theirs}), "o", "t", 0.1
    )
