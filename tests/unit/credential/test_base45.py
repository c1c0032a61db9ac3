"""If these fail, one card can be written in two texts, or a paper card is read as another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.credential import InvalidEncodingError
from entitlements.credential.base45 import b45_decode, b45_encode

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"AB", b"BB8"), (b"Hello!!", b"%69 VD92EX0"), (b"base-45", b"UJCLQE7W581"), (b"ietf!", b"QED8WEX0"), (b"", b"")],
)
def test_the_examples_of_rfc_9285_sections_4_3_and_4_4(raw, text):
    assert b45_encode(raw) == text
    assert b45_decode(text) == raw


@given(st.binary(max_size=400))
def test_every_value_comes_back_from_its_text(raw):
    text = b45_encode(raw)
    assert b45_decode(text) == raw
    assert len(text) == (len(raw) * 3 + 1) // 2
    assert set(text.decode()) <= set(ALPHABET)


@given(st.text(ALPHABET + "az!_\n", max_size=40).map(str.encode) | st.binary(max_size=40))
def test_only_the_text_our_encoder_writes_is_read(text):
    try:
        raw = b45_decode(text)
    except InvalidEncodingError:
        return
    assert b45_encode(raw) == text


def test_every_group_of_three_is_judged_by_its_value():
    """All 91125 groups: those above 65535 are refused (RFC 9285 section 4.4, e.g. GGW is 65536)."""
    digits = ALPHABET.encode()
    for high in range(45):
        for middle in range(45):
            for low in range(45):
                value = low + 45 * middle + 2025 * high
                text = bytes((digits[low], digits[middle], digits[high]))
                if value < 65536:
                    assert b45_decode(text) == value.to_bytes(2, "big")
                else:
                    with pytest.raises(InvalidEncodingError):
                        b45_decode(text)


@pytest.mark.parametrize(
    "text",
    [
        b"GGW",
        b":::",
        b"BB8GGW",
        b"GGWBB8",
        b"B",
        b"BB8B",
        b"bb8",
        b"BB8 ",
        b"BB8\n",
        b"::",
        b"V5",
        b"BB8V5",
        b"BB\xc3",
        "ＢＢ８".encode(),
        b"=BB",
        b"BB8,BB",
    ],
)
def test_texts_of_other_lengths_cases_and_characters_are_refused(text):
    with pytest.raises(InvalidEncodingError):
        b45_decode(text)


def test_the_last_byte_is_read_up_to_255():
    assert b45_encode(b"\xff") == b"U5"
    assert b45_decode(b"U5") == b"\xff"
