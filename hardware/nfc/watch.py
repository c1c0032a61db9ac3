"""Noticing that a reader has become slow: nfcpy polls slower after hours (its issue 62) until it is opened
anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

BASELINE_POLLS = 20
"""Empty polls after opening that say how fast this reader is."""

SLOW_FACTOR = 3.0
SLOW_ALLOWANCE_SECONDS = 0.1
"""Slow is three times the baseline and a tenth of a second more: a busy machine is not a slow reader."""

SLOW_POLLS = 10
"""So many slow polls in a row ask for a new start."""


@dataclass(slots=True)
class PollWatch:
    """Fed with the seconds of each empty poll since the reader was opened."""

    _baseline: list[float] = field(default_factory=list)
    _slow: int = 0

    def reopen_after(self, seconds: float) -> bool:
        """Note one poll; True if the reader should be closed and opened again."""
        if len(self._baseline) < BASELINE_POLLS:
            self._baseline.append(seconds)
            return False
        limit = median(self._baseline) * SLOW_FACTOR + SLOW_ALLOWANCE_SECONDS
        self._slow = self._slow + 1 if seconds > limit else 0
        return self._slow >= SLOW_POLLS
