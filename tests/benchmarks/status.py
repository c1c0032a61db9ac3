"""The status list of 10 million cards: bringing it up to date against making it anew, and what it weighs."""

from __future__ import annotations

import random

from cardservice.status.array import changed, entries_for, grown
from entitlements.credential.es256 import generate_private_key
from entitlements.credential.keys import SigningKey
from entitlements.credential.status import StatusList, sign_status_list
from entitlements.credential.statusbits import deflate, packed_bytes
from entitlements.model import CardState, Instant, TenantId
from tests.benchmarks.measure import Result, compare, row

CARDS = 10_000_000
CLOSED = CARDS // 100
"""Cards that are no longer good: the rows that the database gives for a list made anew."""
CHANGES = 1_000
COUNCIL = 350_000
"""Cards of a large council."""


def run() -> list[Result]:
    """One list after 1,000 changes, signed, and the bytes of two lists."""
    dice = random.Random(1)
    key = SigningKey.of(TenantId("wcc"), generate_private_key())
    closed = [(index, CardState.REVOKED) for index in dice.sample(range(CARDS), CLOSED)]
    changes = [(index, CardState.LOST) for index in dice.sample(range(CARDS), CHANGES)]
    held = changed(grown(b"", entries_for(CARDS)), closed)

    def signed(packed: bytes) -> str:
        listing = StatusList(
            uri="https://cards.example.gov.uk/v1/tenants/wcc/status",
            issued_at=Instant(1_780_308_000),
            expires_at=Instant(1_780_394_400),
            ttl=300,
            bits=2,
            packed=packed,
        )
        return sign_status_list(listing, key, quick=True)

    times = compare(
        {
            "changes": lambda: signed(changed(held, changes)),
            "anew": lambda: signed(changed(grown(b"", entries_for(CARDS)), closed)),
            "quick": lambda: deflate(held, quick=True),
            "thorough": lambda: deflate(held),
        },
        rounds=5,
    )
    return [
        row(
            "status list of 10 million, 1,000 changes, signed", "made anew from its rows", times, "changes", "anew", 0.5
        ),
        row("the same array compressed", "zlib's highest level", times, "quick", "thorough", 0.1),
        _weight(dice, CARDS, held, quick=True),
        _weight(dice, COUNCIL, None, quick=False),
    ]


def _weight(dice: random.Random, cards: int, packed: bytes | None, *, quick: bool) -> Result:
    """Bits a card on the wire, of a list in which 1 % are revoked, against the two that it has unpacked."""
    if packed is None:
        packed = changed(
            bytes(packed_bytes(cards, 2)), [(i, CardState.REVOKED) for i in dice.sample(range(cards), cards // 100)]
        )
    size = len(deflate(packed, quick=quick))
    return Result(
        name=f"status list of {cards:,}, 1 % revoked, compressed",
        against="2 bits a card",
        ours=size / 1000,
        theirs=cards / 4000,
        unit="kB",
        ratio=size * 4 / cards,
        bar=0.07,
    )
