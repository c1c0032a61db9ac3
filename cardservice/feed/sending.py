"""How much of the machine one client that takes what it is sent slowly, or not at all, may have."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

STALL_SECONDS: Final = 60.0
"""A client that takes nothing for so long is gone; its connection is given up."""
SEND_BYTES: Final = 128 << 10
"""What the kernel may hold of a connection, in octets. By itself it lets a socket grow to 4 MiB: some hundred clients
that take nothing would then have a gigabyte of the machine's memory, and hold up all others when TCP has no more."""


def keep_small(transport: asyncio.BaseTransport | None) -> None:
    """Let the kernel hold no more than :data:`SEND_BYTES` of what is sent through this connection."""
    link = None if transport is None else transport.get_extra_info("socket")
    if link is not None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
