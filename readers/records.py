"""Octet strings kept once each and known by a number: packed into a part of a file, read one by one where they lie.

::

    0    4  number of records N, little-endian as all that follows
    4    4  number of slots S, a power of two, at least twice N
    8    8  octets of data D
    16      N + 1 offsets into the data, 4 octets each
    ...     S slots, 4 octets each: 0, or 1 more than the number of a record that hashes there (CRC-32, then the next)
    ...     data, filled with zeros to a multiple of 4

Nothing is parsed when the file is opened and nothing is held in memory but what was added since: 14,000 profiles
as Python objects would take more than a million rows. The slots answer "is this one known?" without a table in memory.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from readers.breath import Breath

HEAD: Final = struct.Struct("<IIQ")
_WORD: Final = struct.Struct("<I")
_PAIR: Final = struct.Struct("<II")
MAX_DATA: Final = (1 << 32) - 1
"""Octets that the offsets can name."""

Read = Callable[[int, int], bytes]
"""Octets ``[start, end)`` of the part, checked before they are given. Raises CacheFileError or IndexError."""


class Records:
    """The packed records at ``start``, and those added since. ``end`` is where the next thing in the part begins.

    Raises:
        CacheFileError: the octets are damaged.
    """

    __slots__ = ("_added", "_data", "_numbers", "_offsets", "_packed", "_read", "_slots", "_start", "end")

    def __init__(self, read: Read, start: int) -> None:
        self._read = read
        self._start = start
        size: int
        self._packed: int
        self._slots: int
        self._packed, self._slots, size = HEAD.unpack(read(start, start + HEAD.size))
        self._offsets = start + HEAD.size
        self._data = self._offsets + 4 * (self._packed + 1 + self._slots)
        self.end = self._data + _padded(size)
        self._added: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return self._packed + len(self._added)

    def __getitem__(self, number: int) -> bytes:
        """A record. Raises IndexError if there is none of this number, CacheFileError if it is damaged."""
        if number < self._packed:
            at = self._offsets + 4 * number
            begin, end = _PAIR.unpack(self._read(at, at + 8))
            return self._read(self._data + begin, self._data + end)
        return self._added[number - self._packed]

    def number_of(self, record: bytes) -> int:
        """The number of a record, a new one if it was not there. Raises CacheFileError."""
        known = self._numbers.get(record)
        if known is not None:
            return known
        found = self._find(record)
        if found is not None:
            return found
        return self.append(record)

    def append(self, record: bytes) -> int:
        """Add a record, even one that is there already: asked for, it keeps its first number."""
        number = len(self)
        self._numbers.setdefault(record, number)
        self._added.append(record)
        return number

    def _find(self, record: bytes) -> int | None:
        slots = self._offsets + 4 * (self._packed + 1)
        place = zlib.crc32(record)
        for step in range(self._slots):
            at = slots + 4 * ((place + step) & (self._slots - 1))
            (taken,) = _WORD.unpack(self._read(at, at + 4))
            if not taken:
                return None
            if self[taken - 1] == record:
                return int(taken) - 1
        return None

    @property
    def added(self) -> list[bytes]:
        """A copy of the list of those added since the part was made."""
        return list(self._added)

    def packed(self) -> tuple[bytes, bytes]:
        """Offsets and data of those in the part, for :func:`pack`."""
        offsets = self._read(self._offsets, self._offsets + 4 * (self._packed + 1))
        (size,) = _WORD.unpack(offsets[-4:])
        return offsets, self._read(self._data, self._data + size)


def pack(records: Sequence[bytes], before: tuple[bytes, bytes] | None = None) -> bytes:
    """The part for these records, after those ``before`` (:meth:`Records.packed`). Meant for a thread.

    Raises:
        ValueError: there are more octets than the offsets can name.
    """
    offsets, old = array("I"), b""
    if before is not None:
        offsets.frombytes(before[0])
        old = before[1]
        if _swaps():
            offsets.byteswap()
    else:
        offsets.append(0)
    first = len(offsets) - 1
    size = len(old) + sum(map(len, records))
    if size > MAX_DATA:
        raise ValueError(f"{size} octets of records are more than {MAX_DATA}")
    breath = Breath()
    for record in records:
        offsets.append(offsets[-1] + len(record))
        breath.take()
    count = len(offsets) - 1
    slots = array("I", bytes(4 * (2 << max(count - 1, 0).bit_length())))
    mask = len(slots) - 1
    for number in range(count):
        record = records[number - first] if number >= first else old[offsets[number] : offsets[number + 1]]
        place = zlib.crc32(record) & mask
        while slots[place]:
            place = place + 1 & mask
        slots[place] = number + 1
        breath.take()
    padding = bytes(_padded(size) - size)
    return b"".join([HEAD.pack(count, len(slots), size), *_little(offsets, slots), old, *records, padding])


def reader_of(octets: bytes) -> Read:
    """Reads from octets in memory."""

    def read(start: int, end: int) -> bytes:
        if not 0 <= start <= end <= len(octets):
            raise IndexError(f"{start} to {end} of {len(octets)} octets")
        return octets[start:end]

    return read


def _little(*words: array[int]) -> Iterable[bytes]:
    for of_them in words:
        if _swaps():
            of_them.byteswap()
        yield of_them.tobytes()


def _padded(size: int) -> int:
    return -(-size // 4) * 4


def _swaps() -> bool:
    return struct.pack("=H", 1) != b"\1\0"
