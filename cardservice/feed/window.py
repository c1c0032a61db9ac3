"""The time for which grants are compiled: whole days, so that it moves once a day and equal rights stay equal bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from entitlements.model import Instant
from entitlements.profile import Horizon

AHEAD: Final = timedelta(days=36)
"""From the day's start: at least 35 days remain. A reader offline for a month still knows who turned 16."""
BACK: Final = timedelta(days=1)
"""A reader whose clock is corrected backwards, or that judges a late event, asks about yesterday."""


def window_of(now: datetime) -> tuple[datetime, datetime]:
    """Begin and end of the horizon on this day (UTC)."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - BACK, day + AHEAD


def as_horizon(begins: datetime, ends: datetime) -> Horizon:
    """The same for the compiler, in epoch seconds."""
    return Horizon(start=Instant(int(begins.timestamp())), end=Instant(int(ends.timestamp())))
