"""Faults put into a reader or the service on purpose, which the suite must find: what proves that it can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import msgspec

import cardservice.api.server
import readers.feedstore
import readers.outbox
from entitlements.model import CardState
from entitlements.wire.feed import CardChange, ServiceChange
from entitlements.wire.taps import Passage, TapItem
from readers.cache import SHARDS, FeedCache, Overlay
from readers.changes import AnyChange, CardRow
from readers.database import Database
from readers.jotter import Jotter
from readers.journal import Journal
from readers.outbox import Outbox, Stored

LATE_SECONDS: Final = 0.05
"""How late a tap comes to the outbox of a hasty reader, and how slow the database of one without a jotter is."""


def _unsynced() -> None:
    """Taps are called durable without having been synced."""
    whole = Database.__init__

    def careless(self: Database, path: Any, *, schema: str, synchronous: Any) -> None:
        whole(self, path, schema=schema, synchronous=cast(Any, "OFF") if path.name == "outbox.db" else synchronous)

    Database.__init__ = careless  # type: ignore[method-assign]


def _unjotted() -> None:
    """What was shown is in memory only until the database has it, which here is slow."""
    Jotter.write = lambda self, number, body: None  # type: ignore[method-assign]
    whole = Outbox._write_locked

    async def slow(self: Outbox) -> None:
        await asyncio.sleep(LATE_SECONDS)
        await whole(self)

    Outbox._write_locked = slow  # type: ignore[method-assign]


def _forgetful() -> None:
    """Changes are applied and reported, and not written down."""

    async def nothing(self: Journal, feed: str, epoch: str, changes: Sequence[AnyChange]) -> None:
        return None

    Journal.add_changes = nothing  # type: ignore[method-assign]


def _lenient() -> None:
    """A card once lost or suspended opens the gate again."""
    whole = FeedCache.apply_one

    def lenient(self: FeedCache, change: AnyChange) -> None:
        if isinstance(change, CardRow | CardChange) and change.state is not CardState.REVOKED:
            change = msgspec.structs.replace(change, state=CardState.ACTIVE)
        whole(self, change)

    FeedCache.apply_one = lenient  # type: ignore[method-assign]


def _hasty() -> None:
    """The gate is released a while before the outbox has the tap."""
    from tests.faults.telling import TellingOutbox

    whole = TellingOutbox.add

    def late(self: TellingOutbox, item: TapItem) -> None:
        asyncio.get_running_loop().call_later(LATE_SECONDS, whole, self, item)

    TellingOutbox.add = late  # type: ignore[method-assign]


def _blurred() -> None:
    """Whoever did not walk through in time is stored as having walked through, and the other way round."""
    whole = readers.outbox.Outbox.add

    def blurred(self: Outbox, item: TapItem) -> None:
        if isinstance(item, Passage):
            item = msgspec.structs.replace(item, result="timed_out" if item.result == "passed" else "passed")
        whole(self, item)

    readers.outbox.Outbox.add = blurred  # type: ignore[method-assign]


def _unread() -> None:
    """A document that was published anew is passed over."""
    whole = FeedCache.apply_one

    def passing(self: FeedCache, change: AnyChange) -> None:
        before = dict(self.contents.services)
        whole(self, change)
        if isinstance(change, ServiceChange):
            self.contents.services = before

    FeedCache.apply_one = passing  # type: ignore[method-assign]


def _folded() -> None:
    """A new base is written without the last row that was to go into it."""
    whole = readers.feedstore._patch

    def short(old: Any, folded: Overlay, cards: int) -> Any:
        kept = Overlay()
        for index, row in list(folded.rows())[:-1]:
            kept[index % SHARDS][index] = row
        return whole(old, kept, cards)

    readers.feedstore._patch = short


def _twice() -> None:
    """The service does not know a request again that was answered before."""

    async def anew(endpoint: Any, call: Any, arguments: Any, keyed: Any) -> Any:
        return cardservice.api.server._reply(endpoint, await endpoint.handler(call, **arguments))

    cardservice.api.server._once = anew


def _losing() -> None:
    """Of what the service answered, one more item than it took is removed."""
    whole = Outbox.settle

    async def losing(self: Outbox, done: Sequence[Stored], rejected: Any, at: int) -> None:
        known = {item.seq for item in done}
        more = [item for item in await self.oldest() if item.seq not in known]
        await whole(self, [*done, *more[:1]], rejected, at)

    Outbox.settle = losing  # type: ignore[method-assign]


@dataclass(frozen=True)
class Fault:
    """How a process is broken, and the sentence by which the suite must find it."""

    put_in: Callable[[], None]
    found_by: str
    at: Literal["reader", "service"] = "reader"


FAULTS: Final = {
    "unsynced": Fault(_unsynced, r"(tap|passage) \S+ of reader \w is lost: said to be on disk"),
    "unjotted": Fault(
        _unjotted, r"(tap|passage) \S+ of reader \w is lost: not on disk yet when the reader ended by (kill|rot)"
    ),
    "losing": Fault(_losing, r"(tap|passage) \S+ of reader \w is lost: said to be on disk"),
    "blurred": Fault(_blurred, r"passage \S+ is stored as .*'timed_out'.* and was made as .*'passed'"),
    "hasty": Fault(_hasty, r"lane \d was released \d times without a tap in the outbox"),
    "forgetful": Fault(_forgetful, r"it had applied \d+ of \S+ and is back at \d+"),
    "lenient": Fault(_lenient, r"a card that was '(suspended|lost|replaced)' as of change \d+ was let in"),
    "unread": Fault(_unread, r"services \S+ is .*, in a fresh snapshot it is"),
    "folded": Fault(_folded, r"rows \d+ is .*, in a fresh snapshot it is"),
    "twice": Fault(_twice, r"\d+ more cards were issued than were wished for|POST \S+ was answered 409", "service"),
}


def sabotage(name: str) -> None:
    """Break this process in one way."""
    FAULTS[name].put_in()
