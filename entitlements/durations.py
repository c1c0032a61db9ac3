"""Dates, instants and durations as JSON writes them (RFC 3339, ISO 8601), to whole days and seconds."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from entitlements.model import Instant

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?(Z|z|[+-]00:00)"
)
_DURATION = re.compile(
    r"([+-])?P(?=[0-9T])(?:([0-9]+)W)?(?:([0-9]+)D)?"
    r"(?:T(?=[-0-9])(?:(-?[0-9]+)H)?(?:(-?[0-9]+)M)?(?:(-?[0-9]+)S)?)?"
)
_UNITS = (7 * 86400, 86400, 3600, 60, 1)
"""Seconds of a week, day, hour, minute and second, in the order of ``_DURATION``'s groups."""


def parse_date(text: str) -> date:
    """``YYYY-MM-DD`` to a date.

    Raises:
        ValueError: another form, or a day that does not exist.
    """
    if _DATE.fullmatch(text) is None:
        raise ValueError("not a date of the form YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("there is no such day") from None


def parse_instant(text: str) -> Instant:
    """RFC 3339 instant in UTC to seconds since the epoch; parts of a second are dropped, as a gate's clock drops them.

    Raises:
        ValueError: another form, another zone than UTC, or a moment that does not exist.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError("not an instant in UTC of the form YYYY-MM-DDTHH:MM:SSZ")
    day = parse_date(match[1])
    try:
        moment = datetime(day.year, day.month, day.day, int(match[2]), int(match[3]), int(match[4]), tzinfo=UTC)
    except ValueError:
        raise ValueError("there is no such time of day") from None
    return Instant(int(moment.timestamp()))


def parse_duration(text: str) -> int:
    """ISO 8601 duration of fixed length, in seconds; a leading sign is allowed.

    Raises:
        ValueError: another form, or years and months, whose length is not fixed.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("not a duration such as PT15M (years and months have no fixed length)")
    seconds = sum(int(part) * unit for part, unit in zip(match.groups()[1:], _UNITS, strict=True) if part)
    return -seconds if match[1] == "-" else seconds
