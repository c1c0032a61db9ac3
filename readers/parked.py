"""What the service rejected and the outbox keeps: for a person who looks into it, and to be sent once more."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from readers.database import BUSY_SECONDS, translate
from readers.errors import DatabaseFaultError
from readers.outbox import OUTBOX_FILE, SQL, Outbox


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """One item: ``item`` as it was sent, None if it cannot be read; when (ms) and why it was rejected."""

    seq: int
    at: int
    problem: str
    item: dict[str, Any] | None


def read_parked(folder: Path) -> list[Parked]:
    """Every parked item, oldest first. Only reads, so a daemon may run meanwhile.

    Raises:
        DatabaseFaultError: the outbox cannot be read.
    """
    path = folder / OUTBOX_FILE
    if not path.exists():
        return []
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        try:
            rows = connection.execute(SQL["parked_whole"]).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translate(path, error) from error
    return [Parked(seq=seq, at=at, problem=problem, item=_item(body)) for seq, body, problem, at in rows]


async def send_again(folder: Path) -> int:
    """Put every parked item back behind those that wait; gives how many. The caller owns the folder.

    Raises:
        DatabaseFaultError: nothing was put back.
    """
    path = folder / OUTBOX_FILE
    if not path.exists():
        return 0
    outbox = Outbox(folder)
    async with outbox.database:
        if outbox.database.was_set_aside is not None:
            raise DatabaseFaultError(path, f"it is damaged and was set aside as {outbox.database.was_set_aside}")
        try:
            await outbox.load()
            return await outbox.retry_parked()
        finally:
            outbox.close()


def as_json_text(items: list[Parked]) -> str:
    """The items whole; instants as in what is sent, in ms since the epoch."""
    return json.dumps([msgspec.to_builtins(item) for item in items], indent=2)


def in_words(items: list[Parked]) -> str:
    """A line or two for each, without what would tell whose card it was."""
    if not items:
        return "Nothing is parked."
    lines = [f"{len(items)} parked: the service rejected them; 'cardreader parked --retry' sends them once more."]
    for parked in items:
        lines += [f"  {_what(parked.item)}", f"    rejected {_instant(parked.at)}: {parked.problem}"]
    return "\n".join(lines)


def _what(item: dict[str, Any] | None) -> str:
    if item is None:
        return "an item that cannot be read"
    kind, name, at = item.get("t", "item"), item.get("tap_id"), item.get("at")
    when = _instant(at) if isinstance(at, int) else "at an unknown time"
    if kind == "tap":
        return f"tap {name} at lane {item.get('lane')}, {when}: {item.get('outcome')} ({item.get('reason')})"
    return f"{kind} {name}, {when}: {item.get('result')}"


def _instant(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"at {ms} ms"


def _item(body: bytes) -> dict[str, Any] | None:
    try:
        item = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    return item if isinstance(item, dict) else None
