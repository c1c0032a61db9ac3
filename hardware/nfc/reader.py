"""An NFC reader as a credential source: nfcpy blocks, so each reader has a daemon thread of its own."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Self

from hardware.backoff import Backoff
from hardware.errors import BadDeviceParameterError, CardError, LinkLostError, ProbeTimeoutError
from hardware.events import SOURCE_BACKLOG, EventQueue
from hardware.interfaces import CardProtocol, Down, Media, SourceEvent, Up
from hardware.nfc import uid
from hardware.nfc.field import Card, Field
from hardware.nfc.presence import Presence
from hardware.nfc.type4 import Type4Ndef
from hardware.nfc.watch import PollWatch

PROBE_SECONDS = 1.5
"""Patience with one card. A person holds it for about a second; reading takes 50 to 300 ms."""

IDLE_SECONDS = 0.03
"""Between two looks at an empty field: with some 20 ms a look a card is noticed at once, and the processor
rests.
"""

RETRY_SECONDS = 0.02
PRESENCE_SECONDS = 0.1
"""Between two checks that a read card is still there."""

UNREADABLE_SECONDS = 0.3
"""Between two tries at a card that cannot be read."""

STUCK_SECONDS = 15.0
"""A thread that has not come round for so long hangs in its driver. Opening a reader may take some seconds.
"""

JOIN_SECONDS = 3.0
"""The thread ends within one look at the field; one that hangs is left behind, being a daemon."""

# nfcpy's device paths, see nfc.ContactlessFrontend.open; the default port of udp would be the same for every
# lane.
_PATHS = re.compile(
    r"udp:[A-Za-z0-9.-]+:[0-9]{1,5}|(?:tty|com):[A-Za-z0-9_.-]+:[a-z0-9]+"
    r"|usb(?::[0-9a-fA-F]{3,4}){0,2}"
)


class NfcReader:
    """The ``CredentialSource`` of one reader.

    ``path`` is a device path of nfcpy, ``protocols`` the dialogues tried in turn, ``serial_numbers`` whether a card
    that speaks none of them is presented by its serial number, ``open_field`` opens the device (in the thread).
    ``Up`` means that the device was opened; with the udp driver that always succeeds.
    """

    def __init__(
        self,
        path: str,
        *,
        name: str | None = None,
        protocols: Sequence[CardProtocol] | None = None,
        serial_numbers: bool = False,
        open_field: Callable[[str], Field] = Field,
    ) -> None:
        self._path = path
        self._name = name or f"nfc {path}"
        self._protocols = (Type4Ndef(),) if protocols is None else tuple(protocols)
        self._serial_numbers = serial_numbers
        self._open_field = open_field
        self._events: EventQueue[SourceEvent] = EventQueue(limit=SOURCE_BACKLOG)
        self._presence = Presence(self._name)
        self._stop = threading.Event()
        self._came_round = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._guard: asyncio.Task[None] | None = None

    @classmethod
    def from_url(cls, url: str, *, name: str | None = None) -> Self:
        """``nfc+PATH``, with ``?uid=yes`` where serial numbers are taken. Raises ``BadDeviceParameterError``."""
        path, asks, query = url.removeprefix("nfc+").partition("?")
        if asks and query != "uid=yes":
            raise BadDeviceParameterError(url=url, parameter="query", problem="may only be uid=yes")
        if not _PATHS.fullmatch(path):
            raise BadDeviceParameterError(
                url=url, parameter="device path", problem="is not like udp:HOST:PORT, tty:NAME:DRIVER or usb:VID:PID"
            )
        return cls(path, name=name, serial_numbers=bool(asks))

    @property
    def name(self) -> str:
        return self._name

    async def __aenter__(self) -> Self:
        self._events.attach()
        self._came_round = time.monotonic()
        self._thread.start()
        self._guard = asyncio.create_task(self._notice_stuck(), name=f"guard of {self._name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._guard is not None:
            self._guard.cancel()
            await asyncio.gather(self._guard, return_exceptions=True)
        await asyncio.to_thread(self._thread.join, JOIN_SECONDS)
        self._events.close()

    def events(self) -> AsyncIterator[SourceEvent]:
        return aiter(self._events)

    async def _notice_stuck(self) -> None:
        """A thread cannot be ended from outside; that it hangs can at least be said."""
        stuck = False
        while True:
            await asyncio.sleep(1.0)
            silent = time.monotonic() - self._came_round
            if (silent > STUCK_SECONDS) != stuck:
                stuck = not stuck
                if stuck:
                    self._events.put(Down(source=self._name, reason=f"the driver hangs for {silent:.0f} s"))
                else:
                    self._events.put(Up(source=self._name))

    def _run(self) -> None:
        """The thread: open, poll until the device breaks or slows down, close, again."""
        backoff = Backoff()
        up = False
        while not self._stop.is_set():
            self._came_round = time.monotonic()
            field: Field | None = None
            try:
                field = self._open_field(self._path)
                if not up:
                    up = True
                    self._events.put_from_thread(Up(source=self._name))
                self._poll(field, backoff)
            except Exception as error:  # noqa: BLE001 - see nfc.field: nfcpy lets anything out of a lost device
                if up or backoff.fresh:
                    reason = f"{type(error).__name__}: {error}"
                    self._events.put_from_thread(Down(source=self._name, reason=reason))
                up = False
                self._tell(self._presence.leave(time.monotonic()))
                self._stop.wait(backoff.next())
            finally:
                if field is not None:
                    field.close()

    def _poll(self, field: Field, backoff: Backoff) -> None:
        """Returns when the source is left or the reader has become slow."""
        watch = PollWatch()
        while not self._stop.is_set():
            started = self._came_round = time.monotonic()
            try:
                card = field.sense()
            except LinkLostError as error:
                self._tell(self._presence.failed(str(error), time.monotonic()))
                self._stop.wait(RETRY_SECONDS)
                continue
            # Only now: a device that opens but cannot poll must not be tried again at once, over and over.
            backoff.reset()
            now = time.monotonic()
            if card is not None:
                self._card(card)
                continue
            self._tell(self._presence.absent(now))
            if watch.reopen_after(now - started):
                return
            self._stop.wait(IDLE_SECONDS)

    def _card(self, card: Card) -> None:
        """Read a card and stay with it until it leaves. A torn read returns, so that the card is sensed anew."""
        self._tell(self._presence.found(time.monotonic()))
        try:
            read = self._probe(card)
        except (LinkLostError, ProbeTimeoutError, CardError) as error:
            self._tell(self._presence.failed(str(error), time.monotonic()))
            self._stop.wait(RETRY_SECONDS if isinstance(error, LinkLostError) else UNREADABLE_SECONDS)
            return
        now = time.monotonic()
        if read is None:
            self._tell(self._presence.failed("not a card of this scheme", now, certain=True))
        else:
            self._tell(self._presence.read(*read, now))
        while not self._stop.wait(PRESENCE_SECONDS) and card.is_present():
            self._came_round = time.monotonic()
            self._presence.seen(self._came_round)

    def _probe(self, card: Card) -> tuple[bytes, Media] | None:
        deadline = time.monotonic() + PROBE_SECONDS
        for protocol in self._protocols if card.speaks_apdu else ():
            data = protocol.probe(card.transceive, deadline)
            if data is not None:
                return data, protocol.media
        # Only now: a card that holds something better is never known by its number.
        number = uid.octets(card.uid) if self._serial_numbers else None
        return None if number is None else (number, uid.MEDIA)

    def _tell(self, events: list[SourceEvent]) -> None:
        for event in events:
            self._events.put_from_thread(event)
