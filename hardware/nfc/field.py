"""One opened nfcpy reader and the card in its field: the only place that touches nfcpy.

Everything here blocks and belongs to the reader's thread. nfcpy lets exceptions of many kinds out when a
device is unplugged (``termios.error``, ``IndexError`` of a short frame, USB errors); the thread treats
whatever is not one of ours as "the device is gone".
"""

from __future__ import annotations

import contextlib
from typing import Any

import nfc
import nfc.clf
import nfc.tag

from hardware.errors import LinkLostError

ISO_DEP = 0x20
"""Bit of SEL_RES that says ISO/IEC 14443-4 (NFC Forum Digital 2.0, table 20)."""

_LOST = (nfc.clf.CommunicationError, nfc.tag.TagCommandError)


class Card:
    """A card in the field. ``speaks_apdu`` is False for memory tags (a bus card, a sticker)."""

    def __init__(self, frontend: Any, target: Any, tag: Any) -> None:
        self._frontend = frontend
        self._target = target
        self._tag = tag

    @property
    def speaks_apdu(self) -> bool:
        return self._tag is not None

    @property
    def uid(self) -> bytes | None:
        """Serial number of a type A card, without cascade tags; None for type B, which has none to rely on."""
        number = self._target.sdd_res if self._target.brty.endswith("A") else None
        return bytes(number) if number else None

    def transceive(self, command: bytes) -> bytes:
        """See ``interfaces.Transceive``; the card's own frame waiting time applies."""
        try:
            answer = self._tag.transceive(bytearray(command))
        except _LOST as error:
            raise LinkLostError(f"the card did not answer: {error}") from error
        return bytes(answer or b"")

    def is_present(self) -> bool:
        """Ask the card twice: one lost frame is no farewell."""
        if self._tag is None:
            # A memory tag has no presence check of its own: it is there if it, and not the next one, is found again.
            found = self._frontend.sense(nfc.clf.RemoteTarget(self._target.brty))
            return found is not None and found.sdd_res == self._target.sdd_res
        return self._answers() or self._answers()

    def _answers(self) -> bool:
        try:
            return bool(self._tag.is_present)
        except _LOST:
            return False


class Field:
    """An open reader. Raises whatever nfcpy raises when the device is not there or goes away."""

    def __init__(self, path: str) -> None:
        # Opened by hand: the constructor with a path raises without saying why.
        self._frontend = nfc.ContactlessFrontend()
        if not self._frontend.open(path):
            raise OSError(f"no NFC reader at {path}")
        # The udp driver waits a second for each technology, and virtual cards are all of type A.
        technologies = ("106A",) if path.startswith("udp") else ("106A", "106B")
        self._targets = [nfc.clf.RemoteTarget(technology) for technology in technologies]

    def sense(self) -> Card | None:
        """Look for a card once. Raises ``LinkLostError`` for one that left while it was being activated."""
        target = self._frontend.sense(*self._targets)
        if target is None:
            return None
        if target.brty.endswith("A") and not (target.sel_res and target.sel_res[0] & ISO_DEP):
            return Card(self._frontend, target, None)
        try:
            tag = nfc.tag.activate(self._frontend, target)
        except (*_LOST, IndexError) as error:
            # IndexError: nfcpy expects an answer to select with all its interface octets.
            raise LinkLostError(f"the card could not be activated: {error}") from error
        if tag is None:
            raise LinkLostError("the card left while it was being activated")
        return Card(self._frontend, target, tag)

    def close(self) -> None:
        # An unplugged serial reader raises termios.error here, which is not an OSError; there is nothing to
        # save.
        with contextlib.suppress(Exception):
            self._frontend.close()
