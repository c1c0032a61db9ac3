"""Parts of snapshots as one process holds them: one copy of each, whoever takes it and however slowly.

After a new epoch every reader asks for the same two parts at once. A copy for each would be as many times the part as
there are readers; here the first one to ask has it read, the others wait for that, and all are sent from the one copy.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakValueDictionary

from cardservice.feed.access import FeedRef

ROOM: Final = 64 << 20
"""Octets that are held though nobody is being sent them: the parts of a dozen feeds of 350,000 cards."""

Key = tuple[FeedRef, str]
"""A feed and a digest. The feed is part of it, since a digest opens only what the asker is enrolled for."""
Load = Callable[[FeedRef, str], Awaitable[bytes | None]]


class SharedPart:
    """The octets of a part. It can be held weakly, which ``bytes`` cannot."""

    __slots__ = ("__weakref__", "octets")

    def __init__(self, octets: bytes) -> None:
        self.octets = octets


class Shelf:
    """The parts of all feeds that this process has at hand."""

    def __init__(self, load: Load, *, room: int = ROOM) -> None:
        """``load`` reads a part, or gives ``None`` where there is none; ``room`` in octets."""
        self._load = load
        self._room = room
        self._used = 0
        self._held: OrderedDict[Key, SharedPart] = OrderedDict()
        # What is still being sent to somebody is there anyway, so it is found even where there is no room to hold it.
        self._known: WeakValueDictionary[Key, SharedPart] = WeakValueDictionary()
        self._loading: dict[Key, asyncio.Task[SharedPart | None]] = {}

    async def take(self, feed: FeedRef, sha256: str) -> SharedPart | None:
        """The one copy of a part, or ``None`` where the feed has none of that digest.

        Keep it for as long as it is being sent. What ``load`` raises is raised to everybody who waits for it, and the
        next one to ask has it read anew.
        """
        key = (feed, sha256)
        part = self._known.get(key)
        if part is None:
            reading = self._loading.get(key)
            if reading is None:
                reading = self._loading[key] = asyncio.create_task(self._read(key))
                reading.add_done_callback(_nobody_waited)
            # Shielded: who asked first may leave, while others wait for what was read in its name.
            part = await asyncio.shield(reading)
        elif key in self._held:
            self._held.move_to_end(key)
        return part

    async def _read(self, key: Key) -> SharedPart | None:
        try:
            octets = await self._load(*key)
            if octets is None:
                return None
            part = self._known[key] = SharedPart(octets)
            self._hold(key, part)
            return part
        finally:
            del self._loading[key]

    def _hold(self, key: Key, part: SharedPart) -> None:
        """Hold a part, and let go of those that were asked for longest ago where there is no room for all."""
        if len(part.octets) > self._room:
            return
        self._held[key] = part
        self._used += len(part.octets)
        while self._used > self._room:
            _, old = self._held.popitem(last=False)
            self._used -= len(old.octets)


def _nobody_waited(reading: asyncio.Task[SharedPart | None]) -> None:
    """Look at how it ended, so that asyncio does not complain where everybody left before it failed."""
    if not reading.cancelled():
        reading.exception()
