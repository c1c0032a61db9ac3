"""Reading the NDEF message of a Type 4 tag (NFC Forum Type 4 Tag Operation 2.0; ISO/IEC 7816-4 commands).

A pure dialogue: what is sent depends only on what was answered, so the same code runs over any reader. A card
cannot make it run on: at most 160 commands, at most 4 kB, and a deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from hardware.errors import CardError, ProbeTimeoutError
from hardware.interfaces import MAX_PRESENTED_BYTES, Media, Transceive
from hardware.nfc.ndef import credential

APPLICATION = bytes.fromhex("D2760000850101")
"""NDEF tag application, mapping version 2 (Type 4 Tag Operation 2.0, 4.3)."""

CAPABILITY_FILE = bytes.fromhex("E103")
CAPABILITY_LENGTH = 15
"""Octets of the capability container up to and with its first TLV."""

RESERVED_FILES = {0x0000, 0xE102, 0xE103, 0x3F00, 0x3FFF, 0xFFFF}
"""Never an NDEF file (Type 4 Tag Operation 2.0, 5.1.2.1)."""

MIN_MAX_LE = 15
"""Smallest MLe the standard allows."""

MAX_LE_SHORT = 255
"""Octets asked for in one short command. 256 is legal too, but some readers' frames end below it."""

MAX_MESSAGE = MAX_PRESENTED_BYTES + 64
"""Octets: the longest presentation and its record header."""

MAX_COMMANDS = 160
"""A token of 1,000 octets from the most frugal card (15 at a time) takes 70; this is twice as many."""

OK = 0x9000
_SELECT, _READ_BINARY = 0xA4, 0xB0
_CONTROL_TLV, _CONTROL_LENGTH = 0x04, 6
_FREE_ACCESS = 0x00


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What the capability container says: answers' longest data, NDEF file, its size with the length field."""

    max_le: int
    file: bytes
    size: int


class Type4Ndef:
    """The ``CardProtocol`` of a tag or phone that holds the card as an NDEF message."""

    media: Media = "nfc-ndef"

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def probe(self, transceive: Transceive, deadline: float) -> bytes | None:
        """See ``interfaces.CardProtocol``."""
        card = _Dialogue(transceive, deadline, self._clock)
        if not card.select_application(APPLICATION):
            return None
        card.select_file(CAPABILITY_FILE)
        capability = parse_capability(card.read(0, CAPABILITY_LENGTH, MIN_MAX_LE))
        card.select_file(capability.file)
        length = int.from_bytes(card.read(0, 2, capability.max_le), "big")
        if length == 0:
            # Also what a tag shows while it is being written: a caller that tries again may see the message.
            raise CardError("the card holds no message")
        if length > min(capability.size - 2, MAX_MESSAGE):
            raise CardError(f"the card announces a message of {length} octets")
        octets = credential(card.read(2, length, capability.max_le))
        if octets is None:
            raise CardError("the card's message holds no credential")
        if len(octets) > MAX_PRESENTED_BYTES:
            raise CardError(f"the card's credential has {len(octets)} octets")
        return octets


def parse_capability(octets: bytes) -> Capability:
    """Read a capability container (Type 4 Tag Operation 2.0, 5.1). Raises ``CardError``."""
    if len(octets) < CAPABILITY_LENGTH or int.from_bytes(octets[:2], "big") < CAPABILITY_LENGTH:
        raise CardError("the capability container is too short")
    if octets[2] >> 4 not in (2, 3):
        raise CardError(f"mapping version {octets[2] >> 4}.{octets[2] & 15} is not known")
    max_le = int.from_bytes(octets[3:5], "big")
    if max_le < MIN_MAX_LE:
        raise CardError(f"the card allows answers of only {max_le} octets")
    if octets[7] != _CONTROL_TLV or octets[8] != _CONTROL_LENGTH:
        raise CardError("the capability container names no NDEF file")
    file, size = octets[9:11], int.from_bytes(octets[11:13], "big")
    if int.from_bytes(file, "big") in RESERVED_FILES:
        raise CardError("the capability container names a reserved file")
    if octets[13] != _FREE_ACCESS:
        raise CardError("the NDEF file is protected")
    return Capability(max_le=min(max_le, MAX_LE_SHORT), file=file, size=size)


class _Dialogue:
    """Commands to one card, counted and timed."""

    def __init__(self, transceive: Transceive, deadline: float, clock: Callable[[], float]) -> None:
        self._transceive = transceive
        self._deadline = deadline
        self._clock = clock
        self._commands = 0

    def select_application(self, name: bytes) -> bool:
        """False where the card does not have the application."""
        _, status = self._send(bytes([0x00, _SELECT, 0x04, 0x00, len(name)]) + name + b"\x00")
        return status == OK

    def select_file(self, file: bytes) -> None:
        _, status = self._send(bytes([0x00, _SELECT, 0x00, 0x0C, len(file)]) + file)
        if status != OK:
            raise CardError(f"file {file.hex().upper()} cannot be selected", status=status)

    def read(self, offset: int, length: int, max_le: int) -> bytes:
        """Exactly ``length`` octets from ``offset`` of the selected file, in as many commands as it takes."""
        octets = b""
        while len(octets) < length:
            wanted = min(length - len(octets), max_le)
            at = offset + len(octets)
            data, status = self._send(bytes([0x00, _READ_BINARY, at >> 8, at & 0xFF, wanted]))
            if status != OK:
                raise CardError(f"reading at {at} failed", status=status)
            if not 0 < len(data) <= wanted:
                raise CardError(f"{len(data)} octets came where 1 to {wanted} were asked for")
            octets += data
        return octets

    def _send(self, command: bytes) -> tuple[bytes, int]:
        if self._clock() >= self._deadline:
            raise ProbeTimeoutError("the card did not finish its dialogue in time")
        if self._commands == MAX_COMMANDS:
            raise CardError(f"the card is not read after {MAX_COMMANDS} commands")
        self._commands += 1
        answer = self._transceive(command)
        if len(answer) < 2:
            raise CardError("an answer without status")
        return answer[:-2], int.from_bytes(answer[-2:], "big")
