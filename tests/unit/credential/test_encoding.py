"""If these fail, one card can be written in two ways, and its second text passes as another card."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.credential import InvalidEncodingError
from entitlements.credential.encoding import MAX_BRACKETS, b64url_decode, b64url_encode, canonical_json, strict_object


@given(st.binary(max_size=300))
def test_every_value_comes_back_from_its_text(raw):
    text = b64url_encode(raw)
    assert text == base64.urlsafe_b64encode(raw).rstrip(b"=")
    assert b64url_decode(text) == raw


@given(st.binary(max_size=60) | st.text("ABab019-_+/= .\n", max_size=60).map(str.encode))
def test_only_the_text_our_encoder_writes_is_read(text):
    try:
        raw = b64url_decode(text)
    except InvalidEncodingError:
        return
    assert b64url_encode(raw) == text


@pytest.mark.parametrize(
    "text", [b"QQ==", b"QQ=", b"QR", b"QUJ", b"+w", b"/w", b"Q", b"QUFB\n", b" QUFB", b"Q?UFB", b"QU==QU", b"\xff\xfe"]
)
def test_padding_foreign_characters_and_set_spare_bits_are_refused(text):
    with pytest.raises(InvalidEncodingError):
        b64url_decode(text)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"exp":1,"exp":2}',
        b'{"status":{"idx":1,"idx":1}}',
        b'{"a":[{"b":1,"b":1}]}',
        b'{"exp":1,"\\u0065xp":2}',
        b'{"exp":NaN}',
        b'{"exp":-Infinity}',
        b'{"exp":1e999}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\x80"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-32-le"),
        b'{"a":1}x',
        b'{"a":1}\x00',
        b"[]",
        b"1",
        b"null",
        b"",
        b"{",
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * MAX_BRACKETS + b"]" * MAX_BRACKETS + b"}",
    ],
)
def test_json_that_two_parsers_could_read_differently_is_refused(raw):
    with pytest.raises(InvalidEncodingError):
        strict_object(raw)


def test_deep_json_within_the_bound_is_read_and_not_a_stack_overflow():
    depth = MAX_BRACKETS - 1
    assert strict_object(b'{"a":' + b"[" * depth + b"]" * depth + b"}").keys() == {"a"}


@given(st.binary(max_size=200))
def test_no_bytes_make_the_json_reader_raise_anything_but_its_refusal(raw):
    try:
        strict_object(raw)
    except InvalidEncodingError:
        return


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=5))
def test_honest_json_is_read_as_it_was_written(value):
    assert strict_object(canonical_json(value)) == value
