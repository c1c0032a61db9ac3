"""The Modbus gate against a relay board in another process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymodbus.transport import ModbusProtocol

from hardware.devices import open_actuator
from hardware.errors import GateRefusedError, GateUnreachableError
from hardware.interfaces import Down, FireOff, FireOn, Forced, Passed, Tamper, Up
from tests.support.hardware import PATIENCE_SECONDS, Heard, VirtualDevice, virtual

CONTACTS = "unit=1&coil=0&exit_coil=1&passage=0&exit_passage=3&fire=1&tamper=2&pulse_register=0&timeout_ms=400"


def url(device: VirtualDevice) -> str:
    return f"modbus+tcp://127.0.0.1:{device.port}?{CONTACTS}"


async def test_a_resident_who_is_let_in_is_counted_as_passed() -> None:
    async with virtual("turnstile") as device, open_actuator(url(device)) as gate:
        heard = Heard(gate.inputs())
        assert isinstance(await heard.next(), Up)
        await gate.release("entry", 0.7)
        assert await device.event("released") == {"event": "released", "direction": "entry", "ms": 700}
        assert await heard.next() == Passed(direction="entry")
        await gate.release("exit", 0.2)
        assert await device.event("released", 2) == {"event": "released", "direction": "exit", "ms": 200}
        assert await heard.next() == Passed(direction="exit")
        # The board ends both pulses by itself.
        await device.event("locked", 2)
    await heard.ended()


async def test_a_resident_who_turns_away_is_not_counted() -> None:
    async with virtual("turnstile") as device, open_actuator(url(device)) as gate:
        heard = Heard(gate.inputs())
        await heard.first(Up)
        await device.do("person", passes=False)
        await gate.release("entry", 0.1)
        await device.event("locked")
        # What comes next is what was caused next: nothing came between.
        await device.do("tamper", open=True)
        assert await heard.next() == Tamper(active=True)


async def test_a_second_person_on_one_release_is_noticed() -> None:
    async with virtual("turnstile") as device, open_actuator(url(device)) as gate:
        heard = Heard(gate.inputs())
        await heard.first(Up)
        await device.do("person", count=2, after_ms=50, contact_ms=150)
        await gate.release("entry", 0.5)
        assert await heard.next() == Passed(direction="entry")
        assert await heard.next() == Forced(direction="entry")


async def test_a_forced_arm_raises_an_alarm() -> None:
    async with virtual("turnstile") as device, open_actuator(url(device)) as gate:
        heard = Heard(gate.inputs())
        await heard.first(Up)
        await device.do("force", direction="exit")
        assert await heard.next() == Forced(direction="exit")


async def test_nobody_is_held_back_by_software_in_a_fire() -> None:
    async with virtual("turnstile") as device, open_actuator(url(device)) as gate:
        heard = Heard(gate.inputs())
        await heard.first(Up)
        await device.do("fire", on=True)
        assert await heard.next() == FireOn()
        await gate.release("entry", 0.5)
        await device.do("force", direction="exit")
        assert await heard.next() == Passed(direction="exit", during_fire=True)
        # The relay was not touched: the building holds the gate open, not this.
        assert device.all("released") == []
        await device.do("fire", on=False)
        assert await heard.next() == FireOff()
        await gate.release("entry", 0.5)
        await device.event("released")


async def test_a_fire_that_began_while_the_line_was_cut_is_seen_on_return() -> None:
    async with virtual("turnstile") as device, open_actuator(url(device)) as gate:
        heard = Heard(gate.inputs())
        await heard.first(Up)
        await device.do("fault", kind="silent")
        assert isinstance(await heard.next(), Down)
        await device.do("fire", on=True)
        await device.do("fault", kind="none")
        assert isinstance(await heard.next(), Up)
        assert await heard.next() == FireOn()


async def test_a_dropped_connection_mends_itself() -> None:
    async with virtual("turnstile") as device, open_actuator(url(device)) as gate:
        heard = Heard(gate.inputs())
        await heard.first(Up)
        await device.do("fault", kind="drop")
        assert isinstance(await heard.next(), Down)
        assert isinstance(await heard.next(), Up)
        await gate.release("entry", 0.2)
        assert await heard.next() == Passed(direction="entry")


async def test_a_board_without_power_is_reported_and_found_again() -> None:
    async with virtual("turnstile") as device, open_actuator(url(device)) as gate:
        heard = Heard(gate.inputs())
        await heard.first(Up)
        await device.kill()
        assert isinstance(await heard.next(), Down)
        with pytest.raises(GateUnreachableError):
            await gate.release("entry", 0.2)
        async with virtual("turnstile", port=device.port) as again:
            assert isinstance(await heard.next(), Up)
            await gate.release("entry", 0.2)
            await again.event("released")
            assert await heard.next() == Passed(direction="entry")


async def test_a_board_that_refuses_is_told_apart_from_one_that_is_gone() -> None:
    async with virtual("turnstile") as device:
        # A coil that the board does not have.
        wrong = f"modbus+tcp://127.0.0.1:{device.port}?coil=9&passage=0"
        async with open_actuator(wrong) as gate:
            heard = Heard(gate.inputs())
            await heard.first(Up)
            with pytest.raises(GateRefusedError) as caught:
                await gate.release("entry", 0.2)
            assert caught.value.code == 2
            # And the credit was taken back: a passage now is no passage of that release.
            await device.do("force")
            assert await heard.next() == Forced()


async def test_a_slow_board_still_opens() -> None:
    async with virtual("turnstile") as device, open_actuator(url(device)) as gate:
        heard = Heard(gate.inputs())
        await heard.first(Up)
        await device.do("fault", kind="delay", ms=60)
        await device.do("person", contact_ms=800)
        await gate.release("entry", 0.2)
        assert await heard.next() == Passed(direction="entry")


@pytest.mark.parametrize("seconds", [0.0, 0.01, 31.0, -1.0, float("nan")])
async def test_an_absurd_pulse_never_reaches_a_gate(seconds: float) -> None:
    gate = open_actuator("modbus+tcp://127.0.0.1:1?coil=0&passage=0")
    with pytest.raises(ValueError, match="a pulse lasts"):
        await gate.release("entry", seconds)


@pytest.mark.parametrize("device_kind", ["turnstile", "camera", "nfc_card"])
async def test_a_virtual_device_ends_with_its_parent_and_survives_nonsense(device_kind: str) -> None:
    async with virtual(device_kind) as device:
        for line in (b"{", b"[]", b'{"do": 1}', b'{"do": "fly"}', b'{"do": "fault", "kind": "odd"}', b"\xff"):
            answer = await device.raw(line)
            assert answer["event"] == "error"
            assert answer["problem"]
        assert await device.close_input() == 0
    async with virtual(device_kind) as device:
        device.process.terminate()
        assert await device.process.wait() == 0


@pytest.mark.parametrize("stops_at", ["answer", "connection"])
async def test_a_reader_that_stops_in_the_moment_of_an_answer_lets_go_of_its_gate(
    stops_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # asyncio.wait_for of Python 3.11 drops a cancellation that meets the answer, and pymodbus awaits answers with it.
    came = asyncio.Event()
    method = {"answer": "data_received", "connection": "connection_made"}[stops_at]
    take = getattr(ModbusProtocol, method)

    def take_and_tell(protocol: ModbusProtocol, what: Any) -> None:
        take(protocol, what)
        came.set()

    async with virtual("turnstile") as device:
        monkeypatch.setattr(ModbusProtocol, method, take_and_tell)
        async with asyncio.timeout(PATIENCE_SECONDS):
            async with open_actuator(url(device)):
                await came.wait()


async def test_a_lane_that_stops_in_the_moment_of_a_release_does_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    async with virtual("turnstile") as device, open_actuator(url(device) + "&poll_ms=1000") as gate:
        await Heard(gate.inputs()).first(Up)
        came = asyncio.Event()
        take = ModbusProtocol.data_received

        def take_and_tell(protocol: ModbusProtocol, data: bytes) -> None:
            take(protocol, data)
            came.set()

        monkeypatch.setattr(ModbusProtocol, "data_received", take_and_tell)
        went_on = False

        async def lane() -> None:
            nonlocal went_on
            await gate.release("entry", 0.2)
            went_on = True

        releasing = asyncio.create_task(lane())
        await came.wait()
        releasing.cancel()
        await asyncio.wait([releasing])
        assert releasing.cancelled()
        assert not went_on
