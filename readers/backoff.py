"""Waiting longer after each failure, and never in step with the other readers."""

from __future__ import annotations

import random
from typing import Final

GROWTH: Final = 2.0
_random = random.SystemRandom()


class Backoff:
    """Gives the seconds to wait: doubling from ``first`` to ``most``, each with full jitter above a third.

    The jitter keeps a thousand readers from coming back in the same second after the service was away.
    """

    def __init__(self, *, first_seconds: float, most_seconds: float) -> None:
        self._first = first_seconds
        self._most = most_seconds
        self._next = first_seconds

    def next(self) -> float:
        """The wait before the next attempt, in seconds."""
        wait, self._next = self._next, min(self._next * GROWTH, self._most)
        return wait * _random.uniform(1 / 3, 1)

    def reset(self) -> None:
        """The last attempt worked."""
        self._next = self._first
