"""Waiting times between attempts to reach a device."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_SECONDS = 0.2
"""A device that restarts is back soon, and people stand at the gate."""

LONGEST_SECONDS = 5.0
"""A device that is off costs one packet each 5 s; a gate that was mended works again at most that much later.
"""


@dataclass(slots=True)
class Backoff:
    """Doubles from 0.2 s to 5 s. No jitter: a gate has its device for itself, there is no herd."""

    _next: float = FIRST_SECONDS

    @property
    def fresh(self) -> bool:
        """No attempt has failed since the last success."""
        return self._next == FIRST_SECONDS

    def reset(self) -> None:
        self._next = FIRST_SECONDS

    def next(self) -> float:
        """Seconds to wait now."""
        wait = self._next
        self._next = min(wait * 2, LONGEST_SECONDS)
        return wait
