"""The card side of ISO/IEC 14443-4 and of a Type 4 tag, as pure state: octets in, octets out.

``IsoDepTarget`` answers blocks (rules 9 to 13 and D, E of ISO/IEC 14443-4:2018, 7.5.4 and 7.5.5),
``Type4Applet`` answers the commands inside them.
"""

from __future__ import annotations

from typing import Protocol

FRAME_SIZES = (16, 24, 32, 40, 48, 64, 96, 128, 256)
"""Octets of a frame for FSDI 0 to 8 (ISO/IEC 14443-4, table 1)."""

FRAME_OVERHEAD = 3
"""Octets of a frame that carry no information: PCB and the two of the checksum."""

ANSWER_TO_SELECT = bytes.fromhex("0578809000")
"""FSCI 8, FWI 9: nfcpy waits 155 ms for an answer, enough for a process on a busy machine; no CID, no NAD."""

RATS, DESELECT = 0xE0, 0xC2
_CHAINING, _BLOCK_NUMBER, _NAK = 0x10, 0x01, 0x10

OK, NOT_FOUND, BAD_PARAMETERS, UNKNOWN_COMMAND, BEYOND_END = 0x9000, 0x6A82, 0x6A86, 0x6D00, 0x6B00

APPLICATION = bytes.fromhex("D2760000850101")
CAPABILITY_FILE, NDEF_FILE = 0xE103, 0xE104


class Applet(Protocol):
    """What a card does once it is activated: one command APDU to one response APDU."""

    def answer(self, command: bytes) -> bytes: ...


class Type4Applet:
    """The NDEF tag application (NFC Forum Type 4 Tag Operation 2.0), read only.

    ``message`` is an NDEF message of up to 65,000 octets, ``max_le`` the longest data of one answer (15 to
    255).
    """

    def __init__(self, message: bytes, *, max_le: int) -> None:
        size = len(message) + 2
        control = bytes([0x04, 0x06]) + NDEF_FILE.to_bytes(2, "big") + size.to_bytes(2, "big") + b"\x00\xff"
        limits = max_le.to_bytes(2, "big") + (255).to_bytes(2, "big")
        self._files = {
            CAPABILITY_FILE: b"\x00\x0f\x20" + limits + control,
            NDEF_FILE: len(message).to_bytes(2, "big") + message,
        }
        self._max_le = max_le
        self._in_application = False
        self._selected: int | None = None
        self.read_to_end = False
        """The last octet of the message has been read."""

    def answer(self, command: bytes) -> bytes:
        """One command APDU to one response APDU."""
        if len(command) < 4:
            return _status(UNKNOWN_COMMAND)
        match command[1], command[2]:
            case 0xA4, 0x04:
                self._in_application = command[5 : 5 + command[4]] == APPLICATION
                return _status(OK if self._in_application else NOT_FOUND)
            case 0xA4, 0x00:
                file = int.from_bytes(command[5:7], "big")
                if not self._in_application or file not in self._files:
                    return _status(NOT_FOUND)
                self._selected = file
                return _status(OK)
            case 0xB0, _:
                return self._read(command)
        return _status(UNKNOWN_COMMAND)

    def _read(self, command: bytes) -> bytes:
        if self._selected is None or len(command) != 5:
            return _status(BAD_PARAMETERS)
        content = self._files[self._selected]
        start = int.from_bytes(command[2:4], "big")
        if start > len(content):
            return _status(BEYOND_END)
        end = start + min(command[4] or 256, self._max_le)
        if self._selected == NDEF_FILE and end >= len(content):
            self.read_to_end = True
        return content[start:end] + _status(OK)


def _status(status: int) -> bytes:
    return status.to_bytes(2, "big")


class IsoDepTarget:
    """One activation of a card: from the request for an answer to select until the field is gone."""

    def __init__(self, applet: Applet) -> None:
        self._applet = applet
        self._block_number = 1
        self._information = FRAME_SIZES[0] - FRAME_OVERHEAD
        self._command = b""
        self._rest = b""
        self._last: bytes | None = None
        self.active = True

    def activate(self, request: bytes) -> bytes:
        """Answer RATS; its parameter says how long a frame the reader takes."""
        size = FRAME_SIZES[min(request[1] >> 4, 8)] if len(request) > 1 else FRAME_SIZES[0]
        self._information = size - FRAME_OVERHEAD
        self._last = ANSWER_TO_SELECT
        return ANSWER_TO_SELECT

    def answer(self, block: bytes) -> bytes | None:
        """One block to one block; None to keep silent, as a card does on what it does not understand."""
        if not block:
            return None
        control = block[0]
        if control & 0xE2 == 0x02:
            return self._keep(self._information_block(control, block[1:]))
        if control & 0xE6 == 0xA2:
            return self._receipt(control)
        if control == DESELECT:
            self.active = False
            return bytes([DESELECT])
        return None

    def _information_block(self, control: int, data: bytes) -> bytes:
        self._block_number ^= 1
        self._command += data
        if control & _CHAINING:
            return bytes([0xA2 | self._block_number])
        command, self._command = self._command, b""
        self._rest = self._applet.answer(command)
        return self._next_part()

    def _receipt(self, control: int) -> bytes | None:
        if control & _BLOCK_NUMBER == self._block_number:
            return self._last
        if control & _NAK:
            # The reader asks whether the card is there (rule 12).
            return bytes([0xA2 | self._block_number])
        if not self._rest:
            return None
        self._block_number ^= 1
        return self._keep(self._next_part())

    def _next_part(self) -> bytes:
        part, self._rest = self._rest[: self._information], self._rest[self._information :]
        chaining = _CHAINING if self._rest else 0
        return bytes([0x02 | chaining | self._block_number]) + part

    def _keep(self, block: bytes) -> bytes:
        self._last = block
        return block
