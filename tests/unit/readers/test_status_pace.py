"""Reports of a reader: one change is told at once, a flood of them does not become a flood of requests."""

from __future__ import annotations

from itertools import pairwise

import pytest

from readers.status import APART_SECONDS, AT_ONCE, LATER_SECONDS, Pace


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def reports(pace: Pace, clock: Clock, seconds: float, every: float) -> list[float]:
    """When reports begin, if something changes so often and each report takes a millisecond."""
    began, end = [], clock.now + seconds
    while clock.now < end:
        at = clock.now
        began.append(at)
        clock.now += 0.001
        clock.now = max(clock.now + pace.wait(at), at + every)
    return began


def test_changes_now_and_then_are_each_reported_at_once() -> None:
    clock = Clock()
    began = reports(Pace(clock), clock, 60, every=LATER_SECONDS)
    assert [round(later - earlier, 6) for earlier, later in pairwise(began)] == [0.5] * 119


def test_a_burst_is_reported_closely_and_what_follows_it_twice_a_second() -> None:
    clock = Clock()
    pace = Pace(clock)
    began = reports(pace, clock, 10, every=0.001)
    assert began[AT_ONCE - 1] - began[0] == pytest.approx((AT_ONCE - 1) * APART_SECONDS, rel=0.1)
    assert len(began) == pytest.approx(AT_ONCE + 10 / LATER_SECONDS, abs=1)
    clock.now += AT_ONCE * LATER_SECONDS  # a quiet while
    again = reports(pace, clock, 0.1, every=0.001)
    assert len(again) == pytest.approx(0.1 / APART_SECONDS, abs=1)
