"""Logging: one line for each event, JSON for machines or plain text for a person at a terminal.

Tracebacks are plain text. structlog's own, in both forms, print the local variables of each frame, and with them codes,
masters and what was typed; of an exception's words the code that raises takes care.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import orjson
import structlog


def _dump(value: Any, **_: Any) -> bytes:
    return orjson.dumps(value, default=str)


def set_up_logging(form: Literal["json", "console"]) -> None:
    """Log to standard error from now on. Call once, at the start of a process."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        structlog.configure(
            processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dump)],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[
                *shared,
                structlog.dev.ConsoleRenderer(
                    colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
                ),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=True,
        )
    # What libraries say: warnings and worse, in their own words.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
