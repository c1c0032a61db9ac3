"""Waiting after failures: too short and a thousand readers overrun a service that is back, too long and taps wait."""

from __future__ import annotations

import pytest

from readers import backoff
from readers.backoff import Backoff


class Dice:
    """Throws what a test wants, as a part of what is between the bounds; remembers the bounds."""

    def __init__(self, *parts: float) -> None:
        self.parts = list(parts)
        self.bounds: list[tuple[float, float]] = []

    def uniform(self, low: float, high: float) -> float:
        self.bounds.append((low, high))
        return low + (high - low) * (self.parts.pop(0) if self.parts else 1.0)


def thrown(monkeypatch: pytest.MonkeyPatch, *parts: float) -> Dice:
    dice = Dice(*parts)
    monkeypatch.setattr(backoff, "_random", dice)
    return dice


def test_a_service_that_stays_away_is_asked_ever_less_often_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    thrown(monkeypatch)
    wait = Backoff(first_seconds=0.25, most_seconds=3)
    assert [wait.next() for _ in range(6)] == [0.25, 0.5, 1, 2, 3, 3]


def test_a_service_that_came_back_and_fails_again_is_asked_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    thrown(monkeypatch)
    wait = Backoff(first_seconds=0.25, most_seconds=30)
    for _ in range(5):
        wait.next()
    wait.reset()
    assert [wait.next(), wait.next()] == [0.25, 0.5]


def test_readers_that_failed_together_do_not_come_back_together(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = thrown(monkeypatch, 0.0, 0.5, 1.0)
    waits = [Backoff(first_seconds=3, most_seconds=30).next() for _ in range(3)]
    assert waits == pytest.approx([1, 2, 3])
    assert set(dice.bounds) == {(1 / 3, 1)}, "never at once, never longer than meant"


def test_the_jitter_of_one_wait_does_not_change_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    thrown(monkeypatch, 0.0, 1.0)
    wait = Backoff(first_seconds=3, most_seconds=30)
    assert [wait.next(), wait.next()] == pytest.approx([1, 6])


def test_real_chance_stays_within_the_bounds_and_differs() -> None:
    waits = [Backoff(first_seconds=3, most_seconds=30).next() for _ in range(100)]
    assert all(1 <= wait <= 3 for wait in waits)
    assert len(set(waits)) > 90
