"""Ending background tasks for certain."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

AGAIN_SECONDS: Final = 0.2
"""After so long a task that was cancelled and goes on is cancelled again."""


async def end_tasks(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait until they have ended.

    Once is not enough: a library may swallow a cancellation that arrives together with the answer it waits for (seen
    with redis-py), and the task would then go on, and whoever awaits it wait, for ever.
    """
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=AGAIN_SECONDS)
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
