"""The Type 4 dialogue and NDEF: what any card can do to a reader, and what every honest card gets."""

from __future__ import annotations

import contextlib

import ndef
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.errors import CardError, LinkLostError, ProbeTimeoutError
from hardware.nfc.ndef import MAX_RECORDS, Record, credential, parse
from hardware.nfc.type4 import MAX_COMMANDS, Type4Ndef
from hardware.virtual.nfc_card import ndef_record
from hardware.virtual.tag4 import IsoDepTarget, Type4Applet

NEVER = float("inf")
AID = "D2760000850101"


class Card:
    """A pure model of a Type 4 card, written from the standard's tables and not from our code."""

    def __init__(self, message: bytes, *, max_le: int, give: int = 255) -> None:
        size = len(message) + 2
        self.files = {
            "E103": bytes.fromhex(f"000F20{max_le:04X}00FF0406E1{0x05:02X}{size:04X}00FF"),
            "E105": len(message).to_bytes(2, "big") + message,
        }
        self.selected = ""
        self.max_le = max_le
        self.give = give
        self.commands = 0

    def transceive(self, command: bytes) -> bytes:
        self.commands += 1
        if command == bytes.fromhex(f"00A4040007{AID}00"):
            return b"\x90\x00"
        if command[:4] == b"\x00\xa4\x00\x0c" and command[4] == 2:
            self.selected = command[5:].hex().upper()
            return b"\x90\x00" if self.selected in self.files else b"\x6a\x82"
        assert command[:2] == b"\x00\xb0", command.hex()
        assert 0 < command[4] <= self.max_le
        start = int.from_bytes(command[2:4], "big")
        return self.files[self.selected][start : start + min(command[4], self.give)] + b"\x90\x00"


@given(st.binary(min_size=1, max_size=1500), st.integers(15, 0xFFFF), st.integers(15, 255))
def test_an_honest_card_is_read_whole(octets: bytes, max_le: int, give: int) -> None:
    card = Card(ndef_record("application/vnd.rescard+jwt", octets, tnf=2), max_le=max_le, give=give)
    assert Type4Ndef().probe(card.transceive, NEVER) == octets
    assert card.commands <= MAX_COMMANDS


answers = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=40).map(lambda data: data + b"\x90\x00"),
    st.sampled_from([b"", b"\x90", b"\x90\x00", b"\x6a\x82", b"\x61\x10", b"\xff\xff\x90\x00"]),
    st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)).map(
        lambda v: bytes.fromhex(f"000F20{v[0]:04X}00FF0406{v[1]:04X}{v[2]:04X}00FF9000")
    ),
)


@given(st.lists(answers, min_size=1, max_size=30), st.booleans())
def test_a_hostile_card_cannot_hold_a_reader_or_break_it(script: list[bytes], opens: bool) -> None:
    sent = 0

    def transceive(command: bytes) -> bytes:
        nonlocal sent
        sent += 1
        return b"\x90\x00" if opens and sent <= 2 else script[sent % len(script)]

    # Any other exception fails the test.
    with contextlib.suppress(CardError):
        result = Type4Ndef().probe(transceive, NEVER)
        assert result is None or 0 < len(result) <= 4096
    assert sent <= MAX_COMMANDS


@given(st.integers(0, 5), st.integers(0, 70), st.binary(max_size=20))
def test_an_answer_gone_wrong_in_the_middle_is_an_error_and_no_card(kind: int, at: int, noise: bytes) -> None:
    octets = b"A card of some length " * 12
    card = Card(ndef_record("application/vnd.rescard+jwt", octets, tnf=2), max_le=15)
    sent = 0

    def transceive(command: bytes) -> bytes:
        nonlocal sent
        sent += 1
        answer = card.transceive(command)
        if sent - 1 != at:
            return answer
        return [answer[:1], answer[:-2] + b"\x6f\x00", noise, answer + b"\x00", b"\x90\x00", b""][kind]

    with contextlib.suppress(CardError):
        # The answer may be replaced by one that says the same, and SELECT may be refused.
        assert Type4Ndef().probe(transceive, NEVER) in (octets, None)


def test_a_card_that_leaves_or_dawdles_is_no_broken_card() -> None:
    def gone(command: bytes) -> bytes:
        raise LinkLostError("gone")

    with pytest.raises(LinkLostError):
        Type4Ndef().probe(gone, NEVER)
    instants = iter(range(100))
    card = Card(ndef_record("application/vnd.rescard+jwt", b"x" * 200, tnf=2), max_le=15)
    with pytest.raises(ProbeTimeoutError):
        Type4Ndef(clock=lambda: next(instants)).probe(card.transceive, 7)
    assert card.commands == 7


def test_a_bank_card_is_not_ours() -> None:
    assert Type4Ndef().probe(lambda _: b"\x6a\x82", NEVER) is None


def test_a_card_that_is_just_being_written_is_not_taken_for_an_empty_one() -> None:
    card = Card(b"", max_le=15)
    with pytest.raises(CardError, match="no message"):
        Type4Ndef().probe(card.transceive, NEVER)


@pytest.mark.parametrize(
    ("capability", "problem"),
    [
        ("000F10001500FF0406E104020000FF", "mapping version"),
        ("000F20000E00FF0406E104020000FF", "only 14 octets"),
        ("000F20001500FF0506E104020000FF", "no NDEF file"),
        ("000F20001500FF0406E103020000FF", "reserved file"),
        ("000F20001500FF0406E1040200FFFF", "protected"),
        ("000720001500FF0406E104020000FF", "too short"),
    ],
)
def test_a_capability_container_against_the_standard_is_refused(capability: str, problem: str) -> None:
    script = [b"\x90\x00", b"\x90\x00", bytes.fromhex(capability) + b"\x90\x00"]
    with pytest.raises(CardError, match=problem):
        Type4Ndef().probe(lambda _: script.pop(0), NEVER)


@given(st.binary(min_size=1, max_size=400), st.integers(15, 255), st.sampled_from([0x00, 0x20, 0x50, 0x80]))
def test_the_virtual_card_speaks_the_link_protocol_by_the_book(octets: bytes, max_le: int, fsd: int) -> None:
    """A reader that loses every other block and asks again still gets every octet (ISO/IEC 14443-4, rules 11,
    12).
    """
    link = IsoDepTarget(Type4Applet(ndef_record("a/b", octets, tnf=2), max_le=max_le))
    link.activate(bytes([0xE0, fsd]))
    frame = (16, 24, 32, 40, 48, 64, 96, 128, 256)[fsd >> 4] - 3
    number = 0

    def transceive(command: bytes) -> bytes:
        nonlocal number
        answer = link.answer(bytes([0x02 | number]) + command)
        data = b""
        while True:
            assert answer is not None
            # Lost on the way: ask again with R(NAK), which must bring the same block.
            assert link.answer(bytes([0xB2 | number])) == answer
            assert answer[0] & 1 == number
            assert len(answer) - 1 <= frame
            data += answer[1:]
            number ^= 1
            if not answer[0] & 0x10:
                return data
            answer = link.answer(bytes([0xA2 | number]))

    file_select = bytes.fromhex("00A4000C02E104")
    assert transceive(bytes.fromhex(f"00A4040007{AID}00")) == b"\x90\x00"
    assert transceive(file_select) == b"\x90\x00"
    read = b""
    while len(read) < len(octets) + 8:
        part = transceive(bytes.fromhex(f"00B0{len(read):04X}FF"))
        if part == b"\x90\x00":
            break
        assert part.endswith(b"\x90\x00")
        read += part[:-2]
    assert read[2:] == ndef_record("a/b", octets, tnf=2)
    # A presence check changes nothing.
    assert link.answer(bytes([0xB2 | number])) == bytes([0xA2 | (number ^ 1)])
    assert link.answer(b"\xc2") == b"\xc2"
    assert not link.active


@given(
    st.lists(
        st.builds(
            ndef.Record,
            st.sampled_from(["text/plain", "urn:nfc:wkt:X", "urn:nfc:ext:a.b:c"]),
            st.text(st.characters(codec="ascii", categories=["L"]), max_size=5),
            st.binary(max_size=300),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_messages_of_ndeflib_are_understood(records: list[ndef.Record]) -> None:
    octets = b"".join(ndef.message_encoder(records))
    assert [record.payload for record in parse(octets)] == [record.data for record in records]
    assert credential(octets) is None


@given(st.binary(max_size=120))
def test_octets_that_are_no_message_are_the_declared_error(octets: bytes) -> None:
    with contextlib.suppress(CardError):
        assert all(isinstance(record, Record) for record in parse(octets))
        assert credential(octets) is None or credential(octets)


def test_a_signed_link_keeps_its_exact_octets() -> None:
    link = "https://card.example.org/t?picc=EF%3D&cmac=94EE=D9"
    octets = b"".join(ndef.message_encoder([ndef.Record("urn:nfc:wkt:U", "", b"\x04" + link[8:].encode())]))
    assert credential(octets) == link.encode()


def test_our_own_record_comes_before_a_link_for_phones() -> None:
    ours = ndef.Record("application/vnd.rescard+jwt", "", b"eyJ")
    link = ndef.UriRecord("https://example.org")
    assert credential(b"".join(ndef.message_encoder([link, ours]))) == b"eyJ"
    assert credential(b"".join(ndef.message_encoder([link]))) == b"https://example.org"
    assert credential(b"".join(ndef.message_encoder([ndef.TextRecord("RP1:ABC", "en-GB")]))) == b"RP1:ABC"


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "does not end"),
        (b"\x51\x01\x00T", "begin"),
        (b"\xd1\x01\x00T\xd1\x01\x00T", "follow the end"),
        (b"\xb1\x01\x00T", "[cC]hunked"),
        (b"\xd1\x01\x05T", "cut short"),
        (b"\xc1\x01\xff\xff\xff\xffT", "cut short"),
        (b"\xd1\x01\x01T\x80", "UTF-16"),
        (b"\xd1\x01\x01T\x05", "cut short"),
        (b"\xd1\x01\x00U", "empty"),
        (b"\x91\x01\x00X" + b"\x11\x01\x00X" * MAX_RECORDS, "more than"),
    ],
)
def test_a_message_against_the_standard_is_refused(octets: bytes, problem: str) -> None:
    with pytest.raises(CardError, match=problem):
        credential(octets)
