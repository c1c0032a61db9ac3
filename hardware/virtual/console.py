"""How a virtual device is commanded: JSON lines on standard input, JSON lines on standard output.

The first line out is ``{"event":"ready","port":N}``. Every command is an object with ``do``; it is answered
by ``{"event":"done","do":...}`` or ``{"event":"error","problem":...}``, in order. The process ends when its
standard input ends (so it never outlives its parent) and on SIGTERM or SIGINT, with exit status 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Command: TypeAlias = Mapping[str, Any]
Handler: TypeAlias = Callable[[Command], Awaitable[None]]

MAX_LINE = 16 * 1024 * 1024
"""Octets of one command: a picture in base64 is the largest."""

READ_SIZE = 65536
"""Octets read from standard input at once: what a Linux pipe holds."""


_writing = threading.Lock()
"""Events come from several threads, and a line must stay whole."""


class CommandError(Exception):
    """A command that the device does not understand."""


def emit(event: str, **facts: object) -> None:
    """Write one event. A parent that no longer reads is as good as gone: the end of its standard input
    follows.
    """
    line = json.dumps({"event": event, **facts}) + "\n"
    try:
        with _writing:
            sys.stdout.write(line)
            sys.stdout.flush()
    except BrokenPipeError:
        # Standard output is not usable any more; give the interpreter another so that its last flush is
        # quiet.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - lives until the process ends


def arguments(description: str) -> argparse.Namespace:
    """The options that all virtual devices share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=_port, default=0, help="port on 127.0.0.1; 0 takes a free one (default)")
    return parser.parse_args()


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is 0 to 65535")
    return port


async def serve_commands(handle: Handler, *, port: int) -> None:
    """Say that the device is ready on ``port``; run ``handle`` for each command until the input or a signal
    ends it.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lines.put_nowait, None)
    # Not before the handlers: who has read this line may send a signal at once.
    emit("ready", port=port)

    def read() -> None:
        # os.read and not sys.stdin: a daemon thread inside a buffered reader would hold its lock at exit,
        # which CPython answers with a fatal error. A thread and not connect_read_pipe: that refuses files and
        # /dev/null.
        buffer = b""
        while chunk := os.read(0, READ_SIZE):
            *complete, buffer = (buffer + chunk).split(b"\n")
            for line in complete:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            if len(buffer) > MAX_LINE:
                break
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, name="standard input", daemon=True).start()
    while (line := await lines.get()) is not None:
        if not line.strip():
            continue
        try:
            command = _parse(line)
            await handle(command)
        except CommandError as error:
            emit("error", problem=str(error))
        else:
            emit("done", do=command["do"])


def _parse(line: bytes) -> Command:
    try:
        command = json.loads(line)
    except ValueError as error:
        raise CommandError(f"not JSON: {error}") from error
    if not isinstance(command, dict) or not isinstance(command.get("do"), str):
        raise CommandError('a command is an object with "do"')
    return command


def number(command: Command, key: str, default: float, *, low: float, high: float) -> float:
    """The number under ``key`` of a command."""
    value = command.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise CommandError(f"{key} is a number from {low} to {high}")
    return value


def flag(command: Command, key: str, default: bool) -> bool:
    value = command.get(key, default)
    if not isinstance(value, bool):
        raise CommandError(f"{key} is true or false")
    return value


def text(command: Command, key: str, default: str | None = None) -> str:
    value = command.get(key, default)
    if not isinstance(value, str):
        raise CommandError(f"{key} is a text")
    return value
