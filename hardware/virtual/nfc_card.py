"""A virtual NFC card: an ISO-DEP (Type 4A) tag with an NDEF message, in the field of one reader.

Run as ``python -m hardware.virtual.nfc_card [--port N]``; the reader's device URL is ``nfc+udp:127.0.0.1:N``.
Commands: ``present``, ``remove``, and ``chip``, which sets up an NTAG 424 DNA that is then presented by its serial
number. Events: ``presented``, ``read`` (of a chip with the message as it was read this time), ``torn``, ``removed``.
``virtual.air`` says how nfcpy's udp driver carries it.
"""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import nfc
import nfc.clf

from hardware.virtual.air import CalledOff, CardEnd
from hardware.virtual.console import Command, CommandError, arguments, emit, number, serve_commands, text
from hardware.virtual.ntag424 import COUNTER_END, KEY_OCTETS, Chip, Ntag424Applet
from hardware.virtual.tag4 import RATS, IsoDepTarget, Type4Applet

AWAY_SECONDS = 0.6
"""A hand cannot lift a card and put it down again faster; a reader takes a shorter gap for a flicker of the
same card.
"""

LISTEN_SECONDS = 3600.0
"""One listening of nfcpy; it is called off when the card is taken away."""

MAX_PAYLOAD = 60_000
DEFAULT_MIME = "application/vnd.rescard+jwt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """A card to put down. It goes silent after ``tear_after`` blocks, ``tears`` times, then behaves."""

    message: bytes
    chip: Chip | None
    max_le: int
    uid: bytes
    sel_res: int
    tear_after: int
    tears: int


def ndef_record(kind: str, payload: bytes, *, tnf: int) -> bytes:
    """A message of one record (NFC Forum NDEF 1.0, 3.2)."""
    short = len(payload) < 256
    length = len(payload).to_bytes(1 if short else 4, "big")
    flags = 0xC0 | (0x10 if short else 0) | tnf
    name = kind.encode("ascii")
    return bytes([flags, len(name)]) + length + name + payload


class VirtualCard:
    """The card's thread, commanded from the loop."""

    def __init__(self, port: int) -> None:
        self._air = CardEnd(port)
        self._frontend = nfc.ContactlessFrontend()
        # Given, not opened by path: the driver's own device would bind every address.
        self._frontend.device = self._air
        self._changes: deque[Presentation | None] = deque()
        self._chips: dict[bytes, Chip] = {}
        self._present = False
        self._removed_at = -AWAY_SECONDS
        self._thread = threading.Thread(target=self._run, name="virtual card", daemon=True)

    @property
    def port(self) -> int:
        return self._air.addr[1]

    def start(self) -> None:
        self._thread.start()

    async def command(self, command: Command) -> None:
        match command["do"]:
            case "present":
                presentation = _presentation(command, self._chips)
                if self._present:
                    raise CommandError("a card is there already; remove it first")
                await asyncio.sleep(max(0.0, self._removed_at + AWAY_SECONDS - time.monotonic()))
                self._present = True
                self._change(presentation)
            case "chip":
                chip = _chip(command)
                self._chips[chip.uid] = chip
            case "remove":
                if not self._present:
                    raise CommandError("no card is there")
                self._present = False
                self._removed_at = time.monotonic()
                self._change(None)
            case other:
                raise CommandError(f"{other!r} is none of present, remove, chip")

    def _change(self, presentation: Presentation | None) -> None:
        self._changes.append(presentation)
        self._air.call_off()

    def _run(self) -> None:
        card: Presentation | None = None
        while True:
            try:
                if card is None:
                    self._air.stay_away()
                else:
                    self._lie_in_field(card)
            except CalledOff:
                card = self._changes.popleft()
                self._air.active = False
                emit("removed" if card is None else "presented")

    def _lie_in_field(self, card: Presentation) -> None:
        target = nfc.clf.LocalTarget(
            "106A",
            sens_res=bytearray.fromhex("4403"),
            sdd_res=bytearray(card.uid),
            sel_res=bytearray([card.sel_res]),
        )
        tears = card.tears
        while True:
            self._air.active = False
            found = self._frontend.listen(target, LISTEN_SECONDS)
            # A memory tag (SEL_RES without ISO-DEP) is found, and then has nothing to say.
            if found is None or not found.tt4_cmd or found.tt4_cmd[0] != RATS:
                continue
            self._air.active = True
            try:
                if self._converse(card, found.tt4_cmd, tear=tears > 0):
                    tears -= 1
                    emit("torn")
            except nfc.clf.CommunicationError:
                # The reader has switched its field off or begun anew.
                continue

    def _converse(self, card: Presentation, request: bytearray, *, tear: bool) -> bool:
        """Answer blocks until the card is deselected (False) or has gone silent on purpose (True)."""
        chip = card.chip
        applet = Type4Applet(card.message, max_le=card.max_le) if chip is None else Ntag424Applet(chip)
        link = IsoDepTarget(applet)
        answer: bytes | None = link.activate(bytes(request))
        blocks = 0
        told = False
        while link.active:
            if tear and blocks >= card.tear_after:
                return True
            block = self._frontend.exchange(None if answer is None else bytearray(answer), None)
            answer = link.answer(bytes(block))
            blocks += 1
            if applet.read_to_end and not told:
                told = True
                emit("read", **({"message": applet.message.hex()} if isinstance(applet, Ntag424Applet) else {}))
        if answer is not None:
            self._frontend.exchange(bytearray(answer), 0)
        return False


def _presentation(command: Command, chips: Mapping[bytes, Chip]) -> Presentation:
    try:
        payload = base64.b64decode(text(command, "payload_base64", ""), validate=True)
        uid = bytes.fromhex(text(command, "uid", "08a1b2c3"))
    except ValueError as error:
        raise CommandError(f"payload_base64 or uid cannot be read: {error}") from error
    if len(payload) > MAX_PAYLOAD:
        raise CommandError(f"a payload has at most {MAX_PAYLOAD} octets")
    if len(uid) not in (4, 7):
        raise CommandError("a uid has 4 or 7 octets")
    kind = text(command, "kind", "type4")
    if kind == "chip" and uid not in chips:
        raise CommandError("no chip of this uid was set up")
    return Presentation(
        message=_message(command, payload),
        chip=chips[uid] if kind == "chip" else None,
        max_le=int(number(command, "max_le", 246, low=15, high=255)),
        uid=uid,
        sel_res=0x00 if kind == "memory" else 0x20,
        tear_after=int(number(command, "tear_after", 5, low=0, high=10_000)),
        tears=int(number(command, "tears", 0, low=0, high=1000)),
    )


def _message(command: Command, payload: bytes) -> bytes:
    mime, uri = text(command, "mime", DEFAULT_MIME), text(command, "uri", "")
    if not (mime + uri).isascii() or len(mime) > 255:
        raise CommandError("mime has at most 255 ASCII characters, and a uri is ASCII")
    if uri:
        return ndef_record("U", b"\x00" + uri.encode("ascii"), tnf=1)
    return ndef_record(mime, payload, tnf=2)


def _chip(command: Command) -> Chip:
    """A chip as a personalisation station leaves it: all values in hexadecimal, ``keys`` five, one after the other."""
    try:
        file, settings, keys, uid = (bytes.fromhex(text(command, name)) for name in ("file", "settings", "keys", "uid"))
        each = [keys[at : at + KEY_OCTETS] for at in range(0, len(keys), KEY_OCTETS)]
        counter = int(number(command, "counter", 0, low=0, high=COUNTER_END))
        return Chip(uid=uid, file=file, settings=settings, keys=each, counter=counter)
    except ValueError as error:
        raise CommandError(f"the chip cannot be set up: {error}") from error


async def main() -> None:
    options = arguments("A virtual NFC card on nfcpy's udp driver.")
    card = VirtualCard(options.port)
    card.start()
    await serve_commands(card.command, port=card.port)


if __name__ == "__main__":
    asyncio.run(main())
