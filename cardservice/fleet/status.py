"""A reader's report: what it shows, how far it is, whether it is well."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from cardservice.db import Connection, queries
from cardservice.errors import ApiProblem
from cardservice.taps.judgement import moment
from entitlements.wire.taps import ReaderStatus

MAX_LANES: Final = 64
"""Lanes of one site; one daemon serves them all."""
MAX_TEXT: Final = 240
"""Characters of one text in a report: the longest line a gate display has."""
MAX_NUMBER: Final = 2**53
"""Beyond it a number is no count or instant, and JavaScript would read another."""
OLDEST_REPORT: Final = timedelta(days=30)
"""An older ``applied_at`` comes from a clock that was wrong."""

_decoder: msgspec.json.Decoder[ReaderStatus] = msgspec.json.Decoder(ReaderStatus)


def read_status(body: bytes, *, site: str, feeds: list[str]) -> ReaderStatus:
    """The report of a reader that works at ``site`` and carries ``feeds``.

    Raises:
        ApiProblem: 400 for what is no JSON; 422 for wrong values, another site or feeds that are not this reader's.
    """
    try:
        status = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong(f"{error}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ApiProblem(400, "malformed_json", f"The body is not JSON: {error}.") from None
    if status.site != site:
        raise _wrong(f"this reader works at {site}")
    if not status.feeds.keys() <= set(feeds):
        raise _wrong(f"this reader carries only {', '.join(feeds)}")
    if len(status.lanes) > MAX_LANES or len({lane.lane for lane in status.lanes}) != len(status.lanes):
        raise _wrong(f"there are more than {MAX_LANES} lanes, or two of one id")
    _check_plain(msgspec.to_builtins(status))
    for name, feed in status.feeds.items():
        try:
            UUID(feed.epoch)
        except ValueError:
            raise _wrong(f"the epoch of {name} is no UUID") from None
    return status


def _check_plain(value: Any) -> None:
    """Refuse texts that no database or display can take, and numbers out of all bounds."""
    if isinstance(value, dict):
        for name, member in value.items():
            _check_plain(name)
            _check_plain(member)
    elif isinstance(value, list):
        for member in value:
            _check_plain(member)
    elif isinstance(value, str):
        if len(value) > MAX_TEXT or any(ord(character) < 32 for character in value):
            raise _wrong("a text is too long or has control characters")
    elif isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise _wrong("a number is out of range")


async def keep_status(conn: Connection, *, tenant: str, reader_id: UUID, status: ReaderStatus, now: datetime) -> None:
    """Store the report, and when each new number was applied.

    ``applied_at`` is the reader's word; an instant that cannot be is replaced by the time of the report.
    """
    await queries().fleet.keep_status(conn, tenant=tenant, reader_id=reader_id, status=msgspec.to_builtins(status))
    names = sorted(name for name, feed in status.feeds.items() if feed.number >= 0)
    marks = [status.feeds[name] for name in names]
    await queries().fleet.add_applied(
        conn,
        tenant=tenant,
        reader_id=reader_id,
        feed_tenants=[name.partition("/")[0] for name in names],
        areas=[name.partition("/")[2] for name in names],
        epochs=[UUID(mark.epoch) for mark in marks],
        numbers=[mark.number for mark in marks],
        moments=[_plausible(mark.applied_at, now) for mark in marks],
    )


def _plausible(milliseconds: int, now: datetime) -> datetime:
    oldest = (now - OLDEST_REPORT).timestamp() * 1000
    return moment(milliseconds) if oldest <= milliseconds <= now.timestamp() * 1000 else now


def _wrong(what: str) -> ApiProblem:
    return ApiProblem(422, "wrong_values", f"The report is wrong: {what}.")
