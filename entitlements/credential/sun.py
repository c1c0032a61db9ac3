"""Secure unique NFC messages of an NTAG 424 DNA: what the chip computes, computed again (AES mode only).

Each time the chip's file is read, the chip writes into it, as upper-case hex text, its serial number and a counter
encrypted (*PICCData*) and a short MAC over part of the file. Sources: NXP data sheet NT4H2421Gx section 9.3 and
application note AN12196 (session keys 3.3, PICCData 3.4.2, MAC 3.4.4), AN10922 (keys of single chips from one master),
NIST SP 800-38B and RFC 4493 (AES-CMAC).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from entitlements.credential.errors import InvalidKeyError

KEY_BYTES: Final = 16
"""AES-128, the only length the chip knows."""
UID_BYTES: Final = 7
COUNTER_BYTES: Final = 3
COUNTER_LIMIT: Final = 2**24
"""The chip refuses to be read when its counter is full; it never begins again at zero (data sheet section 9.3.1)."""
PICC_BYTES: Final = 16
MAC_BYTES: Final = 8

_PICC_TAG: Final = 0xC7
"""Serial number of 7 bytes and counter are both there (data sheet table 21)."""
_COUNTER_AT: Final = 1 + UID_BYTES
_PADDING_AT: Final = _COUNTER_AT + COUNTER_BYTES
SV_ENCRYPTION: Final = bytes.fromhex("C33C00010080")
"""Beginning of SV1, for the key that file data is encrypted with (AN12196 section 3.3)."""
SV_MAC: Final = bytes.fromhex("3CC300010080")
"""Beginning of SV2, for the key of the MAC."""

_DIVERSIFY_AES128: Final = b"\x01"
_DIVERSITY_MIN: Final = 16
"""AN10922 pads to two blocks always, CMAC only as far as needed: from 16 bytes on, with the constant, both are one."""
_DIVERSITY_MAX: Final = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class PiccData:
    """What a chip says of itself: its serial number and how often it has been read since it was set up.

    :param uid: 7 bytes.
    :param counter: 0 to 2**24 - 1; it grows by one with every reading.
    """

    uid: bytes
    counter: int

    def __post_init__(self) -> None:
        if len(self.uid) != UID_BYTES:
            raise ValueError(f"a serial number has {UID_BYTES} bytes")
        if not 0 <= self.counter < COUNTER_LIMIT:
            raise ValueError(f"a counter is below {COUNTER_LIMIT}")


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-128-CMAC, 16 bytes (NIST SP 800-38B, RFC 4493).

    :raises InvalidKeyError: if the key is not 16 bytes.
    """
    if len(key) != KEY_BYTES:
        raise InvalidKeyError(f"an AES key of a chip has {KEY_BYTES} bytes")
    state = CMAC(algorithms.AES(key))
    state.update(message)
    return state.finalize()


def diversify(master: bytes, diversity: bytes) -> bytes:
    """Key of one chip from a master, 16 bytes (AN10922 section 2.2).

    :param diversity: 16 to 31 bytes that name the chip and the use; shorter ones are not needed here.
    :raises InvalidKeyError: if the master is not 16 bytes.
    :raises ValueError: if the diversity has another length.
    """
    if not _DIVERSITY_MIN <= len(diversity) <= _DIVERSITY_MAX:
        raise ValueError(f"a diversity has {_DIVERSITY_MIN} to {_DIVERSITY_MAX} bytes")
    return cmac(master, _DIVERSIFY_AES128 + diversity)


def decrypt_picc(meta_key: bytes, encrypted: bytes) -> PiccData | None:
    """Open PICCData (AN12196 section 3.4.2.2); ``None`` if another key encrypted it.

    :param meta_key: the chip's SDMMetaReadKey, 16 bytes.
    :param encrypted: 16 bytes. One block under CBC with a zero IV is one block by itself.
    :raises InvalidKeyError: if the key is not 16 bytes.
    :raises ValueError: if ``encrypted`` has another length.
    """
    if len(meta_key) != KEY_BYTES:
        raise InvalidKeyError(f"an AES key of a chip has {KEY_BYTES} bytes")
    if len(encrypted) != PICC_BYTES:
        raise ValueError(f"encrypted PICCData has {PICC_BYTES} bytes")
    decryptor = Cipher(algorithms.AES(meta_key), modes.ECB()).decryptor()  # noqa: S305 -- see above: one block
    plain = decryptor.update(encrypted) + decryptor.finalize()
    if plain[0] != _PICC_TAG:
        return None
    # The counter is written with its lowest byte first; after it comes random padding.
    return PiccData(uid=plain[1:_COUNTER_AT], counter=int.from_bytes(plain[_COUNTER_AT:_PADDING_AT], "little"))


def session_key(file_key: bytes, picc: PiccData, use: bytes = SV_MAC) -> bytes:
    """Key that holds for one reading of one chip (AN12196 section 3.3).

    :param file_key: the chip's SDMFileReadKey, 16 bytes.
    :param use: :data:`SV_MAC` or :data:`SV_ENCRYPTION`.
    """
    return cmac(file_key, use + picc.uid + picc.counter.to_bytes(COUNTER_BYTES, "little"))


def message_mac(file_key: bytes, picc: PiccData, message: bytes) -> bytes:
    """The chip's MAC over the part of the file that it was told to cover, 8 bytes (AN12196 section 3.4.4.2).

    Of the 16 bytes of the CMAC every second one is kept, beginning with the second.
    """
    return cmac(session_key(file_key, picc), message)[1::2]


def mac_matches(file_key: bytes, picc: PiccData, message: bytes, mac: bytes) -> bool:
    """Compare a MAC in constant time."""
    return hmac.compare_digest(message_mac(file_key, picc, message), mac)
