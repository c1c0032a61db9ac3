"""The cache: a gate must find what the feed says, and never believe a file that is not whole."""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import readers.feedstore
from entitlements.model import CardState
from entitlements.profile import Profile
from entitlements.wire.feed import CardChange, HorizonChange, Manifest, Part
from entitlements.wire.feed import Horizon as FeedHorizon
from readers.basefile import BaseFile, block_count, digest_block, write_base
from readers.cache import FeedCache
from readers.errors import CacheFileError, FeedError
from readers.feedstore import FeedStore
from readers.journal import Journal
from tests.unit.readers.kit.council import Council, profile_for
from tests.unit.readers.kit.desk import base_of

FEED = "wcc/leisure"


def test_a_card_of_the_snapshot_is_found_with_its_rights(council: Council, tmp_path: Path) -> None:
    cards = [council.issue(in_snapshot=True) for _ in range(20)]
    cache = base_of(council, tmp_path / "base")
    for card in cards:
        assert cache.lookup(card.claims.index, card.tag) == (CardState.ACTIVE, profile_for("wcc.leisure.gym"))


def test_a_reused_or_forged_index_is_no_card(council: Council, tmp_path: Path) -> None:
    card = council.issue(in_snapshot=True)
    cache = base_of(council, tmp_path / "base")
    assert cache.lookup(card.claims.index, card.tag ^ 1) is None
    assert cache.lookup(card.claims.index + 1, card.tag) is None
    assert cache.lookup(2**32 - 1, card.tag) is None


def test_the_base_of_another_feed_is_not_taken_for_ours(council: Council, tmp_path: Path) -> None:
    council.issue(in_snapshot=True)
    base_of(council, tmp_path / "base")
    with pytest.raises(CacheFileError, match="wcc/care"):
        BaseFile(tmp_path / "base", feed="wcc/care")


def test_a_wild_index_does_not_make_a_base_of_gigabytes(council: Council, tmp_path: Path) -> None:
    council.issue(in_snapshot=True)
    cache = base_of(council, tmp_path / "base")
    wild = CardChange(n=1, tn=1, at=0, index=2**31, tag=1, state=CardState.ACTIVE, profile=Profile().to_wire())
    with pytest.raises(FeedError, match="far beyond"):
        cache.apply_one(wild)
    assert cache.number == 0


async def take(council: Council, store: FeedStore, folder: Path) -> FeedCache:
    """Open the store, and take the council's snapshot in through it."""
    await store.open()
    return await take_in(council, store, folder)


async def take_in(council: Council, store: FeedStore, folder: Path) -> FeedCache:
    """Take the council's snapshot in through the store."""
    _, parts = council.snapshot()
    meta = next(data for data in parts.values() if data.startswith(b"{"))
    rows = folder / "rows.part"
    rows.write_bytes(council.rows.tobytes())
    names = {data: name for name, data in parts.items()}
    manifest = Manifest(
        format=council.format,
        tenant="wcc",
        area="leisure",
        epoch=council.epoch,
        number=council.number,
        issue_number=council.issue_number,
        created_at=council.created_at,
        cards=len(council.rows),
        rows=Part(sha256=names[council.rows.tobytes()], size=len(council.rows) * 8),
        meta=Part(sha256=names[meta], size=len(meta)),
    )
    return await store.take_snapshot(manifest, meta, rows)


async def test_compaction_changes_no_answer_and_a_restart_finds_the_same(
    council: Council, journal: Journal, tmp_path: Path
) -> None:
    cards = [council.issue(in_snapshot=True) for _ in range(9000)]
    store = FeedStore(tmp_path / "feeds", FEED, journal)
    cache = await take(council, store, tmp_path)
    chance = random.Random(1)
    for card in chance.sample(cards, 500):
        council.put(card, chance.choice(list(CardState)), profile=chance.randrange(2))
    cards += [council.issue() for _ in range(9000)]
    await journal.add_changes(FEED, cache.epoch, council.changes)
    await cache.apply(council.changes)
    before = [cache.lookup(card.claims.index, card.tag) for card in cards]
    await store.compact(cache)
    assert cache.overlay_rows == 0
    assert [cache.lookup(card.claims.index, card.tag) for card in cards] == before
    assert await journal.changes_after(FEED, cache.epoch, cache.number) == []
    again = await store.open()
    assert again is not None
    assert again.number == cache.number
    assert [again.lookup(card.claims.index, card.tag) for card in cards] == before
    again.base.verify_all()
    assert not again.base.unchecked


async def test_a_change_that_comes_during_compaction_is_kept(
    council: Council, journal: Journal, tmp_path: Path
) -> None:
    card = council.issue(in_snapshot=True)
    store = FeedStore(tmp_path / "feeds", FEED, journal)
    cache = await take(council, store, tmp_path)
    await cache.apply([council.put(card, CardState.SUSPENDED)])
    cache.fold()
    await cache.apply([council.put(card, CardState.REVOKED)])
    cache.swap_base(cache.base, cache.contents.profiles.added)
    found = cache.lookup(card.claims.index, card.tag)
    assert found is not None
    assert found[0] is CardState.REVOKED


class Held:
    """Holds the writer of a new base at its beginning, so that a test can do something meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        patch = readers.feedstore._patch

        def held(*args: Any) -> Any:
            self.began.set()
            assert self.go_on.wait(10)
            return patch(*args)

        monkeypatch.setattr(readers.feedstore, "_patch", held)


async def test_who_is_stopped_during_a_compaction_finds_everything_at_the_next_start(
    council: Council, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the new cards that came meanwhile, for which the base that is being written has no room."""
    council.issue(in_snapshot=True)
    store = FeedStore(tmp_path / "feeds", FEED, journal)
    cache = await take(council, store, tmp_path)
    first = [council.issue() for _ in range(3)]
    await journal.add_changes(FEED, cache.epoch, council.changes)
    await cache.apply(council.changes)
    held = Held(monkeypatch)
    compaction = asyncio.create_task(store.compact(cache))
    await asyncio.to_thread(held.began.wait)
    later = [council.issue() for _ in range(40)]
    await journal.add_changes(FEED, cache.epoch, council.changes[3:])
    await cache.apply(council.changes[3:])
    compaction.cancel()
    await asyncio.sleep(0)
    held.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await compaction
    for reader in (cache, await FeedStore(tmp_path / "feeds", FEED, journal).open()):
        assert reader is not None
        assert reader.number == council.number
        assert all(reader.lookup(card.claims.index, card.tag) for card in first + later)


async def test_a_snapshot_that_comes_during_a_compaction_is_what_stays_on_disk(
    council: Council, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = council.issue(in_snapshot=True)
    store = FeedStore(tmp_path / "feeds", FEED, journal)
    cache = await take(council, store, tmp_path)
    await cache.apply([council.put(card, CardState.SUSPENDED)])
    held = Held(monkeypatch)
    compaction = asyncio.create_task(store.compact(cache))
    await asyncio.to_thread(held.began.wait)
    council.epoch = "another"
    snapshot = asyncio.create_task(take_in(council, store, tmp_path))
    await asyncio.sleep(0.05)
    assert not snapshot.done()
    held.go_on.set()
    await compaction
    fresh = await snapshot
    change = council.put(card, CardState.REVOKED)
    await journal.add_changes(FEED, fresh.epoch, [change])
    await store.compact(cache)  # of what is not in use any more: it neither writes nor forgets
    again = await FeedStore(tmp_path / "feeds", FEED, journal).open()
    assert again is not None
    assert (again.epoch, again.number) == ("another", change.n)
    found = again.lookup(card.claims.index, card.tag)
    assert found is not None
    assert found[0] is CardState.REVOKED


async def test_what_gates_asked_for_is_at_hand_after_a_new_base_too(
    council: Council, journal: Journal, tmp_path: Path
) -> None:
    """Unpacking it again, and letting go of it, would keep decisions waiting right after each compaction."""
    council.profiles.append(profile_for("wcc.leisure.swim"))
    cards = [council.issue(in_snapshot=True) for _ in range(2)]
    store = FeedStore(tmp_path / "feeds", FEED, journal)
    cache = await take(council, store, tmp_path)
    await cache.apply([council.put(cards[1], CardState.ACTIVE, profile=len(council.profiles) - 1)])
    before = [cache.lookup(card.claims.index, card.tag) for card in cards]
    await store.compact(cache)
    for card, found in zip(cards, before, strict=True):
        again = cache.lookup(card.claims.index, card.tag)
        assert found is not None
        assert again is not None
        assert again[1] is found[1]


async def test_a_damaged_base_is_set_aside_and_not_opened_again(
    council: Council, journal: Journal, tmp_path: Path
) -> None:
    council.issue(in_snapshot=True)
    store = FeedStore(tmp_path / "feeds", FEED, journal)
    await take(council, store, tmp_path)
    data = bytearray(store.path.read_bytes())
    data[20] ^= 1
    store.path.write_bytes(data)
    assert await store.open() is None
    assert not store.path.exists()
    assert len(list(store.folder.glob("*.damaged-*"))) == 1


class CacheAgainstDict(RuleBasedStateMachine):
    """The cache gives what a plain dict gives, whatever changes come and whenever a new base is written."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.council = Council()
        self.cards = [self.council.issue(in_snapshot=True) for _ in range(3)]
        self.path = Path(self.folder.name) / "base"
        self.cache = base_of(self.council, self.path)
        self.model = {card.claims.index: (card.tag, CardState.ACTIVE, 0) for card in self.cards}

    @rule(pick=st.integers(0, 99), state=st.sampled_from(CardState), profile=st.integers(0, 1))
    def change(self, pick: int, state: CardState, profile: int) -> None:
        card = self.cards[pick % len(self.cards)]
        self.cache.apply_one(self.council.put(card, state, profile))
        self.model[card.claims.index] = (card.tag, state, profile)

    @rule()
    def issue(self) -> None:
        card = self.council.issue()
        self.cards.append(card)
        self.cache.apply_one(self.council.changes[-1])
        self.model[card.claims.index] = (card.tag, CardState.ACTIVE, 0)

    @rule()
    def move_horizon(self) -> None:
        self.cache.apply_one(
            self.council.add(lambda n: HorizonChange(n=n, tn=0, at=0, horizon=FeedHorizon(begins=n, ends=n + 1)))
        )
        assert self.cache.contents.horizon.begins == self.cache.number

    @rule()
    def snapshot(self) -> None:
        self.cache = base_of(self.council, self.path)

    @rule(n=st.integers(-3, 3))
    def skip(self, n: int) -> None:
        if n != 1:
            number = self.cache.number
            wrong = HorizonChange(n=number + n, tn=0, at=0, horizon=FeedHorizon(begins=0, ends=1))
            with pytest.raises(FeedError):
                self.cache.apply_one(wrong)
            assert self.cache.number == number

    @invariant()
    def same_answers(self) -> None:
        for index, (tag, state, profile) in getattr(self, "model", {}).items():
            assert self.cache.lookup(index, tag) == (state, self.council.profiles[profile])

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


CacheAgainstDict.TestCase.settings = hypothesis_settings(max_examples=25, stateful_step_count=25, deadline=None)
TestCacheAgainstDict = CacheAgainstDict.TestCase


def test_rows_of_several_blocks_are_checked_block_by_block(tmp_path: Path) -> None:
    rows = random.Random(3).randbytes(8 * 20_000)
    blocks = [rows[start : start + 65536] for start in range(0, len(rows), 65536)]
    path = tmp_path / "base"
    write_base(
        path, feed=FEED, epoch="e", number=1, issue_number=1, created_at=0, meta=[b"{}"], profiles=b"", rows=20_000,
        digests=b"".join(map(digest_block, blocks)), blocks=blocks,
    )  # fmt: skip
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    base = BaseFile(path, feed=FEED)
    base.check_block(0)
    assert base.unchecked == set(range(1, block_count(8 * 20_000)))
    with pytest.raises(CacheFileError):
        base.verify_all()
