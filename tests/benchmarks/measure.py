"""Measuring as ratios in one run: candidates take turns within each round, and the median over rounds counts.

Machines differ and are noisy, so a time alone says little; two things measured in the same seconds say much.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal

Work = Callable[[], object]
MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One row of the table. ``ratio`` is ours to the other's; ``bar`` what it may be at most (or at least)."""

    name: str
    against: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    bar: float
    sense: Literal["at most", "at least"] = "at most"

    @property
    def reached(self) -> bool:
        """Whether the bar is reached."""
        return self.ratio <= self.bar if self.sense == "at most" else self.ratio >= self.bar

    def as_json(self) -> dict[str, object]:
        """For the JSON file."""
        return {**asdict(self), "reached": self.reached}


def per_call(work: Work, seconds: float) -> float:
    """Microseconds a call, over about ``seconds``."""
    calls = 1
    while True:
        started = time.perf_counter()
        for _ in range(calls):
            work()
        elapsed = time.perf_counter() - started
        if elapsed >= seconds:
            return elapsed / calls * 1e6
        calls = max(calls * 2, int(calls * seconds / max(elapsed, 1e-9) * 1.1))


def compare(works: Mapping[str, Work], *, rounds: int = 15, seconds: float = 0.04) -> dict[str, list[float]]:
    """Microseconds a call of each work, one value a round; the works take turns."""
    for work in works.values():
        per_call(work, seconds / 4)  # warm
    times: dict[str, list[float]] = {name: [] for name in works}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, work in works.items():
                times[name].append(per_call(work, seconds))
    finally:
        gc.enable()
    return times


def ratio(times: Mapping[str, list[float]], ours: str, theirs: str) -> tuple[float, float, float]:
    """Median of ours, of theirs, and of the ratio round by round."""
    ratios = [mine / other for mine, other in zip(times[ours], times[theirs], strict=True)]
    return statistics.median(times[ours]), statistics.median(times[theirs]), statistics.median(ratios)


def within_a_minute(name: str, seconds: float) -> Result:
    """A row of the table for what may take a minute."""
    return Result(name=name, against="one minute", ours=seconds, theirs=MINUTE, unit="s", ratio=seconds / MINUTE, bar=1)


def row(name: str, against: str, times: Mapping[str, list[float]], ours: str, theirs: str, bar: float) -> Result:
    """A row of the table from measured times."""
    mine, other, value = ratio(times, ours, theirs)
    return Result(name=name, against=against, ours=mine, theirs=other, unit="us", ratio=value, bar=bar)
