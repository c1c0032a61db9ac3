"""From one item of an upload to a row, or to the sentence that says why not. Pure: each item is judged on its own.

A rejection is final (the reader parks the item for a person to look at), so only what cannot be true or cannot be kept
is rejected. Whether the decision was right is not asked: a tap is a fact.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import msgspec

from entitlements.credential.encoding import b64url_decode
from entitlements.credential.errors import InvalidEncodingError
from entitlements.wire.taps import Passage, Tap

MAX_AGE: Final = timedelta(days=366)
"""A reader that was offline longer than a year was not offline: its clock was wrong."""
MAX_AHEAD: Final = timedelta(days=1)
"""A clock that is wrong by hours is a fact to be kept (``clock_trusted`` says so); one that is wrong by days is not."""
CARD_BYTES: Final = 8
MAX_EFFECTS: Final = 32
"""Accounts that one tap takes from; far more than any service document names."""
MAX_OFFSET_MS: Final = 10 * 366 * 86_400_000
"""Ten years: beyond it a clock offset is a broken number."""
INT4: Final = 2**31 - 1
INT8: Final = 2**63 - 1

_PRINTABLE: Final = re.compile(r"[^\x00-\x1f\x7f]*")
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_TENANT: Final = re.compile(r"[a-z][a-z0-9-]{1,15}")
_TEXTS: Final = (
    ("lane", 64, _PRINTABLE),
    ("reason", 80, _WORD),
    ("media", 32, _WORD),
    ("card_tenant", 16, _TENANT),
    ("service", 128, _PRINTABLE),
    ("band", 64, _PRINTABLE),
    ("feed", 96, _PRINTABLE),
    ("detail", 1000, _PRINTABLE),
    ("item", 100, _PRINTABLE),
    ("presentation", 16, _WORD),
)
"""Members of a tap that are texts, the most characters of each, and which."""
_texts_of: Callable[[Tap], tuple[str | None, ...]] = attrgetter(*(name for name, _, _ in _TEXTS))
_NUMBERS: Final = (("service_version", INT4), ("feed_number", INT8), ("acts_for", INT4))
"""Members that are numbers from 0 to this."""
_decoder: msgspec.json.Decoder[Tap | Passage] = msgspec.json.Decoder(Tap | Passage)

Rejected = str
"""The sentence for the reader's log."""


def judge(raw: msgspec.Raw, *, site: str, now: datetime) -> Tap | Passage | Rejected:
    """The item, or why it cannot be stored.

    Args:
        raw: the JSON of one item.
        site: where the reader works; it can speak of no other place.
        now: aware.
    """
    try:
        item = _decoder.decode(raw)
    except msgspec.MsgspecError as error:
        return f"The item is not in order: {error}."
    except (RecursionError, UnicodeDecodeError):
        return "The item is not in order: it is nested too deeply or is no text."
    problem = _moment_problem(item.at, now)
    if problem is None and isinstance(item, Tap):
        problem = _tap_problem(item, site)
    return problem or item


def moment(milliseconds: int) -> datetime:
    """An instant of the wire (ms since the epoch), which :func:`judge` found plausible."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC) + timedelta(milliseconds=milliseconds % 1000)


def _moment_problem(milliseconds: int, now: datetime) -> str | None:
    seconds = now.timestamp()
    if milliseconds / 1000 < seconds - MAX_AGE.total_seconds():
        return "The item is more than a year old: the clock that dated it was wrong."
    if milliseconds / 1000 > seconds + MAX_AHEAD.total_seconds():
        return "The item lies more than a day ahead: the clock that dated it was wrong."
    return None


def _tap_problem(tap: Tap, site: str) -> str | None:
    if tap.site != site:
        return f"This reader works at {site}, not at the site of the item."
    try:
        _see_texts(_texts_of(tap))
    except _UnfitError as unfit:
        return f"The member {unfit} is empty, too long or has characters that do not belong there."
    for name, largest in _NUMBERS:
        number = getattr(tap, name)
        if number is not None and not 0 <= number <= largest:
            return f"The member {name} is out of range."
    if tap.pence is not None and abs(tap.pence) > INT4:
        return "The member pence is out of range."
    if abs(tap.clock_offset_ms) > MAX_OFFSET_MS:
        return "The member clock_offset_ms is out of range."
    return _card_problem(tap) or _effects_problem(tap)


class _UnfitError(Exception):
    """The name of a member."""


@lru_cache(maxsize=1024)
def _see_texts(values: tuple[str | None, ...]) -> None:
    """Look at the texts of a tap, in the order of ``_TEXTS``.

    The taps of a gate differ in little else than id, card and time, so most of these were seen before. Only what is in
    order is remembered, and so nothing that is longer than it may be.

    Raises:
        _UnfitError: one of them is not in order.
    """
    for (name, longest, pattern), value in zip(_TEXTS, values, strict=True):
        if value is not None and not (0 < len(value) <= longest and pattern.fullmatch(value)):
            raise _UnfitError(name)


def _card_problem(tap: Tap) -> str | None:
    if tap.card is None:
        return None
    try:
        fits = len(card_bytes(tap.card)) == CARD_BYTES
    except (InvalidEncodingError, UnicodeEncodeError):
        fits = False
    return None if fits else "The member card is no base64url of 8 bytes."


def _effects_problem(tap: Tap) -> str | None:
    if len(tap.effects) > MAX_EFFECTS:
        return f"The member effects has more than {MAX_EFFECTS} entries."
    for effect in tap.effects:
        if len(effect) > MAX_EFFECTS:
            return "An effect has too many members."
        for name, value in effect.items():
            if not (_short(name) and (value is None or _SCALARS.get(type(value), _never)(value))):
                return "An effect has a member that is neither a short text nor a number."
    return None


@lru_cache(maxsize=2048)
def card_bytes(text: str) -> bytes:
    """The card id of its base64url text.

    Raises:
        InvalidEncodingError, UnicodeEncodeError: it is no canonical base64url.
    """
    return b64url_decode(text.encode("ascii"))


def _short(text: str) -> bool:
    return len(text) <= 200 and _PRINTABLE.fullmatch(text) is not None


def _never(_: Any) -> bool:
    return False


_SCALARS: Final[dict[type, Callable[[Any], bool]]] = {
    bool: lambda _: True,
    int: lambda number: abs(number) <= INT8,
    float: lambda _: True,
    str: _short,
}
