"""The offset between the service's clock and this machine's steady clock, and how fast it changes, from measurements.

Each measurement says: the offset was this, give or take half the round trip. That is a bound and not a guess, so two
things are kept apart: the *bound*, in which the truth lies as long as no clock runs wrong by more than 200 millionths,
and the *estimate* within it, by a regression weighted by round trips. Where a bound would be empty some clock was set,
and what was measured before says nothing any more.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_DRIFT: Final = 200e-6
"""Share by which a clock may run wrong: cheap quartz drifts by 20 to 100 millionths, in the cold a little more."""
USUAL_DRIFT: Final = 50e-6
"""Drift expected before anything is known (standard deviation): keeps a few measurements from being over-read."""
SPACING_MS: Final = 60_000
"""Of the measurements within a minute the surest is kept,"""
KEPT: Final = 32
"""and so many of these: half an hour, in which a drift shows to some ten millionths through 20 ms of jitter."""
FLOOR_MS: Final = 1.0
"""Least error taken for the weight of a measurement: clocks are read in whole ms."""


class Seen(NamedTuple):
    """One measurement: the steady clock (ms), the offset to it (ms), and how wrong that may be (ms)."""

    steady: int
    offset: int
    error: float

    def error_at(self, steady: int) -> float:
        """How wrong the offset may be by now."""
        return self.error + abs(steady - self.steady) * MAX_DRIFT


class Estimate(NamedTuple):
    """The offset (ms) at a moment, by how much it changes each ms, and how wrong it may be (ms)."""

    offset: float
    drift: float
    error: float


class Drift:
    """Measurements of late, none contradicting another. ``drift`` is carried on where they begin anew."""

    def __init__(self, first: Seen, drift: float = 0.0) -> None:
        self._seen = [first]
        self._prior = drift

    def fits(self, new: Seen) -> bool:
        """Whether a measurement can be true together with those before."""
        low, high = self._bound(new.steady)
        return new.offset - new.error <= high and new.offset + new.error >= low

    def add(self, new: Seen) -> None:
        """Take a measurement that fits."""
        last = self._seen[-1]
        if new.steady // SPACING_MS != last.steady // SPACING_MS:
            self._seen = [*self._seen[-KEPT + 1 :], new]
        elif new.error <= last.error_at(new.steady):
            self._seen[-1] = new

    def at(self, steady: int) -> Estimate:
        """The estimate for a moment of the steady clock."""
        low, high = self._bound(steady)
        middle, half = (low + high) / 2, (high - low) / 2
        surest = min(seen.error_at(steady) for seen in self._seen)
        offset, drift = self._regression(steady)
        # Whatever the truth within the bound, the estimate is no further from it than the surest measurement is.
        room = max(0.0, surest - half)
        return Estimate(min(max(offset, middle - room), middle + room), drift, max(surest, half))

    def _bound(self, steady: int) -> tuple[float, float]:
        low = max(seen.offset - seen.error_at(steady) for seen in self._seen)
        high = min(seen.offset + seen.error_at(steady) for seen in self._seen)
        return low, high

    def _regression(self, steady: int) -> tuple[float, float]:
        """Offset and drift by least squares with weights 1 / error^2, the usual drift as one more measurement."""
        origin = self._seen[-1].offset  # offsets are as large as the time since 1970: take what differs
        belief = 1 / USUAL_DRIFT**2
        weight = x_sum = y_sum = 0.0
        xx_sum, xy_sum = belief, self._prior * belief
        for seen in self._seen:
            share = 1 / max(seen.error, FLOOR_MS) ** 2
            x, y = float(seen.steady - steady), float(seen.offset - origin)
            weight += share
            x_sum += share * x
            y_sum += share * y
            xx_sum += share * x * x
            xy_sum += share * x * y
        determinant = weight * xx_sum - x_sum * x_sum
        drift = (weight * xy_sum - x_sum * y_sum) / determinant
        drift = min(max(drift, -MAX_DRIFT), MAX_DRIFT)
        # With the drift kept within what a clock can do, the offset that fits best.
        return origin + (y_sum - drift * x_sum) / weight, drift
