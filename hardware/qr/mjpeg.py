"""Octets of an MJPEG response to JPEG frames: HTTP/1.x with ``multipart/x-mixed-replace`` (RFC 9112, RFC
2046, 5.1).

Pure: octets in, frames out, the same frames however the octets are cut. Cameras are careless, so this
forgives what does no harm (a boundary declared with its dashes, missing lengths, a frame that is no JPEG) and
bounds everything: no answer of a camera makes it keep more than one frame and one header.
"""

from __future__ import annotations

import re

from hardware.errors import BadStreamError
from hardware.qr.chunked import Chunks

MAX_HEADER = 16_384
"""Octets of one block of header lines, also of what stands between two parts."""

MAX_FRAME = 4 * 1024 * 1024
"""Octets of one JPEG: a 4K picture of a camera has 1 to 2 million."""

MAX_BAD_PARTS = 25
"""Parts without a JPEG in a row: a second's worth. Then it is no camera."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: |$)")
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
JPEG_START = b"\xff\xd8"


class MjpegParser:
    """Feed it what the camera sends; after an exception it is of no more use.

    ``max_frame`` in octets.
    """

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._chunks: Chunks | None = None
        self._delimiter: bytes | None = None
        self._in_part = False
        self._length: int | None = None
        self._bad_parts = 0

    def feed(self, octets: bytes) -> list[bytes]:
        """The frames that ``octets`` complete. Raises ``BadStreamError``."""
        self._buffer += octets if self._chunks is None else self._chunks.feed(octets)
        if self._delimiter is None and not self._response():
            return []
        frames: list[bytes] = []
        while True:
            if self._in_part:
                body = self._body()
                if body is None:
                    return frames
                if self._is_frame(body):
                    frames.append(body)
            elif not self._part_header():
                return frames

    def _header_lines(self) -> dict[bytes, bytes] | None:
        """Take a block of header lines off the buffer, None while it is not complete."""
        end = _HEADER_END.search(self._buffer, 0, MAX_HEADER)
        if end is None:
            if len(self._buffer) >= MAX_HEADER:
                raise BadStreamError(f"a header longer than {MAX_HEADER} octets")
            return None
        lines = bytes(self._buffer[: end.start()]).splitlines()
        del self._buffer[: end.end()]
        first = lines[0] if lines else b""
        fields = {b"": first}
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon:
                raise BadStreamError("a header line without a colon")
            fields[name.strip().lower()] = value.strip()
        return fields

    def _response(self) -> bool:
        """Read the head of the response; False while it is not complete."""
        fields = self._header_lines()
        if fields is None:
            return False
        status = _STATUS.match(fields[b""])
        if status is None:
            raise BadStreamError("no HTTP/1 response")
        if status[1] != b"200":
            raise BadStreamError(f"the camera answers with status {status[1].decode()}")
        kind = fields.get(b"content-type", b"").decode("latin-1")
        boundary = _BOUNDARY.search(kind)
        if not kind.lower().startswith("multipart/") or boundary is None:
            raise BadStreamError(f"the content is {kind or 'of no type'!r}, not multipart with a boundary")
        name = boundary[1].strip().lstrip("-")
        if not name:
            raise BadStreamError("the boundary is empty")
        # Some cameras declare the boundary with its leading dashes, some without: the name is what counts.
        self._delimiter = b"--" + name.encode("latin-1")
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            self._chunks = Chunks()
            rest, self._buffer = bytes(self._buffer), bytearray()
            self._buffer += self._chunks.feed(rest)
        return True

    def _part_header(self) -> bool:
        """Skip to the next part and read its header; False while it is not complete."""
        delimiter = self._require_delimiter()
        at = self._buffer.find(delimiter)
        # Bounded alike whether the octets come one by one or all at once.
        if at > MAX_HEADER or (at < 0 and len(self._buffer) >= MAX_HEADER + len(delimiter)):
            raise BadStreamError("no boundary where a part should begin")
        if at < 0:
            return False
        del self._buffer[:at]
        if self._buffer.startswith(delimiter + b"--"):
            raise BadStreamError("the camera ended the stream")
        if len(self._buffer) < len(delimiter) + 2:
            return False
        fields = self._header_lines()
        if fields is None:
            return False
        self._length = self._declared(fields.get(b"content-length"))
        self._in_part = True
        return True

    def _declared(self, value: bytes | None) -> int | None:
        if value is None:
            return None
        if not _LENGTH.fullmatch(value):
            raise BadStreamError("a Content-Length that is no number")
        length = int(value)
        if length > self._max_frame:
            raise BadStreamError(f"a frame of {length} octets, more than {self._max_frame}")
        # Some cameras say 0 and mean "until the boundary".
        return length or None

    def _body(self) -> bytes | None:
        """Take the body of a part off the buffer, None while it is not complete."""
        if self._length is not None:
            end = self._length
            if len(self._buffer) < end:
                return None
        else:
            ending = b"\n" + self._require_delimiter()
            # One octet more than a frame: the carriage return that belongs to the ending.
            limit = self._max_frame + 1 + len(ending)
            end = self._buffer.find(ending, 0, limit)
            if end < 0:
                if len(self._buffer) >= limit:
                    raise BadStreamError(f"a frame of more than {self._max_frame} octets")
                return None
        body = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._in_part = False
        return body if self._length is not None else body.removesuffix(b"\r")

    def _is_frame(self, body: bytes) -> bool:
        if body.startswith(JPEG_START) and len(body) <= self._max_frame:
            self._bad_parts = 0
            return True
        self._bad_parts += 1
        if self._bad_parts > MAX_BAD_PARTS:
            raise BadStreamError(f"{self._bad_parts} parts in a row without a JPEG")
        return False

    def _require_delimiter(self) -> bytes:
        if self._delimiter is None:
            raise BadStreamError("a part before the head of the response")
        return self._delimiter
