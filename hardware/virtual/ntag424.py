"""The NTAG 424 DNA as pure state: a memory that outlives the field, and the commands of one activation.

Written from NXP's data sheet NT4H2421Gx (sections 8.2, 9.3, 10.7.1, 10.9) and AN12196, and from nothing of ours: it is
the other side of the reader's codec. It holds the three things that a personalisation station gives a chip, in the very
octets that the chip is given, and from then on it is read as any Type 4 tag, its file written anew at each reading.
Only what a gate meets is here: AES mode, encrypted mirror, the file free to read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from hardware.virtual.tag4 import APPLICATION, CAPABILITY_FILE, NDEF_FILE

FILE_SIZE = 256
"""Octets of the NDEF file (data sheet section 8.2.3)."""

CAPABILITY = bytes.fromhex("001720010000FF0406E104010000000506E10500808283000000000000000000")
"""As it leaves the factory (data sheet section 8.2.3.1)."""

KEY_OCTETS, KEYS, UID_OCTETS = 16, 5, 7
COUNTER_END = 0xFFFFFF

OK, WRONG_LENGTH, NOT_ALLOWED, NO_FILE, NOT_FOUND, BAD_PARAMETERS, BAD_INSTRUCTION = (
    0x9000, 0x6700, 0x6982, 0x6985, 0x6A82, 0x6A86, 0x6D00,
)  # fmt: skip

_SDM_AND_MIRROR = 0x40
_UID, _COUNTER, _LIMIT, _FILE_DATA, _TAMPER, _ASCII = 0x80, 0x40, 0x20, 0x10, 0x08, 0x01
_FREE, _NEVER = 0xE, 0xF
_PICC_TEXT, _MAC_TEXT = 32, 16
"""Characters that the encrypted PICCData and the MAC take in the file: capital hexadecimal digits."""


class SettingsError(ValueError):
    """The chip would refuse these file settings (data sheet table 71)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """What secure dynamic messaging does to the file, read from the data of ``ChangeFileSettings``.

    Offsets count octets of the file, whose first two are the length of the message. ``meta_key`` and ``file_key`` are
    numbers of keys; ``limit`` is the counter at which reading ends.
    """

    meta_key: int
    file_key: int
    picc_at: int
    mac_from: int
    mac_at: int
    limit: int

    @classmethod
    def parse(cls, settings: bytes) -> Mirror:
        """Read ``FileOption AccessRights SDMOptions SDMAccessRights`` and the offsets that these announce.

        Raises ``SettingsError``.
        """
        if len(settings) < 6 or settings[0] != _SDM_AND_MIRROR:
            raise SettingsError("secure dynamic messaging is not switched on, in plain communication")
        if settings[2] >> 4 != _FREE:
            raise SettingsError("the file is not free to read")
        options = settings[3]
        if options & (_UID | _COUNTER | _ASCII) != _UID | _COUNTER | _ASCII or options & (_FILE_DATA | _TAMPER):
            raise SettingsError("this chip mirrors serial number and counter, and no file data")
        meta_key, file_key = settings[5] >> 4, settings[5] & 0xF
        if meta_key >= KEYS or file_key >= KEYS:
            raise SettingsError("a key that this chip does not have")
        if settings[4] & 0xF not in (*range(KEYS), _FREE, _NEVER):
            raise SettingsError("a right that there is not")
        rest = settings[6:]
        if len(rest) != (12 if options & _LIMIT else 9):
            raise SettingsError("the offsets are not those that the options announce")
        offsets = [int.from_bytes(rest[at : at + 3], "little") for at in range(0, len(rest), 3)]
        picc_at, mac_from, mac_at = offsets[:3]
        if max(picc_at + _PICC_TEXT, mac_at + _MAC_TEXT) > FILE_SIZE or mac_from > mac_at:
            raise SettingsError("an offset is outside the file, or the MAC begins before what it covers")
        if mac_at < picc_at + _PICC_TEXT and picc_at < mac_at + _MAC_TEXT:
            raise SettingsError("the mirrors overlap")
        return cls(
            meta_key=meta_key,
            file_key=file_key,
            picc_at=picc_at,
            mac_from=mac_from,
            mac_at=mac_at,
            limit=offsets[3] if options & _LIMIT else COUNTER_END,
        )


class Chip:
    """What the chip keeps without a field.

    ``uid`` are 7 octets, ``file`` up to 256 octets of the NDEF file (its length first), ``settings`` the data of
    ``ChangeFileSettings``, ``keys`` five keys of 16 octets, ``counter`` how often it has been read. ``padding`` makes
    the random octets of PICCData. Raises ``SettingsError`` or ``ValueError``.
    """

    def __init__(
        self,
        *,
        uid: bytes,
        file: bytes,
        settings: bytes,
        keys: Sequence[bytes],
        counter: int = 0,
        padding: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if len(uid) != UID_OCTETS or len(keys) != KEYS or any(len(key) != KEY_OCTETS for key in keys):
            raise ValueError("a chip has a serial number of 7 octets and five keys of 16")
        if len(file) > FILE_SIZE or not 0 <= counter <= COUNTER_END:
            raise ValueError(f"a file has at most {FILE_SIZE} octets, and a counter three")
        self.uid = uid
        self.counter = counter
        self.mirror = Mirror.parse(settings)
        self._file = file.ljust(FILE_SIZE, b"\x00")
        self._keys = tuple(keys)
        self._padding = padding

    def read(self) -> bytes | None:
        """Count, and give the whole file as it reads this time; None when the counter is at its end."""
        mirror = self.mirror
        if self.counter >= mirror.limit:
            return None
        self.counter += 1
        counter = self.counter.to_bytes(3, "little")
        plain = b"\xc7" + self.uid + counter + self._padding(5)
        encryptor = Cipher(algorithms.AES(self._keys[mirror.meta_key]), modes.CBC(bytes(16))).encryptor()
        picc = (encryptor.update(plain) + encryptor.finalize()).hex().upper().encode()
        file = self._file[: mirror.picc_at] + picc + self._file[mirror.picc_at + _PICC_TEXT :]
        session = _cmac(self._keys[mirror.file_key], bytes.fromhex("3CC300010080") + self.uid + counter)
        mac = _cmac(session, file[mirror.mac_from : mirror.mac_at])[1::2].hex().upper().encode()
        return file[: mirror.mac_at] + mac + file[mirror.mac_at + _MAC_TEXT :]


class Ntag424Applet:
    """One activation of a chip: one command APDU to one response APDU, as ``tag4.Type4Applet``.

    Reading on with ``ISOReadBinary`` goes on with the same mirrored file; any other command between, and the next
    reading counts again (data sheet section 9.3.1).
    """

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self._in_application = False
        self._selected: int | None = None
        self._reading: bytes | None = None
        self.read_to_end = False
        """The last octet of the message has been read."""

    @property
    def message(self) -> bytes:
        """The NDEF message as it is being read; empty before the first reading."""
        file = self._reading or bytes(2)
        return file[2 : 2 + int.from_bytes(file[:2], "big")]

    def answer(self, command: bytes) -> bytes:
        """See the class."""
        if len(command) < 4 or command[0] != 0x00:
            return _status(BAD_INSTRUCTION)
        if command[1] == 0xB0:
            return self._read(command)
        self._reading = None
        return _status(self._select(command)) if command[1] == 0xA4 else _status(BAD_INSTRUCTION)

    def _select(self, command: bytes) -> int:
        name = command[5 : 5 + command[4]] if len(command) > 4 else b""
        if command[2] == 0x04:
            if name != APPLICATION:
                return NOT_FOUND
            self._in_application, self._selected = True, None
            return OK
        if command[2] not in (0x00, 0x02):
            return BAD_PARAMETERS
        file = int.from_bytes(name, "big")
        if not self._in_application or len(name) != 2 or file not in (CAPABILITY_FILE, NDEF_FILE):
            return NOT_FOUND
        self._selected = file
        return OK

    def _read(self, command: bytes) -> bytes:
        if len(command) != 5:
            return _status(WRONG_LENGTH)
        if self._selected is None:
            return _status(NO_FILE)
        if command[2] & 0x80:
            return _status(BAD_PARAMETERS)
        start = int.from_bytes(command[2:4], "big")
        content = CAPABILITY if self._selected == CAPABILITY_FILE else self._mirrored()
        if content is None:
            return _status(NOT_ALLOWED)
        if start >= len(content):
            return _status(BAD_PARAMETERS)
        end = start + (command[4] or 256)
        if self._selected == NDEF_FILE and end >= 2 + int.from_bytes(content[:2], "big"):
            self.read_to_end = True
        return content[start:end] + _status(OK)

    def _mirrored(self) -> bytes | None:
        if self._reading is None:
            self._reading = self._chip.read()
        return self._reading


def _cmac(key: bytes, message: bytes) -> bytes:
    state = CMAC(algorithms.AES(key))
    state.update(message)
    return state.finalize()


def _status(status: int) -> bytes:
    return status.to_bytes(2, "big")
