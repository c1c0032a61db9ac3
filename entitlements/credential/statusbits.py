"""The array of a status list: statuses packed into bytes, compressed for the wire and read back within a bound.

IETF Token Status List (draft-ietf-oauth-status-list), section "Compressed Byte Array": a status has 1, 2, 4 or 8 bits,
counted from the least significant bit of each byte; the array is compressed by DEFLATE (RFC 1951) as ZLIB (RFC 1950).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from entitlements.credential.errors import InvalidEncodingError

SIZES: Final = (1, 2, 4, 8)
"""Bits that one status may have."""
MAX_ENTRIES: Final = 2**24
"""Statuses of one list: beyond any council's cards, and the bound of what a stranger's list is inflated to."""
_HIGHEST_LEVEL: Final = 9
"""The draft recommends the highest; only this one gives the bytes of its test vectors."""
_QUICK_MEMORY: Final = 9


class Status(IntEnum):
    """Registered status values (section "Status Types Values")."""

    VALID = 0
    INVALID = 1
    """For good."""
    SUSPENDED = 2
    """For a time."""


def packed_bytes(entries: int, bits: int) -> int:
    """Bytes that so many statuses take."""
    return -(-entries * bits // 8)


def with_statuses(packed: bytes, changes: Iterable[tuple[int, int]], bits: int) -> bytes:
    """The array with some statuses set.

    :param changes: index and status of each; a later one overrides an earlier one.
    :raises IndexError: an index lies outside the array.
    :raises ValueError: a status does not fit in ``bits``.
    """
    array, mask, end = bytearray(packed), (1 << bits) - 1, len(packed) * 8
    for index, status in changes:
        place = index * bits
        if not 0 <= place < end:
            raise IndexError(f"index {index} lies outside the list")
        if not 0 <= status <= mask:
            raise ValueError(f"status {status} does not fit in {bits} bits")
        shift = place & 7
        array[place >> 3] = array[place >> 3] & ~(mask << shift) | status << shift
    return bytes(array)


def status_at(packed: bytes, index: int, bits: int) -> int | None:
    """The status at an index; ``None`` where the array says nothing of it."""
    place = index * bits
    if not 0 <= place < len(packed) * 8:
        return None
    return packed[place >> 3] >> (place & 7) & (1 << bits) - 1


def deflate(packed: bytes, *, quick: bool = False) -> bytes:
    """Compress an array.

    The searching of the highest level is slow on sparse bits: 0.6 to 4 seconds for 10 million cards. Runs of zeros are
    nearly all there is to find, so ``quick`` looks for runs alone (``Z_RLE``): some 20 to 100 times faster and, with
    1 % of the cards revoked, a tenth larger; with 10 % even smaller. Both are plain ZLIB to whoever reads them.

    :param quick: for large arrays; without it, and with classic zlib, the bytes are those of the draft's test vectors.
    """
    strategy, memory = (zlib.Z_RLE, _QUICK_MEMORY) if quick else (zlib.Z_DEFAULT_STRATEGY, zlib.DEF_MEM_LEVEL)
    compressor = zlib.compressobj(_HIGHEST_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, memory, strategy)
    return compressor.compress(packed) + compressor.flush()


def inflate(compressed: bytes, limit: int) -> bytes | None:
    """Decompress an array, stopping as soon as it is larger than ``limit`` bytes.

    :returns: ``None`` where it is larger.
    :raises InvalidEncodingError: it is not one whole ZLIB stream and nothing else.
    """
    inflater = zlib.decompressobj()
    try:
        packed = inflater.decompress(compressed, limit + 1)
    except zlib.error as error:
        raise InvalidEncodingError("not a ZLIB stream") from error
    if len(packed) > limit:
        return None
    if not inflater.eof or inflater.unused_data:
        raise InvalidEncodingError("not one whole ZLIB stream")
    return packed
