"""A load generator that costs next to nothing: requests made before, written over keep-alive connections.

A client library takes as much of a core as a small service does; on a machine with two cores it would hide what is
measured. This one reads a status, a length and a body, and nothing else of HTTP/1.1 (RFC 9112).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

HOST = "127.0.0.1"
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of one response."""

    status: int
    body: bytes


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """The bytes of one request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *(f"{name}: {value}" for name, value in headers.items())]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + _END + body


class _Client(asyncio.Protocol):
    """One connection: writes the next request when the answer to the one before is whole."""

    def __init__(self, requests: Iterator[bytes], answers: list[Answer]) -> None:
        self._requests = requests
        self._answers = answers
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(_END)
        if head < 0:
            return
        start = self._buffer[:head].lower().find(_LENGTH)
        if start < 0:
            self.connection_lost(ValueError("a response without Content-Length"))
            return
        length = int(self._buffer[start + len(_LENGTH) : head].split(b"\r\n", 1)[0])
        if len(self._buffer) < head + len(_END) + length:
            return
        self._answers.append(Answer(int(self._buffer[9:12]), self._buffer[head + len(_END) :]))
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("closed before the answer"))

    def _next(self) -> None:
        message = next(self._requests, None)
        if message is None:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(message)


async def send(port: int, requests: Iterable[bytes], at_once: int) -> list[Answer]:
    """Every request once, over ``at_once`` connections; the answers in the order in which they came.

    Raises:
        OSError: nobody listens, or a connection ended before its answer.
    """
    answers: list[Answer] = []
    loop, waiting = asyncio.get_running_loop(), iter(requests)
    made = [await loop.create_connection(lambda: _Client(waiting, answers), HOST, port) for _ in range(at_once)]
    await asyncio.gather(*(client.done for _, client in made))
    return answers
