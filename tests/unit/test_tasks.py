"""A service that is asked to stop does stop."""

from __future__ import annotations

import asyncio

import pytest

from cardservice.tasks import end_tasks


async def test_a_task_that_swallows_its_first_cancellations_ends_all_the_same():
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end_tasks(task)
    assert (task.done(), swallowed) == (True, 3)


async def test_a_task_that_failed_before_is_not_hushed_up():
    async def broken() -> None:
        raise OSError("the disk is full")

    task = asyncio.create_task(broken())
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="full"):
        await end_tasks(task)
