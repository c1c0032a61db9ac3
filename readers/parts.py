"""Unpacking a part of a snapshot: one Zstandard frame (RFC 8878), to exactly the octets that the manifest names."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Final

from entitlements.wire.feed import Part
from readers.errors import SnapshotRefusedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK: Final = 1 << 20
WINDOW_LOG: Final = 23
"""8 MiB, as RFC 8878 section 3.1.1.1.2 recommends as the least that every decoder supports: a frame that asks for more
memory is refused."""


def unpack(feed: str, part: Part, path: Path) -> None:
    """Turn the fetched part in ``path``, whose digest was found good, into its content. Meant for a thread.

    Never writes more than the manifest names, whatever the frame would unpack to.

    Raises:
        SnapshotRefusedError: it is no such frame, or unpacks to something else.
        OSError: it could not be written.
    """
    content = part.zstd
    if content is None:
        return
    target = path.with_suffix(".unpacked")
    digest, size = hashlib.sha256(), 0
    decoder = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})
    try:
        with path.open("rb") as packed, target.open("wb") as file:
            while not decoder.eof and size <= content.size:
                data = packed.read(CHUNK) if decoder.needs_input else b""
                if decoder.needs_input and not data:
                    raise SnapshotRefusedError(feed, "a part ends in the middle of its frame")
                octets = decoder.decompress(data, CHUNK)
                size += len(octets)
                digest.update(octets)
                file.write(octets)
            if decoder.unused_data or packed.read(1):
                raise SnapshotRefusedError(feed, "a part has something after its frame")
    except zstd.ZstdError as error:
        raise SnapshotRefusedError(feed, f"a part cannot be unpacked: {error}") from error
    if (size, digest.hexdigest()) != (content.size, content.sha256):
        raise SnapshotRefusedError(feed, "a part unpacks to something else than the manifest names")
    target.replace(path)
