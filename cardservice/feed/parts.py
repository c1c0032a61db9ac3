"""Parts of snapshots over HTTP: immutable bytes under their own digest, so any cache in between may keep them."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from cardservice.errors import ApiProblem

FOREVER: Final = "public, max-age=31536000, immutable"
"""A year, as RFC 8246 suggests: the content of a digest never changes. It is public only to who knows the digest."""
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def part_response(request: web.Request, sha256: str, octets: bytes) -> web.Response:
    """The part, the asked range of it (RFC 9110 section 14, one range), or 304 where the asker has it.

    Raises:
        ApiProblem: 416 for a range that begins beyond the end.
    """
    tag = f'"{sha256}"'
    headers = {"ETag": tag, "Cache-Control": FOREVER, "Accept-Ranges": "bytes"}
    if tag in {given.strip() for given in request.headers.get("If-None-Match", "").split(",")}:
        return web.Response(status=304, headers=headers)
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    condition = request.headers.get("If-Range", tag)
    if asked is None or asked.groups() == ("", "") or condition != tag:
        return web.Response(body=octets, content_type="application/octet-stream", headers=headers)
    first, last = _bounds(asked[1], asked[2], len(octets))
    headers["Content-Range"] = f"bytes {first}-{last}/{len(octets)}"
    return web.Response(
        status=206, body=octets[first : last + 1], content_type="application/octet-stream", headers=headers
    )


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """First and last byte, both inclusive, of a range of ``size`` bytes."""
    if not first:
        begin, end = max(0, size - int(last)), size - 1
    else:
        begin, end = int(first), min(int(last or size - 1), size - 1)
    if begin > end:
        raise ApiProblem(
            416,
            "range_not_satisfiable",
            f"The part has {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return begin, end
