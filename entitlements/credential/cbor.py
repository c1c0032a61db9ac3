"""A strict reader of CBOR (RFC 8949): one sequence of bytes for one value, so that no two pass for the same token.

Deterministically encoded CBOR (section 4.2.1) and less than that: whole numbers, byte and text strings, arrays, maps
with such keys, ``false``, ``true`` and ``null``. No indefinite length, no number or length longer than it must be, no
key twice, no tag, no float, nothing left over. A length is believed only as far as there are bytes for it, so that
what is allocated is in proportion to the input, whatever the input claims.
"""

from __future__ import annotations

from typing import Any, Final

from entitlements.credential.errors import InvalidEncodingError

MAX_DEPTH: Final = 8
"""Arrays and maps inside one another: a card has three. Bounds the recursion."""

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)
_SIMPLE: Final = {0xF4: False, 0xF5: True, 0xF6: None}
_LONGER: Final = {24: (1, 24), 25: (2, 1 << 8), 26: (4, 1 << 16), 27: (8, 1 << 32)}
"""Additional information to octets that follow, and the least value that needs so many."""


def decode(data: bytes, *, ordered: bool = True) -> Any:
    """Read the one value that ``data`` is.

    :param ordered: whether the keys of maps must be in the bytewise order of deterministic encoding. Others' encoders
        often keep their own; below a signature the order makes no second identity, so it may be allowed.
    :raises InvalidEncodingError: for anything else than the one encoding of a value of the kinds above.
    """
    value, end = _read(data, 0, ordered, MAX_DEPTH)
    if end != len(data):
        raise InvalidEncodingError("bytes are left over after the CBOR value")
    return value


def _read(data: bytes, place: int, ordered: bool, depth: int) -> tuple[Any, int]:
    """Read one value at ``place``; give it and the place after it."""
    if place >= len(data):
        raise InvalidEncodingError("the CBOR value is cut off")
    initial = data[place]
    place += 1
    kind, number = initial >> 5, initial & 31
    if kind > _MAP:
        if initial not in _SIMPLE:
            raise InvalidEncodingError("a CBOR tag, float or simple value that is not read here")
        return _SIMPLE[initial], place
    if number > 23:
        if number not in _LONGER:
            raise InvalidEncodingError("an indefinite or reserved CBOR length")
        octets, least = _LONGER[number]
        number = int.from_bytes(data[place : place + octets], "big")
        place += octets
        if place > len(data):
            raise InvalidEncodingError("the CBOR value is cut off")
        if number < least:
            raise InvalidEncodingError("a CBOR number is longer than it must be")
    if kind == _UNSIGNED:
        return number, place
    if kind == _NEGATIVE:
        return -1 - number, place
    if number > len(data) - place:  # each element of an array or map takes a byte at least
        raise InvalidEncodingError("a CBOR length claims more than there is")
    if kind == _BYTES:
        return data[place : place + number], place + number
    if kind == _TEXT:
        try:
            return data[place : place + number].decode(), place + number
        except UnicodeDecodeError as error:
            raise InvalidEncodingError("a CBOR text is not UTF-8") from error
    if depth == 0:
        raise InvalidEncodingError("CBOR arrays and maps lie too deep in one another")
    if kind == _ARRAY:
        items = []
        for _ in range(number):
            item, place = _read(data, place, ordered, depth - 1)
            items.append(item)
        return items, place
    return _read_map(data, place, number, ordered, depth - 1)


def _read_map(data: bytes, place: int, pairs: int, ordered: bool, depth: int) -> tuple[dict[Any, Any], int]:
    members: dict[Any, Any] = {}
    last = b""
    for _ in range(pairs):
        begin = place
        if data[begin : begin + 1] >= b"\x80":
            raise InvalidEncodingError("a key of a CBOR map is no number, bytes or text")
        name, place = _read(data, place, ordered, depth)
        if ordered:
            encoded = data[begin:place]
            if encoded <= last:
                raise InvalidEncodingError("the keys of a CBOR map are not in order, or one stands twice")
            last = encoded
        elif name in members:
            raise InvalidEncodingError("a key of a CBOR map stands twice")
        members[name], place = _read(data, place, ordered, depth)
    return members, place
