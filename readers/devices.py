"""The devices of one lane, supervised: what fails is opened again, and never takes another lane with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from hardware.devices import open_actuator, open_indicator, open_keypad, open_source
from hardware.errors import GateError, GateUnreachableError
from hardware.interfaces import (
    CredentialSource,
    Direction,
    Down,
    GateActuator,
    GateEvent,
    Indicator,
    Keypad,
    KeypadEvent,
    SourceEvent,
    Up,
    Verdict,
)
from readers.backoff import Backoff
from readers.settings import LaneSettings

RELEASE_SECONDS: Final = 2.0
"""A gate that has not accepted a release by then is taken for unreachable: the person is looking at it."""
SHOW_SECONDS: Final = 1.0
"""A display slower than this is out of order."""


class DeviceMaker:
    """Makes devices from URLs. A test hands in one that makes misbehaving ones."""

    def source(self, url: str) -> CredentialSource:
        """A source, not yet entered."""
        return open_source(url)

    def actuator(self, url: str) -> GateActuator:
        """A gate, not yet entered."""
        return open_actuator(url)

    def indicator(self, url: str) -> Indicator:
        """An indicator."""
        return open_indicator(url)

    def keypad(self, url: str) -> Keypad:
        """A keypad, not yet entered."""
        return open_keypad(url)


class LaneDevices:
    """Sources, gate, indicator and keypad of one lane behind calls that do not fail the caller."""

    def __init__(
        self,
        settings: LaneSettings,
        *,
        on_source: Callable[[SourceEvent], None],
        on_gate: Callable[[GateEvent], None],
        on_key: Callable[[KeypadEvent], None],
        maker: DeviceMaker | None = None,
    ) -> None:
        self._settings = settings
        self._on_source = on_source
        self._on_gate = on_gate
        self._on_key = on_key
        self._maker = maker or DeviceMaker()
        self._gate: GateActuator | None = None
        self._sources_up: dict[str, bool] = dict.fromkeys(settings.sources, False)
        self._indicator: Indicator | None = None
        self._log = structlog.get_logger(__name__).bind(lane=settings.lane)
        self._display_down = False
        self.gate_up = False
        self.keypad_up = False

    @property
    def source_up(self) -> bool:
        """Whether at least one source works, so that people can present a card."""
        return any(self._sources_up.values())

    async def run(self) -> None:
        """Hold all devices open until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for url in self._settings.sources:
                    group.create_task(self._supervise(url, self._read_source))
                group.create_task(self._supervise(self._settings.actuator, self._read_gate))
                if self._settings.keypad is not None:
                    group.create_task(self._supervise(self._settings.keypad, self._read_keypad))
        finally:
            if self._indicator is not None:
                await self._indicator.close()

    async def release(self, direction: Direction) -> None:
        """Let one person through. Raises GateError if the gate did not accept."""
        gate = self._gate
        if gate is None:
            raise GateUnreachableError("not open", gate=self._settings.actuator)
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await gate.release(direction, self._settings.pulse_seconds)
        except TimeoutError as error:
            raise GateUnreachableError(f"no answer within {RELEASE_SECONDS:g} s", gate=gate.name) from error
        except GateError:
            raise
        except Exception as error:
            raise GateUnreachableError(str(error) or type(error).__name__, gate=gate.name) from error

    async def show(self, verdict: Verdict) -> None:
        """Show a verdict; a display that fails is told to the log, once."""
        try:
            if self._indicator is None:
                self._indicator = self._maker.indicator(self._settings.indicator)
            async with asyncio.timeout(SHOW_SECONDS):
                await self._indicator.show(verdict)
        except Exception as error:  # noqa: BLE001 -- whatever a display does, people must get through
            if not self._display_down:
                self._log.error("the indicator does not work", problem=str(error) or type(error).__name__)
            self._display_down = True
        else:
            if self._display_down:
                self._log.info("the indicator works again")
            self._display_down = False

    async def _supervise(self, url: str, read: Callable[[str], Awaitable[None]]) -> None:
        backoff = Backoff(first_seconds=0.5, most_seconds=10)
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await read(url)
                problem = "it ended"
            except Exception as error:  # noqa: BLE001 -- a driver's fault must not end the lane, still less the others
                problem = str(error) or type(error).__name__
            if asyncio.get_running_loop().time() - began > 60:
                backoff.reset()
            self._log.error("a device failed and is opened again", device=url, problem=problem)
            await asyncio.sleep(backoff.next())

    async def _read_source(self, url: str) -> None:
        try:
            async with self._maker.source(url) as source:
                async for event in source.events():
                    if isinstance(event, Up):
                        self._sources_up[url] = True
                        self._log.info("a source works", device=url)
                    elif isinstance(event, Down):
                        self._sources_up[url] = False
                        self._log.warning("a source does not work", device=url, problem=event.reason)
                    self._on_source(event)
        finally:
            self._sources_up[url] = False

    async def _read_gate(self, url: str) -> None:
        try:
            async with self._maker.actuator(url) as gate:
                self._gate = gate
                async for event in gate.inputs():
                    if isinstance(event, Up):
                        self.gate_up = True
                        self._log.info("the gate works", device=gate.name)
                    elif isinstance(event, Down):
                        self.gate_up = False
                        self._log.warning("the gate does not work", device=gate.name, problem=event.reason)
                    self._on_gate(event)
        finally:
            self._gate, self.gate_up = None, False

    async def _read_keypad(self, url: str) -> None:
        try:
            async with self._maker.keypad(url) as keypad:
                async for event in keypad.events():
                    if isinstance(event, Up):
                        self.keypad_up = True
                        self._log.info("the keypad works", device=keypad.name)
                    elif isinstance(event, Down):
                        self.keypad_up = False
                        self._log.warning("the keypad does not work", device=keypad.name, problem=event.reason)
                    self._on_key(event)
        finally:
            self.keypad_up = False
