"""A turnstile behind a Modbus TCP relay board (MODBUS Application Protocol V1.1b3).

The board times the pulse: the register with the pulse in ms (function 06) is written before the coil
(function 05), the board in jog mode opens the coil again by itself. This driver never writes a coil to 0, so
nothing it does, also by crashing, can lock a gate or hold it open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from hardware.backoff import Backoff
from hardware.errors import GateRefusedError, GateUnreachableError
from hardware.events import EventQueue
from hardware.gates.contacts import Contacts, Sample
from hardware.gates.settings import ModbusSettings
from hardware.interfaces import Direction, Down, GateEvent, Up

MIN_PULSE_SECONDS = 0.05
MAX_PULSE_SECONDS = 30.0
"""Field practice is 0.2 to 5 s; 30 s leaves room for an accessible door and stays below a register's 65.5 s.
"""

Reply = TypeVar("Reply", bound=ModbusPDU)
Answer = TypeVar("Answer")


async def _heeding(request: Awaitable[Answer]) -> Answer:
    """Await pymodbus without losing a cancellation that came while it waited.

    It waits by ``asyncio.wait_for``, which before Python 3.12 drops a cancellation that meets the answer (CPython issue
    86296): a gate that is asked to stop in that moment would poll on, and the reader hang until it is killed.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    answer = await request
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return answer


class ModbusGate:
    """The ``GateActuator`` of one relay board; several gates on one board are several of these."""

    def __init__(self, settings: ModbusSettings, *, name: str) -> None:
        self._settings = settings
        self._name = name
        self._contacts = Contacts(passage_seconds=settings.passage_seconds)
        self._events: EventQueue[GateEvent] = EventQueue()
        self._client: AsyncModbusTcpClient | None = None
        self._watching: asyncio.Task[None] | None = None
        # Pulse register and coil are two writes: a release for the other direction must not come between.
        self._releasing = asyncio.Lock()

    @classmethod
    def from_url(cls, url: str, *, name: str | None = None) -> Self:
        """See ``gates.settings``. Raises ``BadDeviceParameterError``."""
        settings = ModbusSettings.from_url(url)
        return cls(settings, name=name or f"modbus {settings.host}:{settings.port}/{settings.coil}")

    @property
    def name(self) -> str:
        return self._name

    async def __aenter__(self) -> Self:
        self._events.attach()
        self._watching = asyncio.create_task(self._watch(), name=f"inputs of {self._name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._events.close()

    def inputs(self) -> AsyncIterator[GateEvent]:
        return aiter(self._events)

    async def release(self, direction: Direction, pulse_seconds: float) -> None:
        if not MIN_PULSE_SECONDS <= pulse_seconds <= MAX_PULSE_SECONDS:
            raise ValueError(f"a pulse lasts {MIN_PULSE_SECONDS} to {MAX_PULSE_SECONDS} s, not {pulse_seconds}")
        client = self._client
        if client is None:
            raise GateUnreachableError("not connected", gate=self._name)
        if self._contacts.fire:
            return
        unit, register = self._settings.unit, self._settings.pulse_register
        coil = self._settings.coil if direction == "entry" else self._settings.exit_coil
        pulse_ms = round(pulse_seconds * 1000)
        async with self._releasing:
            if register is not None:
                await self._ask(lambda: client.write_register(register, pulse_ms, device_id=unit))
            # Noted before it is sent: the first sample after it may already show the person.
            self._contacts.released(direction, pulse_seconds, time.monotonic())
            try:
                await self._ask(lambda: client.write_coil(coil, True, device_id=unit))
            except GateRefusedError:
                self._contacts.withdraw()
                raise
            # After a lost answer the credit stays: the board may have released.

    async def _watch(self) -> None:
        backoff = Backoff()
        while True:
            reason = await self._session(backoff)
            if backoff.fresh:
                self._events.put(Down(source=self._name, reason=reason))
            await asyncio.sleep(backoff.next())

    async def _session(self, backoff: Backoff) -> str:
        """Connect and poll until something breaks; returns what broke."""
        settings = self._settings
        client = AsyncModbusTcpClient(
            settings.host,
            port=settings.port,
            name=self._name,
            timeout=settings.timeout,
            # Retrying is done here, where it is told; a repeated write could release twice.
            retries=0,
            reconnect_delay=0,
        )
        try:
            if not await _heeding(client.connect()):
                return f"no connection to {settings.host}:{settings.port}"
            self._contacts.reconnected()
            first = await self._read(client)
            self._client = client
            backoff.reset()
            self._events.put(Up(source=self._name))
            self._report(first)
            while True:
                # The interval is kept between reads, not from start to start: a slow board is not hurried.
                await asyncio.sleep(settings.poll)
                self._report(await self._read(client))
        except (GateUnreachableError, GateRefusedError) as error:
            return error.problem
        finally:
            self._client = None
            client.close()

    def _report(self, sample: Sample) -> None:
        for event in self._contacts.sample(sample, time.monotonic()):
            self._events.put(event)

    async def _read(self, client: AsyncModbusTcpClient) -> Sample:
        settings = self._settings
        first = settings.first_input
        reply = await self._ask(
            lambda: client.read_discrete_inputs(first, count=settings.span, device_id=settings.unit)
        )
        bits = reply.bits
        if len(bits) < settings.span:
            raise GateUnreachableError(f"{len(bits)} inputs came instead of {settings.span}", gate=self._name)

        def contact(address: int | None) -> bool | None:
            return None if address is None else bool(bits[address - first])

        return Sample(
            passage=bool(bits[settings.passage - first]),
            exit_passage=contact(settings.exit_passage),
            fire_signal=contact(settings.fire),
            tamper=contact(settings.tamper),
        )

    async def _ask(self, request: Callable[[], Awaitable[Reply]]) -> Reply:
        """Await one reply and translate what pymodbus raises, some of it already when the request is made."""
        try:
            reply = await _heeding(request())
        except (ModbusException, OSError) as error:
            raise GateUnreachableError(f"no answer: {error}", gate=self._name) from error
        if reply.isError():
            code = getattr(reply, "exception_code", None)
            raise GateRefusedError(f"the board refused (Modbus exception {code})", gate=self._name, code=code)
        return reply
