"""State that must survive a killed process: changes since each base, when feeds were confirmed, presence, the clock,
what taps of this site took that the feeds do not tell of yet, one-time codes used, wrong PINs.

SQLite notices damage to its own structure only: a bit flipped within a value would pass for the value. So changes and
notes carry a digest of what they are and where they belong, under this reader's own key, and one that does not match is
as good as not there.

SQLite in WAL mode. ``synchronous=FULL``: a revocation that was reported as effective at a gate is still effective there
after a power cut, even if the network stays away.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec
import structlog

from entitlements.wire.feed import encode
from readers.breath import Turns, paced
from readers.changes import AnyChange, decode_change
from readers.database import Database
from readers.statements import load_statements

SQL: Final[MappingProxyType[str, str]] = load_statements("state")
S = TypeVar("S", bound=msgspec.Struct)

_run_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])

_log = structlog.get_logger(__name__)

RUN: Final = 64
"""Changes in one row, some 20 kB: a row each would take six times as long, and to copy more at once keeps the
interpreter from decisions for as long as one of them takes."""
MARK: Final = 8
"""Octets of the keyed digest before a value (BLAKE2b, RFC 7693)."""


class FeedNote(msgspec.Struct, frozen=True, kw_only=True):
    """Kept for each feed: when (corrected ms) the reader last knew that it had every change, of which epoch.

    ``forked``: some of its changes are of a past that the service has lost.
    """

    epoch: str
    confirmed_at: int
    forked: bool = False


class Journal:
    """The reader's state database. Enter ``database`` first."""

    def __init__(self, folder: Path, *, key: bytes = b"") -> None:
        self.key = key
        """This reader's own, for what it writes here and into base files."""
        self.database = Database(folder / "state.db", schema=SQL["schema"], synchronous="FULL")

    async def add_changes(self, feed: str, epoch: str, changes: Sequence[AnyChange]) -> None:
        """Write changes down, which follow each other without a gap. Raises DatabaseFaultError."""
        # Put together here: a thread that does it takes the interpreter back and forth for each change.
        runs: list[tuple[int, int, bytes]] = []
        turns = Turns()
        for start in range(0, len(changes), RUN):
            run = changes[start : start + RUN]
            runs.append((run[0].n, run[-1].n, b"[%b]" % b",".join(map(encode, run))))
            if turns.over():
                await turns.give()

        def write(connection: sqlite3.Connection) -> None:
            for first, last, body in paced(runs):
                marked = _marked(self.key, body, feed, epoch, first, last)
                connection.execute(SQL["add_run"], (feed, epoch, first, last, marked))

        await self.database.run(write)

    async def changes_after(self, feed: str, epoch: str, number: int) -> list[AnyChange]:
        """The changes that follow ``number`` without a gap; what lies behind a gap cannot be used.

        As they were applied: of two that have one number the one written later, and none that was written before it
        and follows on the other.
        """

        def read(connection: sqlite3.Connection) -> list[AnyChange]:
            changes: list[AnyChange] = []
            for first, last, body in connection.execute(SQL["runs_after"], (feed, epoch, number)):
                begin = max(first, number + 1)
                place = begin - number - 1
                if place <= len(changes):
                    run = self._read(body, feed, epoch, first, last, begin=begin)
                    if run:  # else not even where it begins can be believed
                        changes[place:] = run
                else:
                    _log.warning(
                        "the journal has a gap; what is missing will be fetched again", feed=feed, before=first
                    )
            return changes

        return await self.database.run(read)

    def _read(self, body: bytes, feed: str, epoch: str, first: int, last: int, *, begin: int) -> list[AnyChange]:
        """The changes of a run from ``begin`` on, as far as they can be read."""
        changes: list[AnyChange] = []
        try:
            run = _run_decoder.decode(_unmarked(self.key, body, feed, epoch, first, last))
            changes.extend(map(decode_change, paced(run[begin - first :])))
        except msgspec.DecodeError as error:
            _log.error(
                "changes in the journal cannot be read; they will be fetched again",
                feed=feed,
                first=begin + len(changes),
                last=last,
                problem=str(error),
            )
        return changes

    async def forget_changes(self, feed: str, epoch: str, number: int) -> None:
        """Drop the changes that a base of this epoch and number holds, and those of other epochs."""
        await self.database.run(lambda connection: _execute(connection, "forget_changes", (feed, epoch, number)))

    async def forget_all_changes(self, feed: str) -> None:
        """Drop every change of a feed."""
        await self.database.run(lambda connection: _execute(connection, "forget_all_changes", (feed,)))

    async def keep(self, name: str, value: msgspec.Struct) -> None:
        """Keep a small value under a name, replacing the one before."""
        body = _marked(self.key, msgspec.json.encode(value), name)
        await self.database.run(lambda connection: _execute(connection, "set_note", (name, body)))

    async def recall(self, name: str, kind: type[S]) -> S | None:
        """The value kept under a name; None if there is none or it cannot be read."""
        row = await self.database.run(lambda connection: connection.execute(SQL["get_note"], (name,)).fetchone())
        if row is None:
            return None
        try:
            return msgspec.json.decode(_unmarked(self.key, row[0], name), type=kind)
        except msgspec.DecodeError as error:
            _log.error("a kept value cannot be read and is left out", name=name, problem=str(error))
            return None

    async def wipe(self) -> None:
        """Forget everything, after this reader was revoked."""

        def write(connection: sqlite3.Connection) -> None:
            for name in ("wipe_changes", "wipe_notes", "wipe_presence", "wipe_own", "wipe_used", "wipe_attempts"):
                connection.execute(SQL[name])

        await self.database.run(write)

    async def keep_presence(self, rows: Sequence[tuple[bytes, bytes, int]]) -> None:
        """Keep presence: key of the visitor, the visit as JSON, the instant (ms)."""

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(SQL["set_presence"], rows)

        await self.database.run(write)

    async def presence(self, forget_before_ms: int) -> list[tuple[bytes, bytes]]:
        """All presence kept, after what is older than an instant was dropped."""

        def read(connection: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
            connection.execute(SQL["forget_presence"], (forget_before_ms,))
            return connection.execute(SQL["all_presence"]).fetchall()

        return await self.database.run(read)

    async def keep_own(self, kept: Sequence[tuple[str, bytes]], gone: Sequence[tuple[str]]) -> None:
        """Keep what taps took, as JSON by tap id, and drop that of other taps. Raises DatabaseFaultError."""

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(SQL["set_own"], kept)
            connection.executemany(SQL["drop_own"], gone)

        await self.database.run(write)

    async def own(self) -> list[tuple[str, bytes]]:
        """All that :meth:`keep_own` kept."""
        return await self.database.run(lambda connection: connection.execute(SQL["all_own"]).fetchall())

    async def keep_used(self, used: Sequence[tuple[bytes, int]], gone: Sequence[tuple[bytes]]) -> None:
        """Keep the sequences of one-time codes by key, and drop those of other keys. Raises DatabaseFaultError."""

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(SQL["drop_used"], gone)
            connection.executemany(SQL["set_used"], used)

        await self.database.run(write)

    async def used(self) -> list[tuple[bytes, int]]:
        """All that :meth:`keep_used` kept."""
        return await self.database.run(lambda connection: connection.execute(SQL["all_used"]).fetchall())

    async def keep_attempts(self, card: str, body: bytes | None) -> None:
        """Keep a card's wrong PINs as JSON; None to forget them. Raises DatabaseFaultError."""
        name, values = ("drop_attempts", (card,)) if body is None else ("set_attempts", (card, body))
        await self.database.run(lambda connection: _execute(connection, name, values))

    async def attempts(self) -> list[tuple[str, bytes]]:
        """All that :meth:`keep_attempts` kept."""
        return await self.database.run(lambda connection: connection.execute(SQL["all_attempts"]).fetchall())


def _execute(connection: sqlite3.Connection, name: str, values: tuple[object, ...]) -> None:
    connection.execute(SQL[name], values)


def _mark(key: bytes, body: bytes, place: tuple[str | int, ...]) -> bytes:
    return hashlib.blake2b(repr(place).encode() + b"\0" + body, digest_size=MARK, key=key).digest()


def _marked(key: bytes, body: bytes, *place: str | int) -> bytes:
    return _mark(key, body, place) + body


def _unmarked(key: bytes, octets: bytes, *place: str | int) -> bytes:
    """What was marked for this place. Raises msgspec.DecodeError if it is something else by now."""
    body = octets[MARK:]
    if not hmac.compare_digest(octets[:MARK], _mark(key, body, place)):
        raise msgspec.DecodeError("its digest does not match")
    return body
