"""From octets of a keypad to keys: ASCII digits, ``#`` or Enter to end, ``*`` to give up. No I/O, no clock."""

from __future__ import annotations

from hardware.interfaces import Cancel, Digit, Enter

ENTER_KEYS = b"#\r\n"
CANCEL_KEYS = b"*\x1b\x08\x7f"
"""``*`` of a door keypad; Escape, Backspace and Delete of one with more keys. Taking one digit back would need a
display that counts them, so every one of them begins the entry anew."""
DIGIT_KEYS = b"0123456789"


class KeyParser:
    """Keys of one connection. Octets that are no key (line noise, a greeting, function keys) are passed over."""

    __slots__ = ("_after_return",)

    def __init__(self) -> None:
        self._after_return = False

    def feed(self, octets: bytes, at: float) -> list[Digit | Enter | Cancel]:
        """The keys in ``octets``, however they were cut. ``at`` is the instant of arrival (``time.monotonic()``)."""
        keys: list[Digit | Enter | Cancel] = []
        for octet in octets:
            # Some keypads end with CR LF: that is one press of Enter, and a second one would answer a second question.
            second_half = self._after_return and octet == 0x0A
            self._after_return = octet == 0x0D
            if second_half:
                continue
            if octet in DIGIT_KEYS:
                keys.append(Digit(digit=chr(octet), at_monotonic=at))
            elif octet in ENTER_KEYS:
                keys.append(Enter(at_monotonic=at))
            elif octet in CANCEL_KEYS:
                keys.append(Cancel(at_monotonic=at))
        return keys
