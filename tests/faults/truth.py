"""What the database says at the end of a run, and what must be so."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from entitlements.wire.feed import CardChange, decode_change
from entitlements.wire.rows import STATES
from tests.faults.desk import Desk
from tests.faults.party import Party
from tests.faults.plan import Publish, Rename, Rotate, Step, states
from tests.faults.world import FEEDS, SERVICES_OF, SITES

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Truth:
    """The rows that matter, read once when everything is at rest."""

    def __init__(self) -> None:
        self.heads: dict[str, int] = {}
        self.places: dict[str, list[Any]] = {}
        """Epoch and number of each feed."""
        self.numbers: dict[str, list[int]] = {}
        """Of every change that was ever told and of every epoch that began."""
        self.kept: dict[str, list[int]] = {}
        """Of the changes that the service still has."""
        self.told: dict[str, list[int]] = {}
        self.issue_numbers: list[int] = []
        self.rows: dict[str, list[tuple[int, int, str, Any]]] = {}
        """Index, tag, state and profile of every card, by feed."""
        self.states: dict[tuple[str, str], list[tuple[int, str]]] = {}
        """What each change said of a card's state, by feed and card id."""
        self.taps: list[dict[str, Any]] = []
        self.passages: list[dict[str, Any]] = []
        self.cards: dict[str, dict[str, Any]] = {}
        self.versions: Counter[str] = Counter()
        self.sites: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        """State by key id, of those that sign cards."""
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
            head = await conn.fetchrow("SELECT epoch, number FROM feed WHERE area = $1", area)
            self.heads[feed], self.places[feed] = head["number"], [str(head["epoch"]), head["number"]]
            changes = await conn.fetch("SELECT number, body FROM told_change WHERE area = $1 ORDER BY number", area)
            begun = await conn.fetch("SELECT number FROM begun_epoch WHERE area = $1", area)
            kept = await conn.fetch("SELECT number FROM feed_change WHERE area = $1 ORDER BY number", area)
            self.told[feed], self.kept[feed] = [row["number"] for row in changes], [row["number"] for row in kept]
            self.numbers[feed] = sorted([*self.told[feed], *(row["number"] for row in begun)])
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
        self.passages = [dict(row) for row in await conn.fetch("SELECT * FROM passage")]
        self.cards = {str(_text(row["card_id"])): dict(row) for row in await conn.fetch("SELECT * FROM card")}
        self.versions.update(row[0] for row in await conn.fetch("SELECT service_id FROM service_version"))
        self.sites = dict(await conn.fetch("SELECT site_id, name FROM site"))
        self.keys = dict(await conn.fetch("SELECT kid, state FROM signing_key WHERE purpose = 'card'"))
        self.entries = [dict(row) for row in await conn.fetch("SELECT * FROM ledger_entry WHERE kind = 'tap'")]
        self.flags = [row["sentence"] for row in await conn.fetch("SELECT sentence FROM flag")]

    def state_at(self, feed: str, card: str, number: int) -> str:
        """The state of a card as of a change of a feed; "" where it was not there yet."""
        said = [state for at, state in self.states.get((feed, card), ()) if at <= number]
        return said[-1] if said else ""

    # -- what must be so --

    def problems(self, parties: list[Party], desk: Desk, steps: list[Step]) -> Iterator[str]:
        """What is not as it must be."""
        yield from self._answered(desk, steps)
        yield from self._feeds()
        yield from self._taps(parties)
        yield from self._ledger()
        for party in parties:
            yield from (f"reader {party.name}: {problem}" for problem in party.problems)
            for seen in party.seen.values():
                yield from (f"reader {party.name}: {problem}" for problem in self._admitted(seen.tap, seen.told))

    def _answered(self, desk: Desk, steps: list[Step]) -> Iterator[str]:
        """What the desk was answered is so, and was done once."""
        for card, state in states(steps).items():
            issued = desk.cards.get(card)
            found = None if issued is None else self.cards.get(issued["card_id"])
            if issued is None or found is None:
                yield f"card {card} was wished for and is not there: {issued}"
            elif found["state"] != state:
                yield f"card {card} is {found['state']}, and the desk was answered that it is {state}: {issued}"
        more = len(self.cards) - len(states(steps))
        if more:
            yield f"{more} more cards were issued than were wished for"
        for feed, number in desk.answered.items():
            if self.heads[feed] < number:
                yield f"{feed} is at {self.heads[feed]}, and the desk was answered {number}"
        for thing, wished in _wished(steps).items():
            if desk.counts[thing] != wished:
                yield f"of {wished} wishes on {thing} {desk.counts[thing]} were answered"
        yield from self._catalogue(desk, steps)

    def _catalogue(self, desk: Desk, steps: list[Step]) -> Iterator[str]:
        wished = _wished(steps)
        for service in SERVICES_OF.values():
            if self.versions[service] != 1 + wished[service]:
                yield f"{service} has {self.versions[service]} versions and was published {1 + wished[service]} times"
            said = desk.said.get(service)
            if said is not None and said["version"] != self.versions[service]:
                yield f"the last version of {service} is not the one that the desk was answered: {said}"
        for name in SITES.values():
            said = desk.said.get(name)
            if said is not None and self.sites[name] != said["name"]:
                yield f"the site {name} is called {self.sites[name]!r}, and the desk was answered {said}"
        if len(self.keys) != 1 + wished["keys"]:
            yield f"there are {len(self.keys)} keys for cards after {wished['keys']} rotations"
        said = desk.said.get("keys")
        if said is not None and self.keys.get(said["kid"]) != "active":
            yield f"the key that the desk was answered does not sign: {self.keys}"

    def _feeds(self) -> Iterator[str]:
        for feed, numbers in self.numbers.items():
            if numbers != list(range(1, self.heads[feed] + 1)):
                yield f"the numbers of {feed} have gaps: head {self.heads[feed]}, {numbers}"
            if self.kept[feed] != self.told[feed][len(self.told[feed]) - len(self.kept[feed]) :]:
                yield f"of the changes of {feed} others than the oldest were let go: {self.kept[feed]}"
        if len(set(self.issue_numbers)) != len(self.issue_numbers):
            yield f"two cards have one issue number: {self.issue_numbers}"
        if self.wrong_rows:
            yield f"{self.wrong_rows} rows of feeds tell another state than the card has"

    def _taps(self, parties: list[Party]) -> Iterator[str]:
        stored = Counter(str(tap["tap_id"]) for tap in self.taps)
        passed = Counter(str(passage["tap_id"]) for passage in self.passages)
        for name, count in [*stored.items(), *passed.items()]:
            if count > 1:
                yield f"tap or passage {name} is stored {count} times"
        for party in parties:
            for (kind, name), kept in party.kept.items():
                if name not in (stored if kind == "tap" else passed) and not kept.excused:
                    yield f"{kind} {name} of reader {party.name} is lost: {kept}"
        taps = {name: seen.tap for party in parties for name, seen in party.seen.items()}
        for tap in self.taps:
            members = ("outcome", "reason", "lane", "feed", "n", "card", "effects", "at")
            found = (
                *(tap[each] for each in ("outcome", "reason", "lane_id", "feed", "feed_number")),
                *(_text(tap["card_id"]), json.loads(tap["effects"]), _ms(tap["happened_at"])),
            )
            yield from _as_told("tap", tap, taps, dict(zip(members, found, strict=True)))
        passages = {name: passage for party in parties for name, passage in party.passages.items()}
        for passage in self.passages:
            found_too = {"result": passage["result"], "at": _ms(passage["happened_at"])}
            yield from _as_told("passage", passage, passages, found_too)

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


def _as_told(kind: str, row: dict[str, Any], told: dict[str, dict[str, Any]], found: dict[str, Any]) -> Iterator[str]:
    made = told.get(str(row["tap_id"]))
    if made is None:
        yield f"{kind} {row['tap_id']} was never made"
    elif found != (wanted := {member: made[member] for member in found}):
        yield f"{kind} {row['tap_id']} is stored as {found} and was made as {wanted}"


def _wished(steps: list[Step]) -> Counter[str]:
    """How often the desk wished for something of each thing that is no card."""
    made: Counter[str] = Counter()
    for step in steps:
        if isinstance(step, Publish):
            made[SERVICES_OF[step.area]] += 1
        elif isinstance(step, Rename):
            made[SITES[step.reader]] += 1
        elif isinstance(step, Rotate):
            made["keys"] += 1
    return made


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _text(card: bytes | None) -> str | None:
    return None if card is None else base64.urlsafe_b64encode(card).rstrip(b"=").decode()
