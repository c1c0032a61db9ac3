"""API tokens that were looked up a moment ago, so that a burst of requests asks the database once.

A token that is revoked in this process ends at once, in another within :data:`REMEMBERED_SECONDS`. Its expiry is exact.
What is unknown is not remembered.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

REMEMBERED_SECONDS: Final = 1.0
"""How long a revoked token may still open another process of the service."""
MAX_REMEMBERED: Final = 4096
"""Tokens at once; more than a council has desks."""

_Key = tuple[bytes, str | None]
Found = TypeVar("Found")


class Remembered(Generic[Found]):
    """Who holds a token, by the token's hash and the tenant that it named."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds that never go back."""
        self.clock = clock
        self._known: OrderedDict[_Key, tuple[Found, float]] = OrderedDict()
        self._forgotten = 0

    def now(self) -> tuple[float, int]:
        """The instant to pass to :meth:`keep`, read before the database is asked."""
        return self.clock(), self._forgotten

    def get(self, digest: bytes, tenant: str | None) -> Found | None:
        """What was found, if that is recent."""
        found, until = self._known.get((digest, tenant), (None, 0.0))
        return found if self.clock() < until else None

    def keep(self, digest: bytes, tenant: str | None, found: Found, *, asked: tuple[float, int], good: float) -> None:
        """Remember for a second, or as long as the token is good, in seconds from when the database was asked.

        Nothing is kept if something was forgotten meanwhile: the answer may be from before.
        """
        at, forgotten = asked
        if forgotten != self._forgotten:
            return
        self._known[digest, tenant] = found, at + min(good, REMEMBERED_SECONDS)
        self._known.move_to_end((digest, tenant))
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def forget(self) -> None:
        """A token was revoked: ask anew for all."""
        self._forgotten += 1
        self._known.clear()
