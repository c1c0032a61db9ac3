"""The air between a reader and a virtual card: the card's end of nfcpy's udp driver.

How that driver works (nfcpy 1.0.4, ``nfc/clf/udp.py``): one frame is one datagram ``BITRATE HEX``, e.g.
``106A 26``. The reader sends to the port in its path from a socket with a free port, and takes a new socket
for each look at the field; a look at an empty field lasts one second. When it gives a card up it sends
``RFOFF`` to the port, if the card ever answered. The listening side binds the port of its path on every
address, and only while it listens. So one port is one reader's field: two readers need two ports, and a card
process for each.

``CardEnd`` differs from the driver in three ways: it binds 127.0.0.1 only; it stays bound while no card is
there, and a card that is put down answers the newest waiting look at once, so that a presentation is noticed
in milliseconds and not at the next second; and it can be called off while it waits.
"""

from __future__ import annotations

import os
import select
import socket
import time
from binascii import unhexlify

import nfc.clf
import nfc.clf.udp

LOOK_SECONDS = 0.9
"""A look at the field older than this is about to end; answering it would meet nobody."""

SENSE_REQUESTS = (b"\x26", b"\x52")
"""REQA and WUPA (ISO/IEC 14443-3, 6.4.1)."""

MAX_DATAGRAM = 1024


class CalledOff(Exception):
    """:meth:`CardEnd.call_off` was called."""


class CardEnd(nfc.clf.udp.Device):  # type: ignore[misc] # nfcpy has no types
    """A device of nfcpy's udp driver that listens on ``port`` of 127.0.0.1 (0: any) from the start."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.addr: tuple[str, int] = self.socket.getsockname()
        self.sent_data = self.rcvd_data = 0
        self._path = f"udp:127.0.0.1:{self.addr[1]}"
        self._chipset_name = "UDP"
        self._attention, self._bell = os.pipe()
        self._waiting: tuple[str, bytearray, tuple[str, int]] | None = None
        self._waiting_since = 0.0
        self.active = False
        """A card is activated: a new look at the field then means that the reader has given it up."""

    def mute(self) -> None:
        """A card has no field to switch off, and the socket must outlive every listening."""

    def close(self) -> None:
        self.socket.close()

    def call_off(self) -> None:
        """Make the thread that waits raise ``CalledOff``; safe to call from any thread."""
        os.write(self._bell, b"!")

    def stay_away(self) -> None:
        """Wait without a card in the field, keeping the newest look at it. Ends by ``CalledOff``."""
        while True:
            frame = self._frame(None)
            if frame is not None and bytes(frame[1]) in SENSE_REQUESTS:
                self._waiting, self._waiting_since = frame, time.monotonic()

    def _bind_socket(self, _time_to_return: float) -> bool:
        return True

    def _create_socket(self) -> None:
        """It exists from the start."""

    def _recv_data(self, timeout: float | None, *bitrates: str) -> tuple[str, bytearray, tuple[str, int]]:
        deadline = None if timeout is None else time.monotonic() + timeout
        waiting, self._waiting = self._waiting, None
        if waiting is not None and time.monotonic() - self._waiting_since < LOOK_SECONDS:
            return waiting
        while True:
            frame = self._frame(deadline)
            if frame is None:
                raise nfc.clf.TimeoutError("no data received")
            if self.active and bytes(frame[1]) in SENSE_REQUESTS:
                self._waiting, self._waiting_since = frame, time.monotonic()
                raise nfc.clf.BrokenLinkError("the reader looks for cards again")
            if frame[0] in bitrates:
                return frame

    def _frame(self, deadline: float | None) -> tuple[str, bytearray, tuple[str, int]] | None:
        """The next well-formed datagram, None at the deadline."""
        while True:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            sources: list[socket.socket | int] = [self.socket, self._attention]
            readable, _, _ = select.select(sources, [], [], wait)
            if self._attention in readable:
                os.read(self._attention, 1)
                raise CalledOff
            if not readable:
                return None
            datagram, address = self.socket.recvfrom(MAX_DATAGRAM)
            if datagram.startswith(b"RFOFF"):
                if self.active:
                    raise nfc.clf.BrokenLinkError("RFOFF")
                continue
            bitrate, _, digits = datagram.partition(b" ")
            try:
                data = bytearray(unhexlify(digits))
            except ValueError:
                continue
            if data:
                self.rcvd_data += len(data)
                return bitrate.decode("ascii", "replace"), data, address
