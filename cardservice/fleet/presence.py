"""When a reader counts as offline."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

OFFLINE_AFTER: Final = timedelta(seconds=15)
"""Three of a reader's reports missed: one lost report is no alarm, and a dead reader shows within a quarter minute."""


def is_online(state: str, last_seen_at: datetime | None, now: datetime) -> bool:
    """Whether the reader may still reach us and did so lately."""
    return state == "active" and last_seen_at is not None and now - last_seen_at <= OFFLINE_AFTER
