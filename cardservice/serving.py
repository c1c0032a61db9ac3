"""Serving: one process on uvloop, or several behind one address by gunicorn. SIGTERM lets open requests finish."""

from __future__ import annotations

import asyncio
import gc
import signal
from typing import Any, Final

import structlog
import uvloop
from aiohttp import web
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger as GunicornLogger

from cardservice.app import make_app
from cardservice.logs import configure_logs, quieten
from cardservice.settings import Settings

FINISH_SECONDS: Final = 10.0
"""How long requests may take to finish once we were asked to stop; orchestrators kill after 30."""

COLLECT_EVERY: Final = 20_000
"""New objects between two collections of the youngest: some 10 MB, and a pause of a millisecond or two."""

log = structlog.get_logger("serving")


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingError: a secret is missing.
        OSError: the address is taken, or the database does not answer.
    """
    configure_logs(settings)
    if settings.workers > 1:
        log.info("serving", address=f"http://{settings.bind}", workers=settings.workers, public_url=settings.public_url)
        _Workers(settings).run()
    else:
        uvloop.run(_serve_here(settings))


async def _serve_here(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(make_app(settings), access_log=None, shutdown_timeout=FINISH_SECONDS)
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port).start()
        settle()
        host, port = runner.addresses[0][:2]
        log.info("serving", address=f"http://{host}:{port}", public_url=settings.public_url)
        await stop.wait()
        log.info("stopping: open requests may finish", seconds=FINISH_SECONDS)
    finally:
        await runner.cleanup()
    log.info("stopped")


def settle() -> None:
    """What was made until now stays; let the collector look at it no more, and come less often.

    A batch of taps is a thousand objects that live for milliseconds. By default each batch brings the collector twice,
    and every tenth time it goes through all that the service is made of.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)


class _Logger(GunicornLogger):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's lines through our formatter instead of its own handlers."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True
        quieten()


async def _settled(_: web.Application) -> None:
    settle()


class _Workers(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn without its command line: our settings, its processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": self._settings.bind,
            "workers": self._settings.workers,
            "worker_class": "aiohttp.GunicornUVLoopWebWorker",
            "graceful_timeout": int(FINISH_SECONDS),
            "proc_name": "cardservice",
            "logger_class": _Logger,
            "control_socket_disable": True,  # nobody asks for it, and it would write outside of our folders
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Each worker makes its own application, with its own pool and loop."""
        configure_logs(self._settings)

        async def make() -> web.Application:
            app = make_app(self._settings)
            app.on_startup.append(_settled)
            return app

        return make
