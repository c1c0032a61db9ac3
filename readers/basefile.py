"""The base file of one feed: rows, profiles and documents as of one number, mapped into memory and never parsed.

::

    0    8  magic ``RESCARDB``
    8    4  version, little-endian (3)
    12   4  length H of the header JSON, little-endian
    16  32  HMAC-SHA256 of octets 0 to 15, of the header JSON and of the digests, under this reader's own key
    48   H  header JSON (:class:`BaseHeader`)
    ...     digests: SHA-256 of each 64 KiB block of the profiles, then of each of the rows
    ...     meta part (JSON), then zeros up to a multiple of 4,096
    ...     profiles part (:mod:`readers.profiles`), then zeros up to a multiple of 4,096
    ...     rows, 8 octets each, then the end

The rows of 10 million cards are 80 MB; checking them all before the first decision would cost more than reading them.
So header and meta are checked when the file is opened, and each block of profiles and rows when it is first used or
when :meth:`BaseFile.verify_all` comes to it, whichever is first. No octet of an unchecked block is ever believed.

Whoever can write the file and not read the key cannot alter a row: its block's digest is under the HMAC.

A block is checked with ``pread``, not through the mapping: where the disk cannot read it that is an error like any
other, and the file is rebuilt. Through the mapping it would be SIGBUS, which ends the process, at every start anew.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import mmap
import os
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from entitlements.wire.rows import ROW_BYTES
from readers.breath import Breath, paced
from readers.errors import CacheFileError
from readers.files import write_whole

MAGIC: Final = b"RESCARDB"
VERSION: Final = 3
BLOCK_BYTES: Final = 1 << 16
"""64 KiB: a first touch costs some 50 us, and the digests of 10 million cards take 40 kB."""
BLOCK_SHIFT: Final = 13
"""A block has 2**13 rows."""
DIGEST_BYTES: Final = 32
PAGE: Final = 4096
PREFIX: Final = struct.Struct("<8sII32s")
MAX_HEADER: Final = 4096
"""Octets; it is some 300."""

Words = memoryview | array  # type: ignore[type-arg]  # of 32-bit numbers; a memoryview says of what in 3.14 only


class BaseHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file says of itself. Sizes in octets, ``rows`` their number, times in ms since the epoch.

    ``created_at`` is that of the snapshot, ``last_at`` that of change ``number``; 0 where it is not known.
    """

    feed: str
    epoch: str
    number: int
    issue_number: int
    created_at: int
    rows: int
    meta_size: int
    meta_sha256: bytes
    profiles_size: int
    last_at: int = 0


class BaseFile:
    """An opened base. ``key`` is the one that it was written with.

    ``tags[i]`` and ``lows[i]`` are the upper and the lower half of the row of card index ``i``. Both are empty until
    every block of the rows was checked: who looks a row up must ask :meth:`row` then.

    Raises:
        CacheFileError: the file is damaged, cut short, of another version or feed.
    """

    __slots__ = (
        "_digests",
        "_file",
        "_map",
        "_meta_start",
        "_profiles_start",
        "_rows_start",
        "_unchecked_profiles",
        "_words",
        "header",
        "lows",
        "path",
        "tags",
        "unchecked",
    )

    def __init__(self, path: Path, *, feed: str, key: bytes = b"") -> None:
        self.path = path
        self._file = -1
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._map = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)
            self.header, self._digests, self._meta_start = self._read_header(feed, key)
            self._find_parts()
        except (OSError, ValueError) as error:
            raise CacheFileError(path, str(error)) from error
        rows = memoryview(self._map)[self._rows_start :]
        self._words: Words = rows.cast("I") if sys.byteorder == "little" else _swapped(rows)
        self.tags: Words = self._words[:0]
        self.lows: Words = self._words[:0]
        self.unchecked: set[int] = set(range(block_count(self.header.rows * ROW_BYTES)))
        """Blocks of the rows that were not checked yet."""
        self._unchecked_profiles = set(range(block_count(self.header.profiles_size)))
        self._all_checked()

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def _read_header(self, feed: str, key: bytes) -> tuple[BaseHeader, bytes, int]:
        whole = len(self._map)
        if whole < PREFIX.size:
            raise CacheFileError(self.path, "cut short")
        magic, version, length, digest = PREFIX.unpack(os.pread(self._file, PREFIX.size, 0))
        if magic != MAGIC:
            raise CacheFileError(self.path, "not a base file")
        if version != VERSION:
            raise CacheFileError(self.path, f"version {version} is not known, only {VERSION}")
        if length > MAX_HEADER:
            raise CacheFileError(self.path, "the header is damaged")
        body = os.pread(self._file, length, PREFIX.size)
        try:
            header = msgspec.json.decode(body, type=BaseHeader)
        except msgspec.DecodeError as error:
            raise CacheFileError(self.path, f"the header cannot be read: {error}") from error
        sizes = (header.rows, header.profiles_size, header.meta_size)
        if min(sizes) < 0 or max(sizes) > whole:
            raise CacheFileError(self.path, "the header is damaged")
        count = block_count(header.profiles_size) + block_count(header.rows * ROW_BYTES)
        begin = PREFIX.size + length
        digests = os.pread(self._file, DIGEST_BYTES * count, begin)
        if not hmac.compare_digest(hmac.digest(key, os.pread(self._file, 16, 0) + body + digests, "sha256"), digest):
            raise CacheFileError(self.path, "the header is damaged, or was not written by this reader")
        if header.feed != feed:
            raise CacheFileError(self.path, f"it is of feed {header.feed}, not {feed}")
        return header, digests, begin + len(digests)

    def _find_parts(self) -> None:
        meta_end = self._meta_start + self.header.meta_size
        self._profiles_start = _page(meta_end)
        profiles_end = self._profiles_start + self.header.profiles_size
        self._rows_start = _page(profiles_end)
        size = self._rows_start + self.header.rows * ROW_BYTES
        if len(self._map) != size:
            raise CacheFileError(self.path, f"it has {len(self._map)} octets and should have {size}")
        if hashlib.sha256(self.meta).digest() != self.header.meta_sha256:
            raise CacheFileError(self.path, "the documents are damaged")
        for start, end in ((meta_end, self._profiles_start), (profiles_end, self._rows_start)):
            if os.pread(self._file, end - start, start).strip(b"\0"):
                raise CacheFileError(self.path, "there is something where only zeros may be")

    @property
    def meta(self) -> bytes:
        """The meta part, read from the file: a base does not keep megabytes of JSON in memory."""
        return os.pread(self._file, self.header.meta_size, self._meta_start)

    def row(self, index: int) -> int:
        """The row of a card below ``header.rows``, its block checked. Raises CacheFileError."""
        block = index >> BLOCK_SHIFT
        if block in self.unchecked:
            self.check_block(block)
        at = 2 * index
        return int(self._words[at]) | int(self._words[at + 1]) << 32

    def profiles(self, start: int, end: int) -> bytes:
        """Octets ``[start, end)`` of the profiles part, their blocks checked.

        Raises:
            CacheFileError: they are not those that were written.
            IndexError: they do not lie in the part.
        """
        if not 0 <= start <= end <= self.header.profiles_size:
            raise IndexError(f"{start} to {end} of {self.header.profiles_size} octets")
        if self._unchecked_profiles:
            for block in range(start // BLOCK_BYTES, block_count(end)):
                self._check_profiles(block)
        return self._map[self._profiles_start + start : self._profiles_start + end]

    def _check_profiles(self, block: int) -> None:
        if block in self._unchecked_profiles:
            self._read_block(self._profiles_start, self.header.profiles_size, block, block, "profiles")
            self._unchecked_profiles.discard(block)

    def check_block(self, block: int) -> bytes:
        """Check one block of rows and give its octets.

        Raises:
            CacheFileError: its octets are not those that were written, or cannot be read.
        """
        before = block_count(self.header.profiles_size)
        octets = self._read_block(self._rows_start, self.header.rows * ROW_BYTES, block, before + block, "rows")
        self.unchecked.discard(block)
        self._all_checked()
        return octets

    def _read_block(self, start: int, size: int, block: int, number: int, what: str) -> bytes:
        at = block * BLOCK_BYTES
        try:
            octets = os.pread(self._file, min(BLOCK_BYTES, size - at), start + at)
        except OSError as error:
            raise CacheFileError(self.path, f"block {block} of the {what} cannot be read: {error}") from error
        if hashlib.sha256(octets).digest() != self._digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)]:
            raise CacheFileError(self.path, f"block {block} of the {what} is damaged")
        return octets

    def _all_checked(self) -> None:
        if not self.unchecked:
            self.tags, self.lows = self._words[1::2], self._words[::2]

    def verify_all(self) -> None:
        """Check every block that was not yet. Meant for a thread: it holds the interpreter for microseconds only."""
        breath = Breath()
        for block in sorted(self._unchecked_profiles):
            self._check_profiles(block)
            breath.take()
        for block in sorted(self.unchecked):
            self.check_block(block)
            breath.take()

    def row_digests(self) -> bytes:
        """The SHA-256 of each block of the rows, one after the other."""
        return self._digests[DIGEST_BYTES * block_count(self.header.profiles_size) :]


def digest_block(block: bytes | bytearray | memoryview) -> bytes:
    """The digest of one block, as the file keeps it."""
    return hashlib.sha256(block).digest()


def write_base(
    path: Path,
    *,
    feed: str,
    epoch: str,
    number: int,
    issue_number: int,
    created_at: int,
    meta: Sequence[bytes],
    profiles: bytes,
    rows: int,
    digests: bytes,
    blocks: Iterable[bytes | bytearray | memoryview],
    last_at: int = 0,
    key: bytes = b"",
) -> None:
    """Write a base file, whole or not at all. Meant for a thread.

    Args:
        key: of the HMAC (RFC 2104), this reader's own.
        meta: the part in pieces.
        rows: number of rows; ``blocks`` are their octets, 64 KiB each but the last, ``digests`` those of each.

    Raises:
        OSError: the old file is untouched.
        ValueError: there are not as many digests as the rows need.
    """
    needed = block_count(rows * ROW_BYTES)
    if len(digests) != DIGEST_BYTES * needed:
        raise ValueError(f"{rows} rows need {needed} digests")
    whole = hashlib.sha256()
    for piece in paced(meta):
        whole.update(piece)
    meta_size = sum(map(len, meta))
    header = msgspec.json.encode(
        BaseHeader(
            feed=feed,
            epoch=epoch,
            number=number,
            issue_number=issue_number,
            created_at=created_at,
            rows=rows,
            meta_size=meta_size,
            meta_sha256=whole.digest(),
            profiles_size=len(profiles),
            last_at=last_at,
        )
    )
    pieces = (profiles[start : start + BLOCK_BYTES] for start in range(0, len(profiles), BLOCK_BYTES))
    front = header + b"".join(map(digest_block, paced(pieces))) + digests
    prefix = struct.pack("<8sII", MAGIC, VERSION, len(header))
    digest = hmac.digest(key, prefix + front, "sha256")
    before, between = _filling(PREFIX.size + len(front) + meta_size), _filling(len(profiles))
    parts = itertools.chain([prefix + digest, front], meta, [before, profiles, between], blocks)
    write_whole(path, paced(parts))


def block_count(octets: int) -> int:
    """Number of blocks that so many octets take."""
    return -(-octets // BLOCK_BYTES)


def _page(at: int) -> int:
    return -(-at // PAGE) * PAGE


def _filling(end: int) -> bytes:
    """The zeros after a part that ends there."""
    return bytes(_page(end) - end)


def _swapped(rows: memoryview) -> array[int]:
    words = array("I")
    words.frombytes(rows)
    words.byteswap()
    return words
