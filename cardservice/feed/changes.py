"""Reading a feed from where a reader is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from cardservice.db import Connection, queries
from cardservice.errors import ApiProblem
from cardservice.feed.access import FeedRef
from entitlements.wire.feed import Head, encode

MAX_PAGE: Final = 1000
"""Changes in one reply: some 300 kB."""


class _Stamp(msgspec.Struct):
    at: int


_stamps = msgspec.json.Decoder(_Stamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a feed stands, and the time for which its grants are complete."""

    head: Head
    begins: datetime
    ends: datetime


async def read_place(conn: Connection, feed: FeedRef) -> Place:
    """Where a feed stands.

    Raises:
        ApiProblem: 404 where nothing has been published in this area.
    """
    row = await queries().feed.head(conn, tenant=feed.tenant, area=feed.area)
    if row is None:
        raise ApiProblem(404, "feed_not_found", f"The feed {feed.name} does not exist: nothing is published in it yet.")
    head = Head(epoch=str(row["epoch"]), number=row["number"], issue_number=row["issue_number"])
    return Place(head=head, begins=row["horizon_from"], ends=row["horizon_until"])


async def change_at(conn: Connection, feed: FeedRef, number: int) -> int | None:
    """When a change was written, as it says itself (ms since the epoch); None where it is not kept."""
    body: bytes | None = await queries().feed.change(conn, tenant=feed.tenant, area=feed.area, number=number)
    return None if body is None else _stamps.decode(body).at


async def read_changes(
    conn: Connection, feed: FeedRef, *, epoch: UUID, after: int, limit: int, at: int | None = None
) -> tuple[Head, list[bytes]]:
    """The head, and the changes after a number, oldest first, each as its JSON.

    Args:
        at: of the reader's change ``after``, where it says so. A database that was restored gives numbers out again;
            that one of them is another change shows by it.

    Raises:
        ApiProblem: 404 for a feed that does not exist; 409 ``feed_epoch`` where the reader's copy is not one of this
            feed's past; 410 ``feed_pruned`` where the next change is no longer kept.
    """
    head = (await read_place(conn, feed)).head
    known = await change_at(conn, feed, after) if at is not None else None
    if str(epoch) != head.epoch or after > head.number or (known is not None and known != at):
        raise ApiProblem(
            409,
            "feed_epoch",
            f"The feed {feed.name} began anew, or never had this change {after}: take a new snapshot.",
            extra={"feed": feed.name, "epoch": head.epoch, "number": head.number},
        )
    rows = [
        row
        async for row in queries().feed.changes(
            conn, tenant=feed.tenant, area=feed.area, first=after + 1, upto=head.number, limit=limit
        )
    ]
    if after < head.number and (not rows or rows[0]["number"] != after + 1):
        raise ApiProblem(
            410,
            "feed_pruned",
            f"Change {after + 1} of the feed {feed.name} is no longer kept: take a new snapshot.",
            extra={"feed": feed.name},
        )
    return head, [row["body"] for row in rows]


def page_json(head: Head, bodies: Sequence[bytes], server_time: int) -> bytes:
    """A ``ChangesPage`` put together from changes that are JSON already."""
    return b'{"head":%b,"changes":[%b],"server_time":%d}' % (encode(head), b",".join(bodies), server_time)
