"""One-time enrolment codes: 80 random bits that a person can read out, of which only the hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U, so that a code read over the phone is typed right."""
CHARACTERS: Final = 16
"""80 bits: guessing is hopeless in the life of a code, even without the limit on attempts."""
GROUP: Final = 4
_READ_AS = str.maketrans("ILO", "110", "- \t\r\n")


def make_code() -> str:
    """A new code, e.g. ``7QF2-M9XK-04TR-BZ1C``."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(CHARACTERS))
    return "-".join(text[start : start + GROUP] for start in range(0, CHARACTERS, GROUP))


def code_digest(code: str) -> bytes:
    """SHA-256 of the code as it was meant: without hyphens and spaces, in upper case, with I, L, O read as 1, 1, 0."""
    return hashlib.sha256(code.upper().translate(_READ_AS).encode("utf-8", "replace")).digest()
