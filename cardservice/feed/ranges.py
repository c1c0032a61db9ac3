"""The ``Range`` of a request (RFC 9110 section 14)."""

from __future__ import annotations

import re
from typing import Final

from cardservice.errors import ApiProblem

# [0-9] and not \d, which also takes the digits of other scripts. The name of a unit is case-insensitive (section 14.1).
_ONE: Final = re.compile(r"bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))", re.IGNORECASE)


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last octet, both inclusive, that a ``Range`` header asks for of ``size`` octets.

    ``None`` where the whole is to be sent: there is no range, it is of another unit, there are several, it cannot be
    read, or it ends before it begins. Such headers may be, or have to be, ignored (section 14.2).

    Raises:
        ApiProblem: 416 for a range that can be read and of which there is no octet.
    """
    found = _ONE.fullmatch(header)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        begin, end = size - min(_number(suffix, size), size), size - 1
    else:
        if last and _before(last, first):
            return None
        begin, end = _number(first, size), min(_number(last, size), size - 1) if last else size - 1
    if begin > end:
        raise ApiProblem(
            416,
            "range_not_satisfiable",
            f"The part has {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return begin, end


def _before(one: str, other: str) -> bool:
    """Whether one number is smaller than another, however many digits they have."""
    width = max(len(one), len(other))
    return one.zfill(width) < other.zfill(width)


def _number(digits: str, size: int) -> int:
    """The number, or ``size`` for any that has more digits than that: Python refuses to read one of thousands."""
    significant = digits.lstrip("0")
    return size if len(significant) > len(str(size)) else int(significant or "0")
