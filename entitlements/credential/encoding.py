"""Strict base64url and JSON: one text for one value, so that no two texts pass for the same token.

Python's decoders are forgiving (padding, stray characters, the last of two equal keys, ``Infinity``), and so is
PyJWT. Forgiving decoders are how a token gets a second identity, so everything passes through here.
"""

from __future__ import annotations

import json
from binascii import Error as BinasciiError
from binascii import a2b_base64, b2a_base64
from typing import Any, NoReturn

from entitlements.credential.errors import InvalidEncodingError

_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/\x00\x00\x00")
"""base64url to base64; characters that only base64 has, and padding, become invalid."""
_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", b"===", b"==", b"=")

MAX_BRACKETS = 256
"""Objects and arrays in one text. Bounds nesting far below the interpreter's recursion limit, whatever called us."""


def b64url_encode(raw: bytes) -> bytes:
    """Base64url without padding (RFC 7515 section 2)."""
    return b2a_base64(raw, newline=False).rstrip(b"=").translate(_TO_URL)


def b64url_decode(segment: bytes) -> bytes:
    """Decode canonical base64url: no padding, no other characters, unused bits zero (RFC 4648 sections 3.2-3.5).

    :raises InvalidEncodingError: for every text that :func:`b64url_encode` would not have written.
    """
    try:
        standard = segment.translate(_TO_STANDARD) + _PADDING[len(segment) & 3]
        raw = a2b_base64(standard)
    except BinasciiError as error:
        raise InvalidEncodingError("not base64url") from error
    # The decoder skips foreign characters and ignores unused bits; writing it anew catches both.
    if b2a_base64(raw, newline=False) != standard:
        raise InvalidEncodingError("not canonical base64url")
    return raw


def strict_object(raw: bytes) -> dict[str, Any]:
    """Parse one JSON object the strict way (RFC 8725 section 2.5, RFC 7493): UTF-8 without mark, no key twice at any
    depth, no ``NaN``, no ``Infinity``, no lone surrogate, bounded nesting.

    :raises InvalidEncodingError: if any of this does not hold.
    """
    if raw.count(b"{") + raw.count(b"[") > MAX_BRACKETS:
        raise InvalidEncodingError("too many JSON objects and arrays")
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object_without_twins,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        # An escaped lone surrogate is a str that has no UTF-8.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except InvalidEncodingError:
        raise
    except ValueError as error:  # bad UTF-8, bad JSON, lone surrogates, integers of thousands of digits
        raise InvalidEncodingError("not strict JSON") from error
    if not isinstance(value, dict):
        raise InvalidEncodingError("not a JSON object")
    return value


def canonical_json(value: dict[str, Any]) -> bytes:
    """Write JSON in ASCII without white space, keys in the order given: what this project signs."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _object_without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidEncodingError("a JSON key stands twice")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise InvalidEncodingError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise InvalidEncodingError("a JSON number is out of range")
    return number
