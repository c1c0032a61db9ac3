r"""Where the contacts of a relay board are: the query part of a ``modbus+tcp`` URL.

``modbus+tcp://HOST[:502]?coil=0&passage=0[&exit_coil=1][&exit_passage=3][&fire=1][&tamper=2]
[&pulse_register=0][&unit=1][&poll_ms=20][&timeout_ms=500][&passage_s=10]``

| parameter | meaning |
|---|---|
| ``unit`` | Modbus unit (device) id, 0 to 255, default 1 |
| ``coil``, ``exit_coil`` | coil that releases for entry and for exit; without ``exit_coil`` one coil does
both |
| ``passage``, ``exit_passage`` | discrete inputs of the passage contacts, closed while a person passes |
| ``fire`` | discrete input of the fire signal: 1 is well, 0 is fire (active low, so that a cut wire opens) |
| ``tamper`` | discrete input of the cover contact: 1 is open |
| ``pulse_register`` | holding register that takes the pulse in ms before the coil is written; without it the
board's \ own setting holds |
| ``poll_ms`` | time between two looks at the inputs, 5 to 1000, default 20 |
| ``timeout_ms`` | patience with one answer, 50 to 10000, default 500 |
| ``passage_s`` | how long after a release a passage counts as its own, 1 to 60, default 10 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from hardware.parameters import Parameters

DEFAULT_PORT = 502
"""Registered for Modbus (MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3)."""

MAX_ADDRESS = 0xFFFF
MAX_SPAN = 128
"""Discrete inputs read at once. The protocol allows 2,000; contacts spread wider than this are a typing
mistake.
"""

_ADDRESSES = ("coil", "exit_coil", "passage", "exit_passage", "fire", "tamper", "pulse_register")
_KNOWN = (*_ADDRESSES, "unit", "poll_ms", "timeout_ms", "passage_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusSettings:
    """Addresses count from 0, as on the wire. Times in seconds. None: the board has no such contact."""

    host: str
    port: int
    unit: int
    coil: int
    exit_coil: int
    passage: int
    exit_passage: int | None
    fire: int | None
    tamper: int | None
    pulse_register: int | None
    poll: float
    timeout: float
    passage_seconds: float

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Raises ``BadDeviceParameterError``."""
        given = Parameters(url, known=_KNOWN)
        address = {key: given.number(key, low=0, high=MAX_ADDRESS) for key in _ADDRESSES}
        coil, passage = address["coil"], address["passage"]
        if coil is None:
            raise given.bad("coil", "is missing")
        if passage is None:
            raise given.bad("passage", "is missing: without a passage contact nobody knows who went in")
        inputs = ("passage", "exit_passage", "fire", "tamper")
        wired = [address[key] for key in inputs if address[key] is not None]
        if len(set(wired)) != len(wired):
            raise given.bad(", ".join(inputs), "share an input")
        settings = cls(
            host=given.host(),
            port=given.port(DEFAULT_PORT),
            unit=_or(given.number("unit", low=0, high=255), 1),
            coil=coil,
            exit_coil=_or(address["exit_coil"], coil),
            passage=passage,
            exit_passage=address["exit_passage"],
            fire=address["fire"],
            tamper=address["tamper"],
            pulse_register=address["pulse_register"],
            poll=_or(given.number("poll_ms", low=5, high=1000), 20) / 1000,
            timeout=_or(given.number("timeout_ms", low=50, high=10_000), 500) / 1000,
            passage_seconds=float(_or(given.number("passage_s", low=1, high=60), 10)),
        )
        if settings.span > MAX_SPAN:
            raise given.bad(", ".join(inputs), f"lie more than {MAX_SPAN} inputs apart")
        return settings

    @property
    def first_input(self) -> int:
        return min(self._inputs())

    @property
    def span(self) -> int:
        """Number of discrete inputs to read at once so that all contacts are in it."""
        return max(self._inputs()) - self.first_input + 1

    def _inputs(self) -> list[int]:
        wired = (self.passage, self.exit_passage, self.fire, self.tamper)
        return [address for address in wired if address is not None]


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
