"""API tokens remembered between requests: never longer than is said, and never beyond their end."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from cardservice.api.tokens import MAX_REMEMBERED, REMEMBERED_SECONDS, Remembered

DIGEST = b"\x01" * 32


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_revoked_in_another_process_opens_this_one_for_a_second_at_most():
    clock = Clock()
    known: Remembered[str] = Remembered(clock)
    known.keep(DIGEST, None, "desk", asked=known.now(), good=3600.0)
    clock.now += REMEMBERED_SECONDS - 0.001
    assert known.get(DIGEST, None) == "desk"
    clock.now += 0.001
    assert known.get(DIGEST, None) is None
    assert REMEMBERED_SECONDS <= 1.0


def test_a_token_revoked_in_this_process_opens_nothing_from_then_on():
    known: Remembered[str] = Remembered(Clock())
    known.keep(DIGEST, None, "desk", asked=known.now(), good=3600.0)
    known.forget()
    assert known.get(DIGEST, None) is None


def test_a_token_looked_up_before_its_revocation_is_not_remembered_after_it():
    known: Remembered[str] = Remembered(Clock())
    asked = known.now()
    known.forget()
    known.keep(DIGEST, None, "desk", asked=asked, good=3600.0)
    assert known.get(DIGEST, None) is None


@given(good=st.floats(0, 2), slow=st.floats(0, 2), later=st.floats(0, 2))
def test_no_token_opens_anything_after_its_last_moment(good: float, slow: float, later: float):
    """``slow`` is how long the database took to answer, ``later`` when the next request comes."""
    clock = Clock()
    known: Remembered[str] = Remembered(clock)
    asked = known.now()
    clock.now += slow
    known.keep(DIGEST, None, "desk", asked=asked, good=good)
    clock.now += later
    if clock.now >= asked[0] + min(good, REMEMBERED_SECONDS):
        assert known.get(DIGEST, None) is None
    else:
        assert known.get(DIGEST, None) == "desk"


def test_a_token_of_the_platform_is_remembered_for_the_council_that_it_named_and_no_other():
    known: Remembered[str] = Remembered(Clock())
    known.keep(DIGEST, "wcc", "platform for wcc", asked=known.now(), good=3600.0)
    assert known.get(DIGEST, "wcc") == "platform for wcc"
    assert known.get(DIGEST, "rbkc") is None
    assert known.get(DIGEST, None) is None


def test_any_number_of_tokens_takes_no_more_than_a_fixed_room():
    known: Remembered[int] = Remembered(Clock())
    for number in range(MAX_REMEMBERED + 10):
        known.keep(number.to_bytes(32, "big"), None, number, asked=known.now(), good=3600.0)
    kept = [number for number in range(MAX_REMEMBERED + 10) if known.get(number.to_bytes(32, "big"), None) == number]
    assert kept == list(range(10, MAX_REMEMBERED + 10)), "the oldest went"
