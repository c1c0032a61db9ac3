"""Arithmetic in a process of its own: minutes of it would hold up every request of the service.

The module is run with ``python -m``; it reads an order from its standard input and writes the result to its standard
output. It ends with the service: an order without a service to answer to is no use to anybody.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from cardservice.embedded.process import die_with_parent
from cardservice.errors import AsideError

NICENESS: Final = 10
"""The gates' service on the same machine comes first."""
ERROR_CHARACTERS: Final = 2_000
"""Of what the process said last; the end of a traceback is what matters."""

Order = TypeVar("Order", bound=msgspec.Struct)


async def run_aside(module: str, order: msgspec.Struct, *, seconds: float) -> dict[str, Any]:
    """The result of a module that was given an order.

    Raises:
        AsideError: it ended without one, or took longer.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(msgspec.json.encode(order))
    except TimeoutError:
        raise AsideError(module=module, detail=f"it took longer than {seconds:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise AsideError(module=module, detail=err.decode(errors="replace")[-ERROR_CHARACTERS:])
    result: dict[str, Any] = msgspec.json.decode(out)
    return result


def obey(kind: type[Order], work: Callable[[Order], Awaitable[dict[str, Any]]]) -> None:
    """The other end: read the order, do the work, write the result."""
    die_with_parent()
    os.nice(NICENESS)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=kind)

    async def done() -> dict[str, Any]:
        return await work(order)

    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(done())))
