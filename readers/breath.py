"""Giving way to decisions during long work: a slice of time at most, then a turn for whoever waits.

By time, not by count: a thousand changes of one kind take a millisecond, a thousand of another take forty.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

SLICE_SECONDS: Final = 50e-6
"""Longest piece of work between two turns: as long as a decision, of which some take 5 and some 100 us."""
PAUSE_SECONDS: Final = 50e-6
"""How long a thread sleeps between pieces. ``sleep(0)`` would be back before the event loop's thread, which waits for
the interpreter, has woken up; then it gets its turn only after the interpreter's own switch interval, 5 ms."""
CHECK_EVERY: Final = 4
"""Steps in a thread between two looks at the clock."""
ROUNDS: Final = 3
"""Rounds of the event loop between two pieces: in one it sees that somebody came, in the next it decides. With fewer, a
second piece would come in between, of each task that works in pieces."""


class Breath:
    """In a thread: call :meth:`take` after each small step. ``every``: after so many of them the clock is looked at."""

    __slots__ = ("_clock", "_every", "_steps", "_until")

    def __init__(self, clock: Callable[[], float] = time.perf_counter, *, every: int = CHECK_EVERY) -> None:
        self._clock = clock
        self._every = every
        self._steps = 0
        self._until = clock() + SLICE_SECONDS

    def take(self) -> None:
        """Let the event loop have the interpreter, if this piece has lasted long enough."""
        self._steps += 1
        if self._steps % self._every == 0 and self._clock() > self._until:
            time.sleep(PAUSE_SECONDS)
            self._until = self._clock() + SLICE_SECONDS


def paced(items: Iterable[T]) -> Iterator[T]:
    """In a thread: the items, with a breath after each that took long enough with what the caller did with it."""
    breath = Breath(every=1)
    for item in items:
        yield item
        breath.take()


class Turns:
    """In the event loop: ``if turns.over(): await turns.give()`` after each small step."""

    __slots__ = ("_clock", "_until")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._until = clock() + SLICE_SECONDS

    def over(self) -> bool:
        """Whether this piece has lasted long enough."""
        return self._clock() > self._until

    async def give(self) -> None:
        """Let all else that is ready have its turn, and what that makes ready."""
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        self._until = self._clock() + SLICE_SECONDS
