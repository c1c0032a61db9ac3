"""Base45 (RFC 9285), the strict way: bytes as the 45 characters that a QR code packs densest.

Two bytes become three characters, a last byte two. As each group has one writing only, a strict decoder reads no text
that the encoder would not have written; nothing is skipped, nothing is put right, lower case is refused.
"""

from __future__ import annotations

from typing import Final

from entitlements.credential.errors import InvalidEncodingError

_ALPHABET: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_FOREIGN: Final = 255
_VALUES: Final = bytes(_ALPHABET.find(bytes([octet])) % 256 for octet in range(256))
"""Value of each character, :data:`_FOREIGN` for one that Base45 does not have."""
_LANE: Final = 3
"""Octets for one group while it is worked out, as many as it has characters: 44 * (1 + 45 + 2025) has 17 bits."""
_LAST_OCTET: Final = b"\0\0\xff"


def b45_encode(raw: bytes) -> bytes:
    """Write bytes as Base45 (RFC 9285 section 4.2)."""
    text = bytearray()
    for place in range(0, len(raw) - 1, 2):
        high, low = divmod(raw[place] << 8 | raw[place + 1], 45)
        middle, high = high % 45, high // 45
        text += bytes((_ALPHABET[low], _ALPHABET[middle], _ALPHABET[high]))
    if len(raw) & 1:
        high, low = divmod(raw[-1], 45)
        text += bytes((_ALPHABET[low], _ALPHABET[high]))
    return bytes(text)


def b45_decode(text: bytes) -> bytes:
    """Read Base45 (RFC 9285 section 4.3). What it allocates is in proportion to ``text``; cap that first.

    All groups are worked out at once, each in 24 bits of its own of one large integer: a gate reads a code while a
    queue waits, and a loop over the groups takes three times as long.

    :raises InvalidEncodingError: for every text that :func:`b45_encode` would not have written.
    """
    values = text.translate(_VALUES)
    whole, left = divmod(len(values), 3)
    if left == 1 or _FOREIGN in values:
        raise InvalidEncodingError("not Base45")
    text_value = int.from_bytes(values[: whole * _LANE], "big")
    octet_of_each = int.from_bytes(_LAST_OCTET * whole, "big")
    high, middle, low = (text_value >> shift & octet_of_each for shift in (0, 8, 16))
    groups = ((high * 45 + middle) * 45 + low).to_bytes(whole * _LANE, "big")  # of each group: carry, octet, octet
    if groups[0::_LANE].count(0) != whole:  # a group above 65535, e.g. ":::"
        raise InvalidEncodingError("not Base45")
    raw = bytearray(whole * 2)
    raw[0::2] = groups[1::_LANE]
    raw[1::2] = groups[2::_LANE]
    if left:
        last = values[-2] + 45 * values[-1]
        if last > 255:
            raise InvalidEncodingError("not Base45")
        raw.append(last)
    return bytes(raw)
