"""The daemon as a process: from its signals to its end."""

from __future__ import annotations

import asyncio
import signal

import structlog

from readers.daemon import Daemon
from readers.settings import Settings

_log = structlog.get_logger(__name__)


async def run_daemon(settings: Settings, *, enrol_code: str | None = None) -> None:
    """Run a daemon until SIGTERM or SIGINT. Raises ReaderError if it cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    daemon = Daemon(settings)
    run = asyncio.create_task(daemon.run(stop, enrol_code=enrol_code))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({run, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set() and not daemon.started.is_set():
        # During the start nothing looks at ``stop``: a first enrolment may wait for the service for hours.
        run.cancel()
    try:
        await run
    except asyncio.CancelledError:
        _log.info("the reader was stopped before it ran")
