"""PINs: who found a card gets no more guesses than a person may mistype, whatever is unplugged."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from entitlements.wire.secrets import PinVerifier
from readers.clock import TrustedClock
from readers.errors import DatabaseFaultError
from readers.journal import Journal
from readers.pins import ATTEMPTS, FIRST_LOCK_MS, MOST_LOCK_MS, Found, PinGuard, Typed
from tests.unit.readers.kit import pins
from tests.unit.readers.kit.council import NOON, Council


class Door:
    """A guard and one card, with a clock that the test turns; ``again`` is the reader after a kill."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.now_ms = NOON * 1000
        self.card = Council().issue()
        self.verifier = pins.verifier(self.card)
        self.guard = PinGuard(journal, self.clock())

    def clock(self) -> TrustedClock:
        clock = TrustedClock(wall=lambda: self.now_ms, steady=lambda: self.now_ms, boot="b")
        clock.observe(self.now_ms, 0.0)
        return clock

    async def again(self) -> None:
        self.guard = PinGuard(self.journal, self.clock())
        await self.guard.load()

    async def tries(self, *entries: str, verifier: PinVerifier | None = None) -> list[str]:
        found = []
        for digits in entries:
            typed = Typed()
            for digit in digits:
                typed.add(digit)
            found.append((await self.guard.check(verifier or self.verifier, typed)).value)
        return found


@pytest.fixture
def door(journal: Journal) -> Door:
    return Door(journal)


async def test_a_right_pin_after_two_wrong_ones_lets_in_and_begins_anew(door: Door) -> None:
    assert await door.tries(pins.WRONG, pins.WRONG, pins.PIN) == ["wrong", "wrong", "right"]
    assert await door.tries(pins.WRONG, pins.WRONG, pins.PIN) == ["wrong", "wrong", "right"]
    assert await door.journal.attempts() == []


async def test_three_wrong_pins_lock_the_card_against_the_right_one_too(door: Door) -> None:
    assert await door.tries(*[pins.WRONG] * 3, pins.PIN) == ["wrong", "wrong", "locked", "locked"]
    door.now_ms += FIRST_LOCK_MS - 1
    assert await door.tries(pins.PIN) == ["locked"]
    door.now_ms += 1
    assert await door.tries(pins.PIN) == ["right"]


async def test_each_lock_is_twice_as_long_and_none_is_for_ever(door: Door) -> None:
    locks = []
    for _ in range(14):
        assert await door.tries(*[pins.WRONG] * ATTEMPTS) == ["wrong", "wrong", "locked"]
        locks.append((door.guard.locked_until(door.verifier) or 0) - door.now_ms)
        door.now_ms += locks[-1]
    assert locks[:3] == [FIRST_LOCK_MS, 2 * FIRST_LOCK_MS, 4 * FIRST_LOCK_MS]
    assert locks[-1] == MOST_LOCK_MS


@pytest.mark.parametrize("wrong", [1, 2, 3])
async def test_a_pulled_plug_gives_no_attempt_back(door: Door, wrong: int) -> None:
    await door.tries(*[pins.WRONG] * wrong)
    await door.again()
    assert await door.tries(*[pins.WRONG] * (4 - wrong)) == (["wrong"] * 2 + ["locked"] * 2)[wrong:]


async def test_an_attempt_counts_even_if_the_plug_is_pulled_while_it_is_checked(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("readers.pins._matches", lambda *_: None)
        assert await door.tries(pins.PIN) == ["unchecked"]
    await door.again()
    assert door.guard.left(door.verifier) == ATTEMPTS - 1


async def test_two_lanes_at_once_get_no_more_attempts_than_one(door: Door) -> None:
    found = await asyncio.gather(*(door.tries(pins.WRONG) for _ in range(8)))
    assert sorted(result for (result,) in found) == ["locked"] * 6 + ["wrong"] * 2


async def test_a_new_pin_or_the_desk_ends_a_lock_and_an_old_page_does_not(door: Door) -> None:
    await door.tries(*[pins.WRONG] * 3)
    newer = pins.verifier(door.card, pin="90210", version=2)
    assert await door.tries("90210", verifier=newer) == ["right"]
    await door.tries(*[pins.WRONG] * 3, verifier=newer)
    assert await door.tries(pins.PIN) == ["locked"], "version 1 is older than what was tried"


async def test_where_attempts_cannot_be_written_down_no_pin_is_checked(
    door: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fails(*_: object) -> None:
        raise DatabaseFaultError(tmp_path, "as the test wants")

    monkeypatch.setattr(door.journal, "keep_attempts", fails)
    assert await door.tries(pins.PIN) == ["unchecked"]


async def test_cards_have_attempts_of_their_own(door: Door) -> None:
    other = Council().issue()
    await door.tries(*[pins.WRONG] * 3)
    assert await door.tries(pins.PIN, verifier=pins.verifier(other)) == ["right"]


async def test_no_digit_shows_in_a_repr_a_log_or_an_exception(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    typed, pin = Typed(), "47119206"  # so long that no tag beside it has its digits by chance
    for digit in pin:
        typed.add(digit)

    class Quoting:
        @staticmethod
        def verify_phc_encoded(key_material: bytes, _: str) -> None:
            raise ValueError(f"cannot check {key_material!r}")

    monkeypatch.setattr("readers.pins.Argon2id", Quoting)
    with structlog.testing.capture_logs() as logs:
        found = await door.guard.check(door.verifier, typed)
    assert found is Found.UNCHECKED
    assert logs[-1]["event"] == "a PIN could not be checked"
    for text in (repr(logs), repr(typed), str(typed), repr(door.verifier)):
        assert pin not in text
        assert door.verifier.verifier not in text
    typed.wipe()
    assert len(typed) == 0
