"""An IP camera as a credential source: MJPEG over HTTP, decoded in a thread of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from hardware.backoff import Backoff
from hardware.errors import BadStreamError
from hardware.events import SOURCE_BACKLOG, EventQueue
from hardware.interfaces import Down, SourceEvent, Up
from hardware.parameters import Parameters
from hardware.qr.decode import decode_qr
from hardware.qr.mjpeg import MjpegParser
from hardware.qr.view import View

DEFAULT_PORT = 80
CONNECT_SECONDS = 3.0
STALL_SECONDS = 5.0
"""A camera sends several frames a second; one that is silent for so long has lost its network or its power.
"""

READ_SIZE = 65_536
TICK_SECONDS = 0.25
"""How often the thread looks for codes that left view while no frame comes."""

JOIN_SECONDS = 2.0
"""The thread ends with the frame in hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraAddress:
    """Where the stream is; ``target`` is the request target, ``login`` user and password for basic
    authentication.
    """

    host: str
    port: int
    target: str
    login: tuple[str, str] | None = None

    def request(self) -> bytes:
        """The request (RFC 9112, 3; RFC 7617 for the login)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [
            f"GET {self.target} HTTP/1.1",
            f"Host: {host}:{self.port}",
            "Accept: multipart/x-mixed-replace",
            "Connection: close",
        ]
        if self.login is not None:
            token = base64.b64encode(":".join(self.login).encode()).decode("ascii")
            lines.append(f"Authorization: Basic {token}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Camera:
    """The ``CredentialSource`` of one camera. ``Up`` is told with the first frame, not with the connection."""

    def __init__(
        self,
        address: CameraAddress,
        *,
        name: str | None = None,
        decode: Callable[[bytes], list[bytes]] = decode_qr,
    ) -> None:
        self._address = address
        self._name = name or f"camera {address.host}:{address.port}"
        self._decode = decode
        self._events: EventQueue[SourceEvent] = EventQueue(limit=SOURCE_BACKLOG)
        self._frames = _Newest()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._receiving: asyncio.Task[None] | None = None

    @classmethod
    def from_url(cls, url: str, *, name: str | None = None) -> Self:
        """``mjpeg+http://[USER:PASSWORD@]HOST[:80]/PATH``, the query goes to the camera.

        Raises ``BadDeviceParameterError``.
        """
        address, _, query = url.partition("?")
        given = Parameters(address, known=())
        target = (given.path or "/") + (f"?{query}" if query else "")
        if not target.isascii() or any(character <= " " for character in target):
            raise given.bad("path", "has characters that a URL cannot hold")
        place = CameraAddress(
            host=given.host(), port=given.port(DEFAULT_PORT), target=target, login=given.credentials()
        )
        return cls(place, name=name)

    @property
    def name(self) -> str:
        return self._name

    async def __aenter__(self) -> Self:
        self._events.attach()
        self._thread.start()
        self._receiving = asyncio.create_task(self._receive(), name=f"stream of {self._name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
        self._frames.close()
        await asyncio.to_thread(self._thread.join, JOIN_SECONDS)
        self._events.close()

    def events(self) -> AsyncIterator[SourceEvent]:
        return aiter(self._events)

    async def _receive(self) -> None:
        backoff = Backoff()
        while True:
            reason = await self._session(backoff)
            if backoff.fresh:
                self._events.put(Down(source=self._name, reason=reason))
            await asyncio.sleep(backoff.next())

    async def _session(self, backoff: Backoff) -> str:
        """Connect and take frames until something breaks; returns what broke."""
        place = self._address
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(place.host, place.port)
        except (OSError, TimeoutError) as error:
            return f"no connection to {place.host}:{place.port}: {error!r}"
        try:
            writer.write(place.request())
            parser = MjpegParser()
            up = False
            while True:
                async with asyncio.timeout(STALL_SECONDS):
                    octets = await reader.read(READ_SIZE)
                if not octets:
                    return "the camera closed the connection"
                frames = parser.feed(octets)
                if not frames:
                    continue
                if not up:
                    up = True
                    backoff.reset()
                    self._events.put(Up(source=self._name))
                self._frames.put(frames[-1])
        except TimeoutError:
            return f"nothing came for {STALL_SECONDS:.0f} s"
        except (OSError, BadStreamError) as error:
            return str(error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _run(self) -> None:
        """The thread: decode the newest frame, tell what came into view."""
        view = View(self._name)
        while not self._frames.closed:
            frame = self._frames.take(TICK_SECONDS)
            if frame is None:
                events = view.tick(time.monotonic())
            else:
                codes = self._decode(frame)
                events = view.frame(codes, time.monotonic())
            for event in events:
                self._events.put_from_thread(event)


class _Newest:
    """Holds one frame: a newer one replaces it, so that a slow decoder never falls behind the camera."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: bytes | None = None
        self.closed = False

    def put(self, frame: bytes) -> None:
        with self._changed:
            self._frame = frame
            self._changed.notify()

    def take(self, seconds: float) -> bytes | None:
        """The frame, or None if none came within ``seconds`` or it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self.closed, seconds)
            frame, self._frame = self._frame, None
            return frame

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify()
