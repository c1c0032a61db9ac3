"""Device URLs, missing families, unplugged readers, and what a person is shown."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import termios
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.devices import open_actuator, open_indicator, open_source
from hardware.errors import (
    BadDeviceParameterError,
    DeviceUrlError,
    LinkLostError,
    MissingFamilyError,
    UnknownDeviceError,
)
from hardware.indicators.stream import ConsoleIndicator, LogIndicator
from hardware.interfaces import Down, Presented, Removed, Up, Verdict
from hardware.nfc.reader import NfcReader
from tests.support.hardware import Heard


@pytest.mark.parametrize(
    ("url", "parameter"),
    [
        ("modbus+tcp://127.0.0.1:5020?passage=0", "coil"),
        ("modbus+tcp://127.0.0.1:5020?coil=0", "passage"),
        ("modbus+tcp://127.0.0.1:5020?coil=0&passage=0&colour=1", "colour"),
        ("modbus+tcp://127.0.0.1:5020?coil=0&passage=70000", "passage"),
        ("modbus+tcp://127.0.0.1:5020?coil=0&passage=0&coil=1", "coil"),
        ("modbus+tcp://127.0.0.1:5020?coil=zero&passage=0", "coil"),
        ("modbus+tcp://127.0.0.1:5020?coil=²&passage=0", "coil"),
        ("modbus+tcp://127.0.0.1:5020?coil=0&passage=0&fire=0", "passage, exit_passage, fire, tamper"),
        ("modbus+tcp://127.0.0.1:5020?coil=0&passage=0&fire=9000", "passage, exit_passage, fire, tamper"),
        ("modbus+tcp://127.0.0.1:99999?coil=0&passage=0", "port"),
        ("modbus+tcp://?coil=0&passage=0", "host"),
        ("modbus+tcp://127.0.0.1?coil", "address"),
        ("modbus+tcp://[::1?coil=0&passage=0", "address"),
    ],
)
def test_a_wrong_gate_url_names_the_wrong_part(url: str, parameter: str) -> None:
    with pytest.raises(BadDeviceParameterError) as caught:
        open_actuator(url)
    assert caught.value.parameter == parameter
    assert url in str(caught.value)


@pytest.mark.parametrize(
    "url", ["mjpeg+http:///stream", "mjpeg+http://h/a b", "nfc+udp:host", "nfc+tty:USB0", "nfc+tty:../x:pn532"]
)
def test_a_wrong_source_url_is_refused(url: str) -> None:
    with pytest.raises(BadDeviceParameterError):
        open_source(url)


@pytest.mark.parametrize("opens", [open_source, open_actuator, open_indicator])
@pytest.mark.parametrize("url", ["", "laser:1", "http://127.0.0.1/", "nfc"])
def test_an_unknown_device_lists_the_known_ones(opens, url: str) -> None:
    with pytest.raises(UnknownDeviceError, match="schemes: ") as caught:
        opens(url)
    assert caught.value.known


@given(st.sampled_from(["modbus+tcp:", "mjpeg+http:", "nfc+tty:", "nfc+udp:", ""]), st.text(max_size=40))
def test_no_url_raises_anything_undeclared(scheme: str, rest: str) -> None:
    for opens in (open_source, open_actuator):
        # Any other exception fails the test.
        with contextlib.suppress(DeviceUrlError):
            assert opens(scheme + rest).name


@pytest.mark.parametrize(
    ("opens", "url", "foreign", "ours", "family"),
    [
        (open_source, "nfc+udp:localhost:54321", "nfc", "hardware.nfc.field", "nfc"),
        (open_source, "mjpeg+http://h/s", "zxingcpp", "hardware.qr.decode", "camera"),
        (open_actuator, "modbus+tcp://h?coil=0&passage=0", "pymodbus", "hardware.gates.modbus", "modbus"),
    ],
)
def test_a_family_that_is_not_installed_is_named_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, opens, url: str, foreign: str, ours: str, family: str
) -> None:
    for module in list(sys.modules):
        if module == ours or module in ("hardware.nfc.reader", "hardware.qr.camera"):
            monkeypatch.delitem(sys.modules, module)
    for module in [foreign, *(name for name in sys.modules if name.startswith(foreign + "."))]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingFamilyError) as caught:
        opens(url)
    assert caught.value.family == family
    assert f"pip install 'rescard[{family}]'" in str(caught.value)


class Tag:
    """A card that answers from a script; once it is used up the reader has been unplugged."""

    speaks_apdu = True

    def __init__(self, reads: list[bytes | Exception]) -> None:
        self._reads = reads

    def transceive(self, command: bytes) -> bytes:
        return b"\x90\x00"

    def is_present(self) -> bool:
        if not self._reads:
            raise termios.error(5, "Input/output error")
        return False


class Scripted:
    """A protocol that reads what the script says."""

    media = "nfc-ndef"

    def __init__(self, reads: list[bytes | Exception]) -> None:
        self._reads = reads

    def probe(self, transceive, deadline: float) -> bytes | None:
        read = self._reads.pop(0)
        if isinstance(read, Exception):
            raise read
        return read


async def test_an_unplugged_reader_is_reported_and_works_again_when_it_is_plugged_in() -> None:
    reads: list[bytes | Exception] = [LinkLostError("torn"), b"card"]
    later: list[bytes | Exception] = [b"card again"]
    opened: list[str] = []

    class Field:
        def __init__(self, path: str) -> None:
            opened.append(path)
            if len(opened) in (2, 3):
                # What nfcpy raises while the device node is away.
                raise [OSError(19, "No such device"), IndexError("frame too short")][len(opened) - 2]
            self.reads = reads if len(opened) == 1 else later

        def sense(self) -> Tag:
            return Tag(self.reads)

        def close(self) -> None:
            """Nothing is held."""

    class Protocol(Scripted):
        def probe(self, transceive, deadline: float) -> bytes | None:
            return Scripted(reads or later).probe(transceive, deadline)

    reader = NfcReader("tty:USB0:pn532", protocols=[cast(Any, Protocol([]))], open_field=cast(Any, Field))
    async with reader:
        heard = Heard(reader.events())
        assert isinstance(await heard.next(), Up)
        assert (await heard.first(Presented)).data == b"card"
        down = await heard.next()
        assert isinstance(down, Down)
        assert "Input/output error" in down.reason
        assert isinstance(await heard.next(), Removed)
        # Two failed attempts in between are not told again.
        assert isinstance(await heard.next(), Up)
        assert (await heard.first(Presented)).data == b"card again"
    await heard.ended()
    assert opened[:4] == ["tty:USB0:pn532"] * 4


VERDICT = Verdict(light="red", tone="refused", headline="Closed", detail="Opens at 14:00\nnot before")


async def test_a_verdict_is_told_in_words_and_shape_and_never_by_colour_alone() -> None:
    text, lines = io.StringIO(), io.StringIO()
    await ConsoleIndicator(name="gate", stream=text).show(VERDICT)
    await LogIndicator(name="gate", stream=lines).show(VERDICT)
    assert text.getvalue() == "[XX] RED   Closed - Opens at 14:00 not before (tone: refused)\n"
    assert json.loads(lines.getvalue()) == {
        "indicator": "gate",
        "light": "red",
        "tone": "refused",
        "headline": "Closed",
        "detail": "Opens at 14:00\nnot before",
    }


@pytest.mark.parametrize(("url", "kind"), [("log:", LogIndicator), ("console:", ConsoleIndicator)])
async def test_an_indicator_writes_to_standard_error(url: str, kind: type, capsys) -> None:
    indicator = open_indicator(url, name="lane 1")
    assert isinstance(indicator, kind)
    await indicator.show(VERDICT)
    await indicator.close()
    assert "Closed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [{"headline": " "}, {"headline": "x" * 61}, {"detail": "x" * 241}, {"light": "pink"}, {"tone": "loud"}],
)
def test_a_verdict_that_cannot_be_shown_is_refused_when_it_is_made(wrong: dict[str, str]) -> None:
    fields: dict[str, Any] = {"light": "green", "tone": "granted", "headline": "Come in"} | wrong
    with pytest.raises(ValueError, match=r"headline|detail|light|tone"):
        Verdict(**fields)


@pytest.mark.parametrize("data", [b"", b"x" * 4097])
def test_a_presentation_is_bounded(data: bytes) -> None:
    with pytest.raises(ValueError, match="octets"):
        Presented(data=data, media="qr", source="s", at_monotonic=0.0)
