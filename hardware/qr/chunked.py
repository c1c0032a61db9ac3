"""The chunked transfer coding (RFC 9112, 7.1), as pure state. Some cameras use it, most do not."""

from __future__ import annotations

import re

from hardware.errors import BadStreamError

MAX_CHUNK = 16 * 1024 * 1024
"""Octets of one chunk; nothing is kept of it, the bound only catches nonsense."""

MAX_SIZE_LINE = 256
"""Octets of the line with the size, extensions and all."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")


class Chunks:
    """Feed coded octets, get the plain ones."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._left = 0
        self._after_data = False

    def feed(self, octets: bytes) -> bytes:
        """Raises ``BadStreamError`` for nonsense and at the last chunk: a camera has no end."""
        plain = bytearray()
        at = 0
        while at < len(octets):
            if self._left:
                part = octets[at : at + self._left]
                plain += part
                at += len(part)
                self._left -= len(part)
                self._after_data = True
                continue
            end = octets.find(b"\n", at)
            stop = len(octets) if end < 0 else end + 1
            self._line += octets[at:stop]
            at = stop
            if len(self._line) > MAX_SIZE_LINE:
                raise BadStreamError("the size of a chunk does not end")
            if end >= 0:
                self._size_line()
        return bytes(plain)

    def _size_line(self) -> None:
        line = bytes(self._line).strip(b"\r\n")
        self._line.clear()
        if not line and self._after_data:
            # The line end that closes a chunk.
            self._after_data = False
            return
        size = _SIZE.fullmatch(line)
        if size is None:
            raise BadStreamError("the size of a chunk is no number")
        self._left = int(size[1], 16)
        if self._left == 0:
            raise BadStreamError("the camera ended the stream")
        if self._left > MAX_CHUNK:
            raise BadStreamError(f"a chunk of {self._left} octets")
