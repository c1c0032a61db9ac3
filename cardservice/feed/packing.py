"""From a binary COPY of a feed's cards to the dense array of 8-byte rows, without a Python object for each card.

A COPY in binary (PostgreSQL documentation, COPY, "Binary Format") has records of one size here, so a field of all
cards is a stride through the octets: ten million cards cost a few slices and 80 MB, where tuples would cost gigabytes.
"""

from __future__ import annotations

import sys
from array import array
from typing import Final

from entitlements.wire.rows import ROW_BYTES

HEADER: Final = 19
"""Octets before the first record: signature, flags, length of the extension, which is empty."""
RECORD: Final = 32
"""Octets of a record of ``packed_rows``: number of fields (2), then length (4) and value of index (4), of tag (4), of
state (2) and of profile (4), all big-endian."""
_LENGTHS: Final = {1: 4, 5: 4, 13: 4, 21: 2, 27: 4}
"""What stands where in each record if it is of that form: number of fields, then the lengths, their last octets."""
BLOCK: Final = 1 << 20
"""Octets converted at once, some 2 ms: decisions of nobody wait for it, but other requests of the process do."""


class RowPacker:
    """Takes the chunks of a COPY of ``packed_rows``; ask for ``rows`` and ``profiles`` afterwards."""

    def __init__(self) -> None:
        self.cards = 0
        """Cards so far."""
        self.rows = bytearray()
        """The array, as long as the highest index asks for; no card is a row of zeros."""
        self.profiles: set[int] = set()
        """Numbers of profiles that cards have."""
        self._left = bytearray()
        self._begun = False

    async def write(self, chunk: bytes) -> None:
        """For ``asyncpg.Connection.copy_from_query(output=...)``."""
        self._left += chunk
        if len(self._left) >= BLOCK:
            self._take()

    def finish(self) -> None:
        """All chunks have come.

        Raises:
            ValueError: they are no whole COPY of that form.
        """
        self._take()
        if bytes(self._left) != b"\xff\xff":
            raise ValueError("the COPY of the rows did not end as it should")

    def _take(self) -> None:
        if not self._begun:
            if len(self._left) < HEADER:
                return
            del self._left[:HEADER]
            self._begun = True
        count = len(self._left) // RECORD
        if count:
            block = bytes(self._left[: count * RECORD])
            del self._left[: count * RECORD]
            self._convert(block, count)

    def _convert(self, block: bytes, count: int) -> None:
        for place, length in _LENGTHS.items():
            if block[place::RECORD].count(length) != count:
                raise ValueError("a record of the COPY is not of the form of packed_rows")
        packed = bytearray(count * ROW_BYTES)
        # state | profile << 8 | tag << 32, least octet first (entitlements.wire.rows).
        for place, source in enumerate((23, 31, 30, 29, 17, 16, 15, 14)):
            packed[place::ROW_BYTES] = block[source::RECORD]
        self.profiles.update(_words(block, 28, count))
        self._place(_words(block, 6, count), bytes(packed), 0, count)
        self.cards += count

    def _place(self, indexes: array[int], packed: bytes, first: int, end: int) -> None:
        """Rows ``first`` to ``end`` to their places: whole runs without gaps at once, halves where there is a gap."""
        if indexes[end - 1] - indexes[first] == end - 1 - first:
            begins = indexes[first] * ROW_BYTES
            if len(self.rows) < begins:
                self.rows += bytes(begins - len(self.rows))
            self.rows[begins : begins + (end - first) * ROW_BYTES] = packed[first * ROW_BYTES : end * ROW_BYTES]
            return
        middle = (first + end) // 2
        self._place(indexes, packed, first, middle)
        self._place(indexes, packed, middle, end)


def _words(block: bytes, place: int, count: int) -> array[int]:
    """The 32-bit numbers at ``place`` of every record."""
    octets = bytearray(4 * count)
    for octet in range(4):
        octets[octet::4] = block[place + octet :: RECORD]
    words = array("I")
    words.frombytes(bytes(octets))
    if sys.byteorder == "little":
        words.byteswap()
    return words
