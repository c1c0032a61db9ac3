"""Parts of snapshots over HTTP: immutable bytes under their own digest, so any cache in between may keep them."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from cardservice.feed.ranges import asked_range
from cardservice.feed.sending import STALL_SECONDS, keep_small
from cardservice.feed.shelf import SharedPart

FOREVER: Final = "public, max-age=31536000, immutable"
"""A year, as RFC 8246 suggests: the content of a digest never changes. It is public only to who knows the digest."""
PIECE: Final = 256 << 10
"""Octets written at once: all that a client that takes them slowly has in this process for itself alone."""
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
"""SHA-256 as the manifest writes it."""


def part_response(request: web.Request, sha256: str, part: SharedPart) -> web.Response:
    """The part, the asked range of it (RFC 9110 section 14, one range), or 304 where the asker has it.

    Raises:
        ApiProblem: 416 for a range of which there is nothing.
    """
    tag, size = f'"{sha256}"', len(part.octets)
    headers = {"ETag": tag, "Cache-Control": FOREVER, "Accept-Ranges": "bytes"}
    if any(each.value in (sha256, "*") for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    wanted = None
    if request.headers.get("If-Range", tag) == tag:
        wanted = asked_range(request.headers.get("Range", ""), size)
    if wanted is None:
        return web.Response(body=PartBody(part, 0, size), headers=headers)
    first, last = wanted
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return web.Response(status=206, body=PartBody(part, first, last + 1), headers=headers)


class PartBody(Payload):
    """Octets ``begin`` to ``end`` (not included) of a shared part, as the body of a reply. Nothing is copied."""

    def __init__(self, part: SharedPart, begin: int, end: int) -> None:
        super().__init__(part, content_type="application/octet-stream")
        self._octets = memoryview(part.octets)[begin:end]
        self._size = end - begin

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """As text, for whoever prints a reply."""
        return str(self._octets, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Piece by piece, the next one when the client has taken the one before.

        Raises:
            ConnectionResetError: the client took none within :data:`STALL_SECONDS`, or left.
        """
        keep_small(writer.transport)
        for begin in range(0, len(self._octets), PIECE):
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await writer.write(self._octets[begin : begin + PIECE])
            except TimeoutError:
                _give_up(writer.transport)
                raise ConnectionResetError("the client takes nothing any more") from None
            # A client that takes all at once never makes us wait, and nobody else would get a turn.
            await asyncio.sleep(0)


def _give_up(transport: Any) -> None:
    if transport is not None:
        transport.abort()
