"""Legacy cards that are known by nothing but their chip's serial number (UID).

Anybody can read such a number in passing and write it to a blank chip, so it proves little. It is taken only where the
reader's URL says so, only from cards that hold nothing better, and it is marked as what it is: media ``nfc-uid``.
"""

from __future__ import annotations

from hardware.interfaces import Media

MEDIA: Media = "nfc-uid"
PREFIX = b"RU1:"
LENGTHS = (4, 7, 10)
"""Octets of a single, double and triple size UID (ISO/IEC 14443-3:2018, 6.5.4)."""

_RANDOM = 0x08
"""First octet of a single size UID that the chip makes anew for each field, as phones and bank cards do."""
_CASCADE_TAG = 0x88
_NOT_UNIQUE = 0x0F
"""Low half of the first octet of a single size UID that is fixed and shared by many chips."""


def octets(uid: bytes | None) -> bytes | None:
    """What a reader presents for this serial number: ``RU1:`` and capital hexadecimal digits.

    None for a number that names no card: none at all (type B), random, shared, or of a length that there is not.
    """
    if uid is None or len(uid) not in LENGTHS or uid[0] == _CASCADE_TAG:
        return None
    if len(uid) == 4 and (uid[0] == _RANDOM or uid[0] & 0x0F == _NOT_UNIQUE):
        return None
    return PREFIX + uid.hex().upper().encode()
