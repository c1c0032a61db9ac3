"""The lane's display over time: the newest verdict, for a moment, then the invitation to the next person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from hardware.interfaces import Verdict
from readers import display

SHOWN_SECONDS: Final = 3.0
"""How long a verdict stays before the display invites the next person."""


class Screen:
    """Shows verdicts without ever holding up whoever calls :meth:`show`.

    While ``locked`` (a fire) nothing but the fire notice is shown. ``busy`` tells whether somebody is still to walk
    through, so that "Welcome" does not go away before they did.
    """

    def __init__(
        self,
        show: Callable[[Verdict], Awaitable[None]],
        *,
        busy: Callable[[], bool],
        on_shown: Callable[[], None],
    ) -> None:
        self.verdict: Verdict = display.IDLE
        self.locked = False
        self._show = show
        self._busy = busy
        self._on_shown = on_shown
        self._changed = asyncio.Event()

    def show(self, verdict: Verdict) -> None:
        """Put a verdict on the display; the newest wins."""
        if self.locked and verdict is not display.FIRE:
            return
        self.verdict = verdict
        self._changed.set()

    async def run(self) -> None:
        """Serve the display until cancelled."""
        while True:
            self._changed.clear()
            shown = self.verdict
            await self._show(shown)
            self._on_shown()
            try:
                async with asyncio.timeout(None if shown in {display.IDLE, display.FIRE} else SHOWN_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                if self._busy():
                    await self._changed.wait()
                elif not self._changed.is_set():
                    self.verdict = display.IDLE
