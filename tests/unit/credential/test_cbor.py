"""If these fail, signed bytes have two readings, or a few bytes make a gate take memory that they merely claim."""

import tracemalloc

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.credential import InvalidEncodingError
from entitlements.credential.cbor import MAX_DEPTH, decode
from entitlements.credential.cwt_cbor2 import _load


def outcome(read, raw):
    try:
        return ("read", read(raw))
    except InvalidEncodingError:
        return ("refused", None)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("18ff", 255),
        ("190100", 256),
        ("1903e8", 1000),
        ("1a000f4240", 1000000),
        ("1b000000e8d4a51000", 1000000000000),
        ("1bffffffffffffffff", 18446744073709551615),
        ("3bffffffffffffffff", -18446744073709551616),
        ("20", -1),
        ("3903e7", -1000),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("40", b""),
        ("4401020304", bytes.fromhex("01020304")),
        ("60", ""),
        ("6449455446", "IETF"),
        ("62225c", '"\\'),
        ("62c3bc", "ü"),
        ("64f0908591", "𐅑"),
        ("80", []),
        ("83010203", [1, 2, 3]),
        ("8301820203820405", [1, [2, 3], [4, 5]]),
        ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", list(range(1, 26))),
        ("a0", {}),
        ("a201020304", {1: 2, 3: 4}),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("826161a161626163", ["a", {"b": "c"}]),
    ],
)
def test_the_examples_of_rfc_8949_appendix_a_of_our_kinds(encoded, value):
    assert decode(bytes.fromhex(encoded)) == value


REFUSED = {
    "c249010000000000000000": "a tag (big number)",
    "c11a514b67b0": "a tag (time)",
    "d818456449455446": "a tag (encoded CBOR)",
    "d9d9f700": "a tag (self-described)",
    "d81c01": "a tag (shared value)",
    "f90000": "a half float",
    "fa47c35000": "a float",
    "fb3ff199999999999a": "a double",
    "f97e00": "not a number",
    "f7": "undefined",
    "f0": "a simple value",
    "f818": "a simple value in two bytes",
    "f8ff": "a simple value in two bytes",
    "5f42010243030405ff": "a byte string in pieces",
    "7f657374726561646d696e67ff": "a text in pieces",
    "9fff": "an array without length",
    "bf616101ff": "a map without length",
    "ff": "an end without beginning",
    "1c": "a reserved length",
    "1817": "23 in two bytes",
    "190017": "23 in three bytes",
    "1900ff": "255 in three bytes",
    "1a0000ffff": "65535 in five bytes",
    "1b00000000ffffffff": "2**32 - 1 in nine bytes",
    "3817": "-24 in two bytes",
    "580100": "a length of 1 in two bytes",
    "b80101": "a map whose length is longer than it must be",
    "a201020102": "a key twice",
    "a203040102": "keys out of order",
    "a26161010102": "text before number",
    "a18001": "an array as key",
    "a1f501": "true as key",
    "a1a001": "a map as key",
    "62c328": "no UTF-8",
    "63eda080": "a lone surrogate",
    "62c080": "an overlong character",
    "0000": "two values",
    "": "nothing",
    "18": "a number cut off",
    "41": "bytes cut off",
    "8201": "an array cut off",
    "a101": "a map cut off",
}


@pytest.mark.parametrize("encoded", REFUSED, ids=lambda text: REFUSED[text])
def test_what_is_not_the_one_encoding_of_a_plain_value_is_refused(encoded):
    raw = bytes.fromhex(encoded)
    assert outcome(decode, raw) == ("refused", None)
    assert outcome(_load, raw) == ("refused", None)


def test_keys_may_be_out_of_order_where_that_is_allowed_and_never_twice():
    assert decode(bytes.fromhex("a203040102"), ordered=False) == {3: 4, 1: 2}
    with pytest.raises(InvalidEncodingError):
        decode(bytes.fromhex("a201020102"), ordered=False)


def test_deep_nesting_is_refused_at_the_same_depth_by_both_readers():
    for shell, core in ((b"\x81", b"\x00"), (b"\xa1\x00", b"\x00"), (b"\x81", b"\x80")):
        for depth in range(MAX_DEPTH + 3):
            raw = shell * depth + core
            assert outcome(decode, raw) == outcome(_load, raw)
    assert outcome(decode, b"\x81" * 100_000)[0] == "refused"


@pytest.mark.parametrize("major", [0x40, 0x60, 0x80, 0xA0])
@pytest.mark.parametrize("claimed", [2**16, 2**31, 2**62, 2**64 - 1])
def test_a_claimed_length_costs_nothing(major, claimed):
    raw = bytes((major | 27,)) + claimed.to_bytes(8, "big") + b"\x00" * 100
    outcome(decode, raw)  # what is allocated once
    tracemalloc.start()
    try:
        assert outcome(decode, raw) == ("refused", None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16_384


PLAIN = st.recursive(
    st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=30) | st.text(max_size=10) | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-70000, 70000) | st.text(max_size=4) | st.binary(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def ordered(value):
    """The same value with the keys of its maps in the order of RFC 8949 section 4.2.1."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value, key=cbor2.dumps)}
    return [ordered(item) for item in value] if isinstance(value, list) else value


@given(PLAIN)
def test_a_plain_value_is_read_as_another_library_wrote_it(value):
    raw = cbor2.dumps(ordered(value))
    assert decode(raw) == value
    assert _load(raw) == value


@given(PLAIN, st.data())
def test_two_readers_judge_changed_bytes_alike(value, data):
    raw = bytearray(cbor2.dumps(ordered(value)))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    assert outcome(decode, bytes(raw)) == outcome(_load, bytes(raw))


@given(st.binary(max_size=60))
def test_two_readers_judge_any_bytes_alike(raw):
    found = outcome(decode, raw)
    assert found == outcome(_load, raw)
    if found[0] == "read":
        assert cbor2.dumps(found[1]) == raw
