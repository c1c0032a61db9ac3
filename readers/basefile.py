"""The base file of one feed: rows, profiles and documents as of one number, mapped into memory and never parsed.

::

    0    8  magic ``RESCARDB``
    8    4  version, little-endian (1)
    12   4  length H of the header JSON, little-endian
    16  32  SHA-256 of octets 0 to 15 and of the header JSON
    48   H  header JSON: feed, epoch, number, SHA-256 of the meta part, SHA-256 of each 64 KiB block of the rows
    ...     meta part (JSON), then zeros up to a multiple of 4,096, then the rows, 8 octets each, then the end

The rows of 10 million cards are 80 MB; checking them all before the first decision would cost more than reading them.
So header and meta are checked when the file is opened, and each block of rows when it is first used or when
:meth:`BaseFile.verify_all` comes to it, whichever is first. No row of an unchecked block is ever believed.
"""

from __future__ import annotations

import hashlib
import itertools
import mmap
import struct
import sys
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from entitlements.wire.rows import ROW_BYTES
from readers.errors import CacheFileError
from readers.files import write_whole

MAGIC: Final = b"RESCARDB"
VERSION: Final = 1
BLOCK_BYTES: Final = 1 << 16
"""64 KiB: a first touch costs some 50 us, and the digests of 10 million cards take 40 kB."""
BLOCK_SHIFT: Final = 13
"""A block has 2**13 rows."""
PAGE: Final = 4096
PREFIX: Final = struct.Struct("<8sII32s")
MAX_HEADER: Final = 4 << 20
"""Octets; the digests of 4 thousand million rows would not fit, those of 500 million do."""


class BaseHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file says of itself. ``digests`` are the SHA-256 of the blocks, one after the other."""

    feed: str
    epoch: str
    number: int
    issue_number: int
    created_at: int
    rows: int
    meta_size: int
    meta_sha256: bytes
    digests: bytes


class BaseFile:
    """An opened base. ``rows[i]`` is the row of card index ``i``; check :attr:`unchecked` before believing it.

    Raises:
        CacheFileError: the file is damaged, cut short, of another version or feed.
    """

    __slots__ = ("_map", "_meta_start", "header", "path", "rows", "unchecked")

    def __init__(self, path: Path, *, feed: str) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise CacheFileError(path, str(error)) from error
        self.header, begin = self._read_header(feed)
        self._meta_start = begin
        if hashlib.sha256(self.meta).digest() != self.header.meta_sha256:
            raise CacheFileError(path, "the profiles and documents are damaged")
        start = _rows_start(begin, self.header.meta_size)
        if self._map[begin + self.header.meta_size : start].strip(b"\0"):
            raise CacheFileError(path, "there is something where only zeros may be")
        view = memoryview(self._map)[start:]
        self.rows: memoryview | array[int] = view.cast("Q") if sys.byteorder == "little" else _swapped(view)
        self.unchecked: set[int] = set(range(len(self.header.digests) // 32))

    def _read_header(self, feed: str) -> tuple[BaseHeader, int]:
        if len(self._map) < PREFIX.size:
            raise CacheFileError(self.path, "cut short")
        magic, version, length, digest = PREFIX.unpack_from(self._map)
        if magic != MAGIC:
            raise CacheFileError(self.path, "not a base file")
        body = self._map[PREFIX.size : PREFIX.size + length] if length <= MAX_HEADER else b""
        if hashlib.sha256(self._map[:16] + body).digest() != digest:
            raise CacheFileError(self.path, "the header is damaged")
        if version != VERSION:
            raise CacheFileError(self.path, f"version {version} is not known, only {VERSION}")
        try:
            header = msgspec.json.decode(body, type=BaseHeader)
        except msgspec.DecodeError as error:
            raise CacheFileError(self.path, f"the header cannot be read: {error}") from error
        begin = PREFIX.size + length
        if header.feed != feed:
            raise CacheFileError(self.path, f"it is of feed {header.feed}, not {feed}")
        size = _rows_start(begin, header.meta_size) + header.rows * ROW_BYTES
        if len(self._map) != size or len(header.digests) != 32 * block_count(header.rows):
            raise CacheFileError(self.path, f"it has {len(self._map)} octets and should have {size}")
        return header, begin

    @property
    def meta(self) -> bytes:
        """The meta part, read from the file: a base does not keep megabytes of JSON in memory."""
        return self._map[self._meta_start : self._meta_start + self.header.meta_size]

    def check_block(self, block: int) -> None:
        """Check one block of rows, if it was not checked before.

        Raises:
            CacheFileError: its octets are not those that were written.
        """
        if block not in self.unchecked:
            return
        if hashlib.sha256(self.block(block)).digest() != self.header.digests[32 * block : 32 * block + 32]:
            raise CacheFileError(self.path, f"the rows of cards {block << BLOCK_SHIFT} and following are damaged")
        self.unchecked.discard(block)

    def verify_all(self) -> None:
        """Check every block; meant for a thread, it releases the interpreter while hashing."""
        for block in range(len(self.header.digests) // 32):
            self.check_block(block)

    def block(self, block: int) -> bytes:
        """The octets of one block of rows, as in the file."""
        start = len(self._map) - self.header.rows * ROW_BYTES + block * BLOCK_BYTES
        return self._map[start : start + BLOCK_BYTES]


def digest_block(block: bytes | memoryview) -> bytes:
    """The digest of one block of rows, as the header keeps it."""
    return hashlib.sha256(block).digest()


def write_base(
    path: Path,
    *,
    feed: str,
    epoch: str,
    number: int,
    issue_number: int,
    created_at: int,
    meta: bytes,
    rows: int,
    digests: bytes,
    blocks: Iterable[bytes | memoryview],
) -> None:
    """Write a base file, whole or not at all. Meant for a thread.

    Args:
        rows: number of rows; ``blocks`` are their octets, 64 KiB each but the last, ``digests`` those of each.

    Raises:
        OSError: the old file is untouched.
        ValueError: there are not as many digests as the rows need.
    """
    if len(digests) != 32 * block_count(rows):
        raise ValueError(f"{rows} rows need {block_count(rows)} digests")
    header = msgspec.json.encode(
        BaseHeader(
            feed=feed,
            epoch=epoch,
            number=number,
            issue_number=issue_number,
            created_at=created_at,
            rows=rows,
            meta_size=len(meta),
            meta_sha256=hashlib.sha256(meta).digest(),
            digests=digests,
        )
    )
    begin = PREFIX.size + len(header)
    padding = bytes(_rows_start(begin, len(meta)) - begin - len(meta))
    front = struct.pack("<8sII", MAGIC, VERSION, len(header))
    digest = hashlib.sha256(front + header).digest()
    write_whole(path, itertools.chain([front + digest, header, meta, padding], blocks))


def _rows_start(begin: int, meta_size: int) -> int:
    return -(-(begin + meta_size) // PAGE) * PAGE


def block_count(rows: int) -> int:
    """Blocks that so many rows fill."""
    return -(-rows * ROW_BYTES // BLOCK_BYTES)


def _swapped(view: memoryview) -> array[int]:
    # The file is little-endian on every machine; a big-endian one pays with a copy.
    words = array("Q", bytes(view))
    words.byteswap()
    return words
