"""Which PINs are refused because a finder of the card would try them first. Pure."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

MIN_DIGITS: Final = 4
MAX_DIGITS: Final = 8
_DIGITS: Final = re.compile(rf"[0-9]{{{MIN_DIGITS},{MAX_DIGITS}}}")
_UP: Final = "01234567890123456"
"""A run may pass from 9 to 0, as the keys do."""
_DATES: Final = (
    *("%d%m", "%m%d", "%Y", "%m%y", "%y%m"),
    *("%d%m%y", "%m%d%y", "%y%m%d", "%m%Y", "%Y%m"),
    *("%d%m%Y", "%m%d%Y", "%Y%m%d"),
)
"""How people write a birthday with digits."""


def problem_of(pin: str, date_of_birth: date | None) -> str | None:
    """Why a PIN is refused, in words that do not repeat it; ``None`` where it is good.

    NIST SP 800-63B section 5.1.1.2 asks for such a list; four digits leave 10,000 PINs, and a fifth of people would
    choose one of twenty.
    """
    if _DIGITS.fullmatch(pin) is None:
        return f"a PIN is {MIN_DIGITS} to {MAX_DIGITS} digits"
    if _repeats(pin):
        return "it repeats itself, which is the first thing to be tried"
    if pin in _UP or pin[::-1] in _UP:
        return "the digits follow one another, which is the first thing to be tried"
    if date_of_birth is not None and any(date_of_birth.strftime(form) == pin for form in _DATES):
        return "it is the holder's date of birth, which is no secret"
    return None


def _repeats(pin: str) -> bool:
    """Whether it is some shorter piece over and over: 1111, 1212, 123123."""
    return any(len(pin) % size == 0 and pin == pin[:size] * (len(pin) // size) for size in range(1, len(pin) // 2 + 1))
