"""Faults put into a reader on purpose, which the suite must find: what proves that it can fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import readers.outbox
from entitlements.model import CardState
from entitlements.wire.feed import CardChange
from readers.cache import FeedCache
from readers.changes import AnyChange, CardRow
from readers.database import Database
from readers.jotter import Jotter
from readers.journal import Journal


def _unsynced() -> None:
    """Taps are called durable without having been synced."""
    whole = Database.__init__

    def careless(self: Database, path: Any, *, schema: str, synchronous: Any) -> None:
        whole(self, path, schema=schema, synchronous=cast(Any, "OFF") if path.name == "outbox.db" else synchronous)

    Database.__init__ = careless  # type: ignore[method-assign]


def _unjotted() -> None:
    """What was shown is in memory only until the database has it, which here is slow."""
    Jotter.write = lambda self, number, body: None  # type: ignore[method-assign]


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
            import msgspec

            change = msgspec.structs.replace(change, state=CardState.ACTIVE)
        whole(self, change)

    FeedCache.apply_one = lenient  # type: ignore[method-assign]


def _losing() -> None:
    """Of a batch that the service answered, one more item than it took is removed."""
    whole = readers.outbox._settle

    def losing(connection: Any, done: Any, rejected: Any, at: int) -> None:
        whole(connection, done, rejected, at)
        connection.execute("DELETE FROM waiting WHERE seq = (SELECT min(seq) FROM waiting)")

    readers.outbox._settle = losing


FAULTS: Final[dict[str, Callable[[], None]]] = {
    "unsynced": _unsynced,
    "unjotted": _unjotted,
    "forgetful": _forgetful,
    "lenient": _lenient,
    "losing": _losing,
}


def sabotage(name: str) -> None:
    """Break this process in one way."""
    FAULTS[name]()
