"""A virtual turnstile: a Modbus TCP relay board with two jog coils, contacts, and people who walk.

Run as ``python -m hardware.virtual.turnstile [--port N]``. Unit 1; coil 0 releases entry, coil 1 exit;
holding register 0 is the pulse in ms; discrete inputs: 0 passage entry, 1 fire signal (1 is well), 2 tamper,
3 passage exit.

Commands: ``person`` (what the next people do), ``fire``, ``tamper``, ``force``, ``fault``.
Events: ``released``, ``locked``, ``passed``, ``forced``, ``fire``, ``tamper``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Literal

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hardware.virtual.console import Command, CommandError, arguments, emit, flag, number, serve_commands, text

ENTRY_PASSAGE, FIRE_SIGNAL, TAMPER, EXIT_PASSAGE = range(4)
COILS: tuple[Literal["entry"], Literal["exit"]] = ("entry", "exit")
DEFAULT_PULSE_MS = 500
READ_COILS, READ_INPUTS, READ_REGISTERS, WRITE_COIL, WRITE_COILS = 1, 2, 3, 5, 15
"""Function codes, MODBUS Application Protocol V1.1b3, 5.1."""
FAULTS = ("none", "delay", "refuse", "silent", "drop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What the people at the turnstile do when it is released.

    ``count`` people pass (2: a tailgater), the first ``after_ms`` after the release, each closing the contact
    for ``contact_ms`` and following the one before after the same time.
    """

    passes: bool = True
    after_ms: float = 150
    contact_ms: float = 120
    count: int = 1


class Turnstile:
    """State of the board, and the faults it was told to have."""

    def __init__(self) -> None:
        self.server: ModbusTcpServer | None = None
        self._inputs = [False, True, False, False]
        self._coils = [False, False]
        self._pulse_ms = DEFAULT_PULSE_MS
        self._person = Person()
        self._fault = "none"
        self._delay_ms = 0.0
        self._fault_over = asyncio.Event()
        self._walking: set[asyncio.Task[None]] = set()

    def device(self) -> SimDevice:
        """The board as pymodbus's simulator wants it; every access comes through :meth:`access`."""
        bits = DataType.BITS
        return SimDevice(
            id=1,
            simdata=(
                [SimData(0, values=[False] * 16, datatype=bits)],
                [SimData(0, values=[False] * 16, datatype=bits)],
                [SimData(0, values=DEFAULT_PULSE_MS, datatype=DataType.REGISTERS)],
                [SimData(0, values=0, datatype=DataType.REGISTERS)],
            ),
            action=self.access,
        )

    async def access(
        self,
        function: int,
        _start: int,
        address: int,
        _count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Called by pymodbus before each access; changes ``registers`` in place (16 bits a register)."""
        if self._fault == "delay":
            await asyncio.sleep(self._delay_ms / 1000)
        elif self._fault == "refuse":
            return ExcCodes.DEVICE_FAILURE
        elif self._fault == "silent":
            await self._fault_over.wait()
        if values is None:
            if function == READ_INPUTS:
                registers[0] = _pack(self._inputs)
            elif function in (READ_COILS, WRITE_COIL, WRITE_COILS):
                registers[0] = _pack(self._coils)
        elif function in (WRITE_COIL, WRITE_COILS):
            for offset, value in enumerate(values):
                if address + offset >= len(COILS):
                    return ExcCodes.ILLEGAL_ADDRESS
                if value:
                    self._release(address + offset)
        else:
            self._pulse_ms = int(values[0])
        return None

    async def command(self, command: Command) -> None:
        match command["do"]:
            case "person":
                self._person = Person(
                    passes=flag(command, "passes", True),
                    after_ms=number(command, "after_ms", 150, low=0, high=60_000),
                    contact_ms=number(command, "contact_ms", 120, low=1, high=60_000),
                    count=int(number(command, "count", 1, low=1, high=10)),
                )
            case "fire":
                on = flag(command, "on", True)
                # Active low: the signal goes away when there is a fire, or when its wire is cut.
                self._inputs[FIRE_SIGNAL] = not on
                emit("fire", on=on)
            case "tamper":
                self._inputs[TAMPER] = flag(command, "open", True)
                emit("tamper", open=self._inputs[TAMPER])
            case "force":
                direction = text(command, "direction", "entry")
                if direction not in COILS:
                    raise CommandError("direction is entry or exit")
                self._start(self._walk(direction, "forced", Person(after_ms=0)))
            case "fault":
                self._set_fault(text(command, "kind"), number(command, "ms", 200, low=0, high=60_000))
            case other:
                raise CommandError(f"{other!r} is none of person, fire, tamper, force, fault")

    def _set_fault(self, kind: str, delay_ms: float) -> None:
        if kind not in FAULTS:
            raise CommandError(f"kind is one of {', '.join(FAULTS)}")
        # Whoever waits for an answer under "silent" gets it when the fault changes.
        self._fault_over.set()
        self._fault_over = asyncio.Event()
        if kind == "drop":
            self._drop()
        else:
            self._fault, self._delay_ms = kind, delay_ms

    def _drop(self) -> None:
        """Reset every connection, as a switch that loses power does; new ones are accepted."""
        if self.server is None:
            return
        for connection in list(self.server.active_connections.values()):
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()

    def _release(self, coil: int) -> None:
        direction = COILS[coil]
        self._coils[coil] = True
        emit("released", direction=direction, ms=self._pulse_ms)
        self._start(self._jog(coil, self._pulse_ms))
        if self._person.passes:
            self._start(self._walk(direction, "passed", self._person))

    async def _jog(self, coil: int, pulse_ms: int) -> None:
        await asyncio.sleep(pulse_ms / 1000)
        self._coils[coil] = False
        emit("locked", direction=COILS[coil])

    async def _walk(self, direction: str, event: str, person: Person) -> None:
        contact = ENTRY_PASSAGE if direction == "entry" else EXIT_PASSAGE
        await asyncio.sleep(person.after_ms / 1000)
        for _ in range(person.count):
            self._inputs[contact] = True
            await asyncio.sleep(person.contact_ms / 1000)
            self._inputs[contact] = False
            emit(event, direction=direction)
            await asyncio.sleep(person.contact_ms / 1000)

    def _start(self, walk: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(walk)
        self._walking.add(task)
        task.add_done_callback(self._walking.discard)


def _pack(bits: list[bool]) -> int:
    return sum(1 << position for position, bit in enumerate(bits) if bit)


async def main() -> None:
    options = arguments("A virtual turnstile: Modbus TCP relay board with passage contacts.")
    turnstile = Turnstile()
    server = ModbusTcpServer(turnstile.device(), address=("127.0.0.1", options.port))
    turnstile.server = server
    await server.serve_forever(background=True)
    listener = server.transport
    if not isinstance(listener, asyncio.Server):
        raise TypeError("pymodbus keeps its listening server in transport")
    await serve_commands(turnstile.command, port=listener.sockets[0].getsockname()[1])
    await server.shutdown()  # type: ignore[no-untyped-call] # pymodbus left it bare


if __name__ == "__main__":
    asyncio.run(main())
