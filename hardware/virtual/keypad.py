"""A virtual keypad behind a serial-to-network box: a TCP port that sends one ASCII character a key.

Run as ``python -m hardware.virtual.keypad [--port N]``.

Commands: ``press`` (``keys``: what a person types, e.g. ``"4711#"``; ``split``: each key in a packet of its own, as
people type), ``drop`` (reset every connection, as a switch that loses power does).
Events: ``connected``, ``pressed`` with the number of keys, never which.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from hardware.virtual.console import Command, CommandError, arguments, emit, flag, serve_commands, text

MAX_KEYS = 64


class KeypadBox:
    """The box: whoever is connected gets every key."""

    def __init__(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the other end leaves. What it sends is of no interest to a keypad."""
        line = writer.get_extra_info("socket")
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writers.add(writer)
        emit("connected")
        try:
            with contextlib.suppress(OSError):
                while await reader.read(256):
                    pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def command(self, command: Command) -> None:
        match command["do"]:
            case "press":
                keys = text(command, "keys")
                if not (keys.isascii() and 0 < len(keys) <= MAX_KEYS):
                    raise CommandError(f"keys are 1 to {MAX_KEYS} ASCII characters")
                if not self._writers:
                    raise CommandError("nobody is connected")
                octets = keys.encode("ascii")
                if flag(command, "split", True):
                    for octet in octets:
                        await self._send(bytes([octet]))
                else:
                    await self._send(octets)
                emit("pressed", count=len(keys))
            case "drop":
                for writer in list(self._writers):
                    writer.transport.abort()
            case other:
                raise CommandError(f"{other!r} is none of press, drop")

    async def _send(self, octets: bytes) -> None:
        for writer in list(self._writers):
            with contextlib.suppress(OSError):
                writer.write(octets)
                await writer.drain()


async def main() -> None:
    options = arguments("A virtual keypad: ASCII keys on a TCP port.")
    box = KeypadBox()
    server = await asyncio.start_server(box.serve, "127.0.0.1", options.port)
    await serve_commands(box.command, port=server.sockets[0].getsockname()[1])
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
