"""A keypad beside a gate: on a serial line that is unplugged, and behind a box in another process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.devices import open_keypad
from hardware.errors import BadDeviceParameterError, UnknownDeviceError
from hardware.interfaces import Cancel, Digit, Down, Enter, Up
from hardware.keypad.keypad import AsciiKeypad
from hardware.keypad.keys import KeyParser
from hardware.keypad.links import SerialLink
from tests.support.hardware import Heard, virtual


def typed(keys: list[object]) -> str:
    """Keys as a person would write them down."""
    names = {Enter: "#", Cancel: "*"}
    return "".join(key.digit if isinstance(key, Digit) else names[type(key)] for key in keys)


@dataclass
class Plug:
    """A serial keypad that can be pulled out and plugged in again: a pty behind a stable name, as udev gives one."""

    path: Path
    _ends: tuple[int, int] | None = None

    def insert(self) -> None:
        keypad_end, port = os.openpty()
        self._ends = keypad_end, port
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(port))

    def press(self, keys: bytes) -> None:
        assert self._ends is not None
        os.write(self._ends[0], keys)

    def pull(self) -> None:
        if self._ends is not None:
            for end in self._ends:
                os.close(end)
            self._ends = None
            self.path.unlink()


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    made = Plug(tmp_path / "keypad")
    made.insert()
    yield made
    made.pull()


async def test_a_pin_typed_on_a_serial_keypad_arrives_whole(plug: Plug) -> None:
    async with AsciiKeypad(SerialLink(str(plug.path)), name="k") as keypad:
        heard = Heard(keypad.events())
        assert await heard.next() == Up(source="k")
        # 3 and 4 are what a terminal line takes for signals, 19 for a stop: a raw line passes all on.
        plug.press(b"47\x03\x04\x1311#")
        assert typed([await heard.next() for _ in range(5)]) == "4711#"
    await heard.ended()


async def test_a_keypad_that_is_pulled_out_and_put_back_works_again(plug: Plug) -> None:
    async with AsciiKeypad(SerialLink(str(plug.path)), name="k") as keypad:
        heard = Heard(keypad.events())
        await heard.first(Up)
        plug.press(b"12")
        assert typed([await heard.next(), await heard.next()]) == "12"
        plug.pull()
        assert (await heard.first(Down)).source == "k"
        plug.insert()
        await heard.first(Up)
        plug.press(b"9*")
        assert typed([await heard.next(), await heard.next()]) == "9*"


async def test_keys_pressed_while_nobody_listened_are_no_part_of_a_pin(plug: Plug) -> None:
    plug.press(b"666")
    async with AsciiKeypad(SerialLink(str(plug.path)), name="k") as keypad:
        heard = Heard(keypad.events())
        await heard.first(Up)
        plug.press(b"1#")
        assert typed([await heard.next(), await heard.next()]) == "1#"


async def test_a_keypad_behind_a_network_box_recovers_from_a_lost_switch() -> None:
    async with virtual("keypad") as device, open_keypad(f"keypad+tcp://127.0.0.1:{device.port}") as keypad:
        heard = Heard(keypad.events())
        await heard.first(Up)
        await device.event("connected")
        await device.do("press", keys="0815\r\n")
        assert typed([await heard.next() for _ in range(5)]) == "0815#"
        assert device.all("pressed") == [{"event": "pressed", "count": 6}]
        await device.do("drop")
        await heard.first(Down)
        await heard.first(Up)
        await device.event("connected", 2)
        await device.do("press", keys="7#", split=False)
        # Nothing came between: CR LF was one Enter.
        assert typed([await heard.next(), await heard.next()]) == "7#"


async def test_a_keypad_that_is_not_there_is_reported_once_and_found_later() -> None:
    async with virtual("keypad") as gone:
        port = gone.port
    async with open_keypad(f"keypad+tcp://127.0.0.1:{port}", name="lane 1") as keypad:
        heard = Heard(keypad.events())
        assert str(port) in (await heard.first(Down)).reason
        async with virtual("keypad", port=port):
            assert isinstance(await heard.next(), Up)


async def test_leaving_a_keypad_ends_its_events_while_nobody_types(plug: Plug) -> None:
    async with AsciiKeypad(SerialLink(str(plug.path)), name="k") as keypad:
        heard = Heard(keypad.events())
        await heard.first(Up)
    await heard.ended()
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"keys of k"})


@given(st.lists(st.binary(max_size=12), max_size=12))
def test_no_noise_on_the_line_makes_a_key_or_breaks_the_gate(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    cut, at_once = KeyParser(), KeyParser()
    keys = [key for piece in pieces for key in cut.feed(piece, 1.0)]
    assert keys == at_once.feed(whole, 1.0)
    assert [key.digit for key in keys if isinstance(key, Digit)] == [chr(o) for o in whole if chr(o) in "0123456789"]
    assert sum(isinstance(key, Enter) for key in keys) == whole.replace(b"\r\n", b"\r").translate(
        bytes.maketrans(b"\r\n", b"##")
    ).count(b"#")


def test_a_log_line_never_shows_which_key_was_pressed() -> None:
    assert "7" not in repr(Digit(digit="7", at_monotonic=1.0))
    with pytest.raises(ValueError, match="0 to 9"):
        Digit(digit="٣", at_monotonic=1.0)


@pytest.mark.parametrize(
    ("url", "parameter"),
    [
        ("keypad+serial:ttyUSB0", "path"),
        ("keypad+serial:/dev/../etc/shadow", "path"),
        ("keypad+serial:/dev/ttyUSB0?baud=9601", "baud"),
        ("keypad+serial:/dev/ttyUSB0?speed=1", "speed"),
        ("keypad+tcp://127.0.0.1", "port"),
        ("keypad+tcp://:4000", "host"),
        ("keypad+tcp://127.0.0.1:4000/x", "path"),
    ],
)
def test_a_wrong_keypad_url_names_the_wrong_part(url: str, parameter: str) -> None:
    with pytest.raises(BadDeviceParameterError) as caught:
        open_keypad(url)
    assert caught.value.parameter == parameter


def test_an_unknown_keypad_lists_the_known_ones() -> None:
    with pytest.raises(UnknownDeviceError, match=r"schemes: keypad\+tcp, keypad\+serial"):
        open_keypad("usb:keys")
