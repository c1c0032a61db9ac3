"""Bulk: many changes at once must neither be read otherwise than one by one, nor keep a visitor waiting."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.model import CardState
from entitlements.wire.feed import CardChange, encode
from readers.breath import CHECK_EVERY, SLICE_SECONDS, Breath, Turns
from readers.cache import FeedCache
from readers.changes import CardRow, decode_change
from readers.errors import FeedError
from tests.unit.readers.kit.council import Council, profile_for
from tests.unit.readers.kit.desk import base_of


class Hand:
    """A clock that a test turns, by itself a little each time that it is looked at."""

    def __init__(self, step: float) -> None:
        self.now, self._step = 0.0, step

    def __call__(self) -> float:
        self.now += self._step
        return self.now


async def test_long_work_in_the_event_loop_gives_way_after_each_slice() -> None:
    seen: list[int] = []
    turns = Turns(Hand(SLICE_SECONDS / 4))

    async def visitor() -> None:
        while len(set(seen)) < 5:
            seen.append(done)
            await asyncio.sleep(0)

    done = 0
    coming = asyncio.create_task(visitor())
    while not coming.done():
        done += 1
        if turns.over():
            await turns.give()
    assert all(later - earlier <= 5 for earlier, later in pairwise(seen))


async def test_whoever_comes_during_a_piece_is_decided_before_the_next_one() -> None:
    """It takes the event loop two rounds: one to see somebody, one to decide."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    pieces, decided = 0, asyncio.Event()
    between: list[int] = []

    async def decide(at: int) -> None:
        between.append(pieces - at)
        decided.set()

    def come() -> None:
        os.read(reading, 1)
        coming.append(loop.create_task(decide(pieces)))

    coming: list[asyncio.Task[None]] = []
    loop.add_reader(reading, come)
    turns = Turns(Hand(SLICE_SECONDS))
    try:
        for _ in range(5):
            decided.clear()
            pieces += 1
            os.write(writing, b"!")
            await turns.give()
            assert decided.is_set()
    finally:
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
    assert between == [0] * 5


def test_long_work_in_a_thread_pauses_after_each_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("readers.breath.time.sleep", pauses.append)
    breath = Breath(Hand(SLICE_SECONDS))
    for _ in range(10 * CHECK_EVERY):
        breath.take()
    assert len(pauses) >= 4
    assert all(pause > 0 for pause in pauses), "sleep(0) would be back before anybody else had the interpreter"


@given(
    index=st.integers(0, 2**32 - 1),
    tag=st.integers(0, 2**32 - 1),
    state=st.sampled_from(CardState),
    names=st.lists(st.sampled_from(["wcc.leisure.gym", "wcc.ü", '"']), unique=True),
)
def test_a_card_is_the_same_with_its_rights_read_or_unread(
    index: int, tag: int, state: CardState, names: list[str]
) -> None:
    change = CardChange(n=3, tn=4, at=5, index=index, tag=tag, state=state, profile=profile_for(*names).to_wire())
    unread = decode_change(encode(change))
    assert isinstance(unread, CardRow)
    assert encode(unread) == encode(change)


def caches(council: Council, folder: Path) -> tuple[FeedCache, FeedCache]:
    return base_of(council, folder / "one"), base_of(council, folder / "other")


@pytest.mark.parametrize("known", [2, 65_536])
async def test_changes_read_from_json_give_what_the_changes_themselves_give(
    council: Council, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: int
) -> None:
    monkeypatch.setattr("readers.cache.MAX_KNOWN", known)
    cards = [council.issue(in_snapshot=True) for _ in range(3)]
    one, other = caches(council, tmp_path)
    council.profiles += [profile_for("wcc.leisure.swim"), profile_for("wcc.leisure.gym", "wcc.leisure.swim")]
    for number in range(40):
        council.put(cards[number % 3], CardState.ACTIVE, profile=number % 4)
    await one.apply(council.changes)
    await other.apply([decode_change(encode(change)) for change in council.changes])
    assert one.number == other.number == 40
    assert one.contents.profiles.count == other.contents.profiles.count == 4
    for card in cards:
        found = one.lookup(card.claims.index, card.tag)
        assert found is not None
        assert found == other.lookup(card.claims.index, card.tag)


@pytest.mark.parametrize("wrong", [b"[]", b'[[["wcc.leisure.gym", [[1, 2, 99]]]], [], []]', b"7", b'{"a": 1}'])
def test_rights_that_cannot_be_read_stop_the_feed_at_the_change_before(
    council: Council, tmp_path: Path, wrong: bytes
) -> None:
    card = council.issue(in_snapshot=True)
    cache, _ = caches(council, tmp_path)
    body = encode(council.put(card, CardState.ACTIVE)).replace(encode_profile(council), wrong)
    with pytest.raises(FeedError, match="cannot be read"):
        cache.apply_one(decode_change(body))
    assert cache.number == 0
    assert cache.lookup(card.claims.index, card.tag) is not None


def encode_profile(council: Council) -> bytes:
    change = council.changes[-1]
    assert isinstance(change, CardChange)
    body = encode(change)
    return body[body.index(b'"profile":') + len(b'"profile":') : -1]
