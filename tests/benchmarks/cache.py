"""The entitlement cache against what one would take instead: a dict of card ids to tuples, and reading a file."""

from __future__ import annotations

import os
import random
import sys
from array import array
from pathlib import Path

from entitlements.model import CardState
from entitlements.wire.rows import pack_row
from readers.basefile import BaseFile
from tests.benchmarks.measure import Result, compare, row
from tests.benchmarks.world import FEED, gym, gym_profile, open_cache, write_rows

CARDS = 1_000_000
PROBES = 200_000
"""Different cards in turn, as visitors come: a few, again and again, would measure the processor's cache."""


def run() -> list[Result]:
    """Look-up time, memory and cold start at a million cards."""
    dice = random.Random(1)
    tags = array("I", (dice.getrandbits(32) for _ in range(CARDS)))
    rows = array("Q", (pack_row(tag=tag, profile=0, state=CardState.ACTIVE) for tag in tags))
    path = write_rows(rows, [gym_profile(gym())])
    cache = open_cache(path)
    plain = {tag.to_bytes(8, "big"): (CardState.ACTIVE, number) for number, tag in enumerate(tags)}
    probes = [dice.randrange(CARDS) for _ in range(PROBES)]
    cards = [(index, tags[index], tags[index].to_bytes(8, "big")) for index in probes]

    def ours() -> None:
        lookup = cache.lookup
        for index, tag, _ in cards:
            lookup(index, tag)

    def theirs() -> None:
        get = plain.get
        for _, _, card_id in cards:
            get(card_id)

    times = compare({"ours": ours, "theirs": theirs}, rounds=7)
    per_probe = {name: [value / PROBES for value in values] for name, values in times.items()}
    lookup = row("cache look-up, 1 million cards", "dict of bytes to tuple", per_probe, "ours", "theirs", 0.5)

    dict_bytes = sys.getsizeof(plain) + sum(
        sys.getsizeof(key) + sys.getsizeof(value) + 32 for key, value in plain.items()
    )
    memory = Result(
        name="cache memory, a card",
        against="dict of bytes to tuple",
        ours=path.stat().st_size / CARDS,
        theirs=dict_bytes / CARDS,
        unit="B",
        ratio=path.stat().st_size / dict_bytes,
        bar=0.12,
    )
    return [lookup, memory, _cold_start(path)]


def _cold_start(path: Path) -> Result:
    """Opening the base, ready to decide, against read() of the same octets."""

    def ours() -> None:
        BaseFile(path, feed=FEED)

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
        "cold start, 1 million cards", "read() of the same octets", compare({"o": ours, "t": theirs}), "o", "t", 1.0
    )
