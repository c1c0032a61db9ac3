"""Parts in memory: if these fail, a thousand readers after a new epoch take the service's memory, or all fail."""

from __future__ import annotations

import asyncio
import gc

import pytest

from cardservice.feed.access import FeedRef
from cardservice.feed.shelf import SharedPart, Shelf

FEED = FeedRef(tenant="wcc", area="leisure")
OTHER = FeedRef(tenant="rbkc", area="leisure")


class Store:
    """A database of parts: 100 octets under any digest but ``gone``. A read waits until it is let go."""

    def __init__(self) -> None:
        self.asked: list[tuple[FeedRef, str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.away = False

    async def load(self, feed: FeedRef, sha256: str) -> bytes | None:
        self.asked.append((feed, sha256))
        await self.open.wait()
        if self.away:
            raise OSError("the database is away")
        return None if sha256 == "gone" else sha256.encode().ljust(100)


async def test_whoever_asks_at_the_same_time_gets_the_same_copy_of_one_read() -> None:
    store = Store()
    store.open.clear()
    shelf = Shelf(store.load)
    asking = [asyncio.create_task(shelf.take(FEED, "a")) for _ in range(50)]
    for _ in range(3):
        await asyncio.sleep(0)
    asking[0].cancel()  # the one in whose name it is read leaves
    store.open.set()
    found = await asyncio.gather(*asking[1:])
    assert len(store.asked) == 1
    assert all(part is found[0] for part in found)
    assert await shelf.take(FEED, "a") is found[0]
    assert asking[0].cancelled()


async def test_a_digest_opens_no_other_feed() -> None:
    store = Store()
    shelf = Shelf(store.load)
    await shelf.take(FEED, "a")
    await shelf.take(OTHER, "a")
    assert store.asked == [(FEED, "a"), (OTHER, "a")]


async def test_there_is_a_bound_to_what_is_held_and_what_is_still_sent_is_found_beyond_it() -> None:
    store = Store()
    shelf = Shelf(store.load, room=250)
    sending = await shelf.take(FEED, "a")
    assert isinstance(sending, SharedPart)
    for digest in ("b", "c", "d"):
        await shelf.take(FEED, digest)
    assert await shelf.take(FEED, "a") is sending, "let go of, but somebody is being sent it"
    assert len(store.asked) == 4
    del sending
    gc.collect()
    await shelf.take(FEED, "d")
    assert len(store.asked) == 4, "the newest are held"
    await shelf.take(FEED, "a")
    assert store.asked[4:] == [(FEED, "a")], "nobody needed it any more"


async def test_what_is_used_is_held_rather_than_what_came_last() -> None:
    store = Store()
    shelf = Shelf(store.load, room=250)
    for digest in ("a", "b", "a", "c", "a"):
        await shelf.take(FEED, digest)
    assert [digest for _, digest in store.asked] == ["a", "b", "c"]


async def test_a_part_larger_than_all_room_is_still_one_copy_for_all() -> None:
    store = Store()
    shelf = Shelf(store.load, room=50)
    first, second = await asyncio.gather(shelf.take(FEED, "a"), shelf.take(FEED, "a"))
    assert first is second is not None
    assert len(store.asked) == 1


async def test_neither_a_failure_nor_a_part_that_is_gone_is_remembered() -> None:
    store = Store()
    shelf = Shelf(store.load)
    store.away = True
    with pytest.raises(OSError, match="away"):
        await shelf.take(FEED, "a")
    store.away = False
    assert await shelf.take(FEED, "a") is not None
    for _ in range(2):
        assert await shelf.take(FEED, "gone") is None
    assert [digest for _, digest in store.asked] == ["a", "a", "gone", "gone"]
