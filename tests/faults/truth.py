"""What the database says at the end of a run, and what must be so."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import asyncpg

from entitlements.wire.feed import CardChange, decode_change
from entitlements.wire.rows import STATES
from tests.faults.party import Party
from tests.faults.world import FEEDS


class Truth:
    """The rows that matter, read once when everything is at rest."""

    def __init__(self) -> None:
        self.heads: dict[str, int] = {}
        self.numbers: dict[str, list[int]] = {}
        self.issue_numbers: list[int] = []
        self.rows: dict[str, list[tuple[int, int, str, Any]]] = {}
        """Index, tag, state and profile of every card, by feed."""
        self.states: dict[tuple[str, str], list[tuple[int, str]]] = {}
        """What each change said of a card's state, by feed and card id."""
        self.taps: list[dict[str, Any]] = []
        self.passages: list[str] = []
        self.entries: list[dict[str, Any]] = []
        self.flags: list[str] = []
        self.wrong_rows = 0

    @classmethod
    async def read(cls, url: str) -> Truth:
        """Of a database, as its owner, past row-level security."""
        made = cls()
        connection = await asyncpg.connect(url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await made._read(connection)
        finally:
            await connection.close()
        return made

    async def _read(self, conn: asyncpg.Connection) -> None:
        for feed in FEEDS:
            area = feed.partition("/")[2]
            self.heads[feed] = await conn.fetchval("SELECT number FROM feed WHERE area = $1", area)
            changes = await conn.fetch("SELECT number, body FROM feed_change WHERE area = $1 ORDER BY number", area)
            self.numbers[feed] = [row["number"] for row in changes]
            rows = await conn.fetch(
                "SELECT c.card_index, c.card_id, c.state, p.body FROM card c "
                "JOIN card_row r USING (tenant, card_index) JOIN profile p USING (tenant, area, profile_id) "
                "WHERE r.area = $1 ORDER BY c.card_index",
                area,
            )
            self.rows[feed] = [
                (row["card_index"], int.from_bytes(row["card_id"][:4], "big"), row["state"], json.loads(row["body"]))
                for row in rows
            ]
            texts = {row["card_index"]: _text(row["card_id"]) for row in rows}
            for row in changes:
                change = decode_change(row["body"])
                if isinstance(change, CardChange):
                    card = str(texts[change.index])
                    self.states.setdefault((feed, card), []).append((row["number"], str(change.state)))
            self.wrong_rows += sum(
                str(STATES[row["told"]]) != row["state"]
                for row in await conn.fetch(
                    "SELECT r.state AS told, c.state FROM card_row r JOIN card c USING (tenant, card_index) "
                    "WHERE r.area = $1",
                    area,
                )
            )
        self.issue_numbers = [row[0] for row in await conn.fetch("SELECT issue_number FROM card ORDER BY 1")]
        self.taps = [dict(row) for row in await conn.fetch("SELECT * FROM tap")]
        self.passages = [str(row["tap_id"]) for row in await conn.fetch("SELECT tap_id FROM passage")]
        self.entries = [dict(row) for row in await conn.fetch("SELECT * FROM ledger_entry WHERE kind = 'tap'")]
        self.flags = [row["sentence"] for row in await conn.fetch("SELECT sentence FROM flag")]

    def state_at(self, feed: str, card: str, number: int) -> str:
        """The state of a card as of a change of a feed; "" where it was not there yet."""
        said = [state for at, state in self.states.get((feed, card), ()) if at <= number]
        return said[-1] if said else ""

    # -- what must be so --

    def problems(self, parties: list[Party]) -> Iterator[str]:
        """What is not as it must be."""
        yield from self._feeds()
        yield from self._taps(parties)
        yield from self._ledger()
        for party in parties:
            yield from (f"reader {party.name}: {problem}" for problem in party.problems)
            for seen in party.seen.values():
                yield from (f"reader {party.name}: {problem}" for problem in self._admitted(seen.tap, seen.told))

    def _feeds(self) -> Iterator[str]:
        for feed, numbers in self.numbers.items():
            if numbers != list(range(1, self.heads[feed] + 1)):
                yield f"the numbers of {feed} have gaps: head {self.heads[feed]}, {numbers}"
        if len(set(self.issue_numbers)) != len(self.issue_numbers):
            yield f"two cards have one issue number: {self.issue_numbers}"
        if self.wrong_rows:
            yield f"{self.wrong_rows} rows of feeds tell another state than the card has"

    def _taps(self, parties: list[Party]) -> Iterator[str]:
        stored = Counter(str(tap["tap_id"]) for tap in self.taps)
        passed = Counter(self.passages)
        for name, count in [*stored.items(), *passed.items()]:
            if count > 1:
                yield f"tap or passage {name} is stored {count} times"
        made = {name: seen.tap for party in parties for name, seen in party.seen.items()}
        for party in parties:
            for (kind, name), kept in party.kept.items():
                if name not in (stored if kind == "tap" else passed) and not kept.excused:
                    yield f"{kind} {name} of reader {party.name} is lost (durable: {kept.durable})"
        for tap in self.taps:
            told = made.get(str(tap["tap_id"]))
            if told is None:
                yield f"tap {tap['tap_id']} was never made"
                continue
            wanted = (told["outcome"], told["reason"], told["card"], told["feed"], told["n"])
            found = (tap["outcome"], tap["reason"], _text(tap["card_id"]), tap["feed"], tap["feed_number"])
            if found != wanted:
                yield f"tap {tap['tap_id']} is stored as {found} and was made as {wanted}"

    def _ledger(self) -> Iterator[str]:
        wanted = {
            str(tap["tap_id"]): sum(effect["units"] for effect in json.loads(tap["effects"]))
            for tap in self.taps
            if (tap["outcome"], tap["reason"], tap["direction"]) == ("allow", "ok", "entry")
        }
        wanted = {name: units for name, units in wanted.items() if units}
        found = Counter[str]()
        for entry in self.entries:
            found[str(entry["entry_id"])] += entry["units"]
        if found != Counter(wanted):
            yield f"the ledger has {dict(found - Counter(wanted))} too many and {dict(Counter(wanted) - found)} too few"
        yield from (f"flagged: {sentence}" for sentence in self.flags)

    def _admitted(self, tap: dict[str, Any], told: dict[str, int]) -> Iterator[str]:
        if tap["outcome"] != "allow":
            return
        state = self.state_at(tap["feed"], tap["card"], tap["n"])
        if state != "active":
            yield f"a card that was {state!r} as of change {tap['n']} was let in: {tap}"
        # Whatever the tap says of its number: what the reader had said before counts.
        before = self.state_at(tap["feed"], tap["card"], told.get(tap["feed"], 0))
        if before in ("revoked", "lost", "replaced"):
            yield f"a card was let in that the reader had been told is {before}: {tap}"


def _text(card: bytes | None) -> str | None:
    return None if card is None else base64.urlsafe_b64encode(card).rstrip(b"=").decode()
