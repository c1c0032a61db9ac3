"""A whole reader on doubles: settings, daemon and how to wait for what it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from readers.clock import TrustedClock
from readers.daemon import Daemon
from readers.settings import LaneSettings, Settings
from tests.unit.readers.kit.doubles import Devices

LONG = 20.0
"""Seconds after which a test that waits for something has failed; it only bounds a hang."""


def site_settings(
    url: str, folder: Path, lanes: tuple[str, ...] = ("in-1",), *, keypads: bool = False, **changes: Any
) -> Settings:
    """Settings of a reader with these lanes and quick periods."""
    values: dict[str, Any] = {
        "poll_seconds": 0.2,
        "beat_seconds": 5.0,
        "status_seconds": 0.2,
        "request_timeout_seconds": 3.0,
    }
    return Settings(
        service=url,
        data_dir=str(folder),
        lanes=tuple(
            LaneSettings(
                lane=name,
                sources=(f"qr:{name}",),
                actuator=f"gate:{name}",
                indicator=f"show:{name}",
                passage_timeout_seconds=0.3,
                keypad=f"keys:{name}" if keypads else None,
            )
            for name in lanes
        ),
        health_port=0,
        **(values | changes),
    )


@asynccontextmanager
async def running(
    settings: Settings, devices: Devices, *, code: str | None = "code-1", clock: TrustedClock | None = None
) -> AsyncIterator[Daemon]:
    """A daemon that runs inside the block and is stopped cleanly after it."""
    daemon = Daemon(settings, maker=devices, clock=clock)
    stop = asyncio.Event()
    task = asyncio.create_task(daemon.run(stop, enrol_code=code))
    started = asyncio.create_task(daemon.started.wait())
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    if task.done():
        await task
    try:
        async with asyncio.timeout(LONG):
            yield daemon
    finally:
        stop.set()
        await task


async def until(condition: Any) -> None:
    """Wait until a condition of the daemon's own state holds, giving way to it meanwhile."""
    async with asyncio.timeout(LONG):
        # The daemon has no event for each of its inner states and should not have one for a test's sake.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def ready(daemon: Daemon) -> None:
    """Wait until the daemon has data for all its feeds, its lanes are assigned and their devices work."""

    def well() -> bool:
        confirmed = all(feed.confirmed_at for feed in daemon.feeds.values())
        return not daemon.health.not_ready() and confirmed and all(lane.status().gate_up for lane in daemon.lanes)

    await until(well)
