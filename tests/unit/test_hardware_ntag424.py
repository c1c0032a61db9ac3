"""The virtual NTAG 424 DNA by NXP's published example, what a reader makes of it, and legacy cards' serial numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.errors import CardError
from hardware.nfc import uid
from hardware.nfc.type4 import Type4Ndef
from hardware.virtual.ntag424 import COUNTER_END, Chip, Mirror, Ntag424Applet, SettingsError

NEVER = float("inf")
SETTINGS = bytes.fromhex("4000E0C1F121200000430000430000")
"""AN12196 table 18, step 7: key 2 for PICCData at 20h, key 1 for a MAC over nothing at 43h."""
LINK = b"choose.url.com/ntag424?e=" + b"0" * 32 + b"&c=" + b"0" * 16
FILE = bytes([0, len(LINK) + 5, 0xD1, 0x01, len(LINK) + 1, ord("U"), 0x04]) + LINK


def chip(**changes: Any) -> Chip:
    """The chip of the application note's example, all keys as from the factory."""
    facts: dict[str, Any] = {
        "uid": bytes.fromhex("04DE5F1EACC040"),
        "file": FILE,
        "settings": SETTINGS,
        "keys": [bytes(16)] * 5,
    }
    return Chip(**facts | changes)


def test_the_example_of_an12196_is_what_the_chip_shows() -> None:
    """Tables 2 and 4: PICCData and MAC of the 61st reading, with the padding that the example decrypts to."""
    card = chip(counter=60, padding=lambda _: bytes.fromhex("DA5CF60941"))
    link = Type4Ndef().probe(Ntag424Applet(card).answer, NEVER)
    assert link == b"https://choose.url.com/ntag424?e=EF963FF7828658A599F3041510671E88&c=94EED9EE65337086"
    assert card.counter == 61


@given(st.integers(15, 255), st.integers(0, COUNTER_END - 1))
def test_a_chip_read_in_parts_of_any_size_shows_one_reading(max_le: int, counter: int) -> None:
    card = chip(counter=counter)
    applet = Ntag424Applet(card)
    for command in ("00A4040007D276000085010100", "00A4000C02E104"):
        assert applet.answer(bytes.fromhex(command)) == b"\x90\x00"
    file = b""
    while len(file) < 2 + len(FILE):
        answer = applet.answer(bytes([0x00, 0xB0, len(file) >> 8, len(file) & 0xFF, max_le]))
        assert answer.endswith(b"\x90\x00")
        file += answer[:-2]
    assert card.counter == counter + 1
    assert applet.message == file[2 : len(FILE)]
    assert applet.read_to_end
    # Another command between, and the file is written anew: no two readings are alike.
    applet.answer(bytes.fromhex("00A4000C02E104"))
    applet.answer(bytes.fromhex("00B00000FF"))
    assert card.counter in (counter + 2, COUNTER_END)
    assert applet.message != file[2 : len(FILE)]


def test_a_chip_at_the_end_of_its_counter_is_not_read_again_and_never_begins_anew() -> None:
    card = chip(counter=COUNTER_END - 1)
    assert Type4Ndef().probe(Ntag424Applet(card).answer, NEVER)
    for _ in range(2):
        with pytest.raises(CardError, match="6982"):
            Type4Ndef().probe(Ntag424Applet(card).answer, NEVER)
    assert card.counter == COUNTER_END


def test_a_chip_with_a_limit_ends_there() -> None:
    limited = SETTINGS[:3] + b"\xe1" + SETTINGS[4:] + (2).to_bytes(3, "little")
    card = chip(settings=limited)
    for _ in range(2):
        assert Type4Ndef().probe(Ntag424Applet(card).answer, NEVER)
    with pytest.raises(CardError):
        Type4Ndef().probe(Ntag424Applet(card).answer, NEVER)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("", "not switched on"),
        ("0000E0", "not switched on"),
        ("400000C1F121200000430000430000", "not free to read"),
        ("4000E0D1F121200000430000430000", "no file data"),
        ("4000E081F121200000430000430000", "mirrors serial number and counter"),
        ("4000E0C1F1E1200000430000430000", "key"),
        ("4000E0C1F151200000430000430000", "key"),
        ("4000E0C1F521200000430000430000", "right"),
        ("4000E0C1F1212000004300004300", "offsets"),
        ("4000E0E1F121200000430000430000", "offsets"),
        ("4000E0C1F121F00000430000430000", "outside"),
        ("4000E0C1F121200000430000F10000", "outside"),
        ("4000E0C1F121200000440000430000", "before what it covers"),
        ("4000E0C1F1212000003F00003F0000", "overlap"),
        ("4000E0C1F121200000110000110000", "overlap"),
    ],
)
def test_settings_that_a_chip_would_refuse_are_refused(settings: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        Mirror.parse(bytes.fromhex(settings))


@given(st.binary(max_size=24))
def test_settings_of_any_octets_are_settings_or_the_declared_error(settings: bytes) -> None:
    try:
        mirror = Mirror.parse(settings)
    except SettingsError:
        return
    assert mirror.mac_from <= mirror.mac_at <= 240


@pytest.mark.parametrize(
    "changes",
    [{"uid": bytes(4)}, {"keys": [bytes(16)] * 4}, {"keys": [bytes(15)] * 5}, {"file": bytes(257)}, {"counter": -1}],
)
def test_a_chip_that_there_is_not_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        chip(**changes)


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_no_command_breaks_the_chip_or_shows_its_file_unmirrored(commands: list[bytes]) -> None:
    applet = Ntag424Applet(chip())
    for command in commands:
        answer = applet.answer(command)
        assert len(answer) >= 2
        assert b"e=0000" not in answer


@pytest.mark.parametrize(
    ("number", "presented"),
    [
        ("04A1B2C3", b"RU1:04A1B2C3"),
        ("04AABBCCDDEEFF", b"RU1:04AABBCCDDEEFF"),
        ("04AABBCCDDEEFF112233", b"RU1:04AABBCCDDEEFF112233"),
        ("08A1B2C3", None),
        ("88A1B2C3", None),
        ("1FA1B2C3", None),
        ("04A1B2", None),
        ("", None),
    ],
    ids=["single", "double", "triple", "random", "cascade tag", "not unique", "too short", "empty"],
)
def test_only_a_number_that_stays_with_its_card_is_presented(number: str, presented: bytes | None) -> None:
    assert uid.octets(bytes.fromhex(number)) == presented


def test_a_card_without_a_number_is_not_presented() -> None:
    assert uid.octets(None) is None
