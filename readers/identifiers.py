"""UUIDs of version 7 (RFC 9562, section 5.7): they sort by the time they were made, which keeps indexes compact."""

from __future__ import annotations

import secrets
from uuid import UUID


class TapIds:
    """Makes ids that strictly increase within one process, even when the clock steps back."""

    def __init__(self) -> None:
        self._last = 0

    def make(self, at_ms: int) -> UUID:
        """A new id for an instant in ms since the epoch."""
        # 48 bits of ms, then 74 random bits of which 12 lie before the variant. A tie or a step back continues from
        # the last one (method 2 of section 6.2: monotonic random).
        value = (max(at_ms, 0) & (1 << 48) - 1) << 74 | secrets.randbits(74)
        if value <= self._last:
            value = self._last + 1 + secrets.randbits(32)
        self._last = value
        high, low = value >> 62, value & (1 << 62) - 1
        return UUID(int=(high >> 12) << 80 | 0x7 << 76 | (high & 0xFFF) << 64 | 0b10 << 62 | low)
