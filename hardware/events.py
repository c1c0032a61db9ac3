"""The queue between a device's thread or task and the one consumer of its events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from hardware.interfaces import Down, Up

Event = TypeVar("Event")

SOURCE_BACKLOG = 64
"""Presentations kept for a consumer that stands still; at one a second a minute's worth, all of them stale.
"""


class EventQueue(Generic[Event]):
    """Ordered events for one consumer.

    With a ``limit`` the oldest event that is neither ``Up`` nor ``Down`` is dropped when it is full; without
    one nothing is. ``put`` belongs to the loop's thread, ``put_from_thread`` to any other.
    """

    def __init__(self, *, limit: int | None = None) -> None:
        self._events: deque[Event] = deque()
        self._limit = limit
        self._filled = asyncio.Event()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Bind to the running loop; called when the device is entered."""
        self._loop = asyncio.get_running_loop()

    def put(self, event: Event) -> None:
        if self._closed:
            return
        if self._limit is not None and len(self._events) >= self._limit:
            self._drop_oldest()
        self._events.append(event)
        self._filled.set()

    def put_from_thread(self, event: Event) -> None:
        loop = self._loop
        if loop is None:
            raise RuntimeError("a device reports events only after it was entered")
        try:
            loop.call_soon_threadsafe(self.put, event)
        except RuntimeError:
            # The loop ended between the check of the thread's stop flag and this call: nobody listens any
            # more.
            self._closed = True

    def close(self) -> None:
        """Let the consumer take what is left and then end."""
        self._closed = True
        self._filled.set()

    def _drop_oldest(self) -> None:
        for index, event in enumerate(self._events):
            if not isinstance(event, Up | Down):
                del self._events[index]
                return
        # Nothing but Up and Down: the oldest of them is history.
        self._events.popleft()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._closed:
                return
            self._filled.clear()
            await self._filled.wait()
