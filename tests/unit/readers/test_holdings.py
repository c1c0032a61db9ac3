"""The tables behind limits: a restart, a new base or a damaged file must not give anybody back what they used."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from entitlements.wire.state import Holder, HolderChange, StateSnapshot, Units
from readers import cache as cache_module
from readers.cache import FeedCache
from readers.contents import read_contents
from readers.errors import FeedError, SnapshotRefusedError
from readers.feedstore import FeedStore
from readers.holdings import Holdings, RawState
from readers.journal import Journal
from tests.unit.readers.kit import counted
from tests.unit.readers.kit.council import NOON, Council
from tests.unit.readers.kit.desk import base_of
from tests.unit.readers.test_cache import FEED, take


def told(holdings: Holdings) -> StateSnapshot:
    """All that the tables hold, in a fixed order."""
    raw = msgspec.json.decode(b"".join(holdings.write()), type=StateSnapshot)
    return StateSnapshot(
        holders=sorted(raw.holders, key=lambda item: item.index),
        units=sorted(raw.units, key=lambda item: (item.entry, item.key)),
        bookings=sorted(raw.bookings, key=lambda item: item.booking),
        loans=sorted(raw.loans, key=lambda item: item.loan),
        upstreams=sorted(raw.upstreams, key=lambda item: item.key),
    )


def of(state: StateSnapshot) -> Holdings:
    return Holdings.read(msgspec.json.decode(msgspec.json.encode(state), type=RawState))


def test_what_is_written_reads_back_the_same() -> None:
    state = counted.full_state(5)
    assert told(of(state)) == state
    assert told(of(told(of(state)))) == state


def test_a_thing_told_again_takes_the_place_of_the_one_before_and_what_is_gone_is_gone() -> None:
    council = Council()
    holdings = Holdings()
    counted.booking(council, "p", NOON, NOON + 60)
    counted.booking(council, "q", NOON, NOON + 60)  # the same booking, handed over to somebody else
    counted.booking(council, "q", NOON, NOON + 90, name="b-2")
    counted.loan(council, "p", "2026-06-01")
    counted.loan(council, "p", "2026-07-01")
    counted.loan(council, "p", "2026-06-05", name="l-2")
    counted.loan(council, "p", "2026-06-05", name="l-2", gone=True)
    counted.booking(council, "q", NOON, NOON + 90, name="b-3", gone=True)
    for _ in range(2):  # twice does no harm
        for change in council.changes:
            assert holdings.take(change)
        assert holdings.bookings("room-1", "p") == ()
        assert [name for name, _ in holdings.bookings("room-1", "q")] == ["b-1", "b-2"]
        assert [loan.due for _, loan in holdings.loans("tools", "p")] == ["2026-07-01"]
    found = holdings.booking("b-2")
    assert found is not None
    assert found.end == NOON + 90
    assert holdings.booking("b-3") is None


def test_a_change_that_makes_no_sense_stops_the_feed_and_changes_nothing(tmp_path: Path) -> None:
    council = Council()
    council.issue(in_snapshot=True)
    cache = base_of(council, tmp_path / "base")
    with pytest.raises(FeedError, match="cannot be read"):
        cache.apply_one(counted.loan(council, "p", "2026-02-30"))
    assert cache.number == 0
    assert cache.contents.holdings.loans("tools", "p") == ()


@pytest.mark.parametrize(
    "broken",
    [
        {"units": [{"entry": "e", "account": "a", "key": "k", "at": "noon", "units": 1}]},
        {"holders": [{"keys": {}}]},
        {"loans": [{"loan": "l", "pool": "p", "key": "k", "due": "soon"}]},
        {"bookings": [{"booking": "b"}]},
        {"upstreams": 3},
    ],
)
def test_a_snapshot_whose_state_cannot_be_read_is_refused_whole(broken: dict[str, object]) -> None:
    _, parts = Council().snapshot()
    meta = next(data for data in parts.values() if data.startswith(b"{"))
    text = msgspec.json.decode(meta) | {"state": broken}
    with pytest.raises(SnapshotRefusedError, match="cannot be read"):
        read_contents(msgspec.json.encode(text), feed=FEED)


def test_a_base_from_before_there_was_state_still_opens(tmp_path: Path) -> None:
    _, parts = Council().snapshot()
    text = msgspec.json.decode(next(data for data in parts.values() if data.startswith(b"{")))
    del text["state"]
    assert read_contents(msgspec.json.encode(text), feed=FEED).holdings.holder(0) is None


async def change_much(council: Council, cache: FeedCache, journal: Journal, seed: int = 1) -> None:
    """A few hundred changes of all kinds, in the journal and applied."""
    chance = random.Random(seed)
    first = len(council.changes)
    for _ in range(300):
        key = f"p{chance.randrange(4)}"
        match chance.randrange(5):
            case 0:
                keys = {"person": key, "household": f"h{chance.randrange(3)}"}
                counted.change(council, HolderChange, holder=Holder(index=chance.randrange(9), keys=keys))
            case 1:
                counted.units(council, key, chance.randrange(1, 4), at=NOON + chance.randrange(-99, 99))
            case 2:
                gone = chance.random() < 0.3
                name = f"b{chance.randrange(9)}"
                counted.booking(council, key, NOON, NOON + chance.randrange(1, 99), name=name, gone=gone)
            case 3:
                gone = chance.random() < 0.3
                counted.loan(council, key, "2026-07-01", name=f"l{chance.randrange(9)}", gone=gone)
            case _:
                counted.word(council, key, at=NOON, not_blocked=chance.choice([True, False, None]))
    changes = council.changes[first:]
    await journal.add_changes(FEED, cache.epoch, changes)
    await cache.apply(changes)


async def test_a_restart_and_a_new_base_hold_what_the_gate_held(journal: Journal, tmp_path: Path) -> None:
    council = Council(state=counted.full_state(6))
    council.issue(in_snapshot=True)
    store = FeedStore(tmp_path / "feeds", FEED, journal)
    cache = await take(council, store, tmp_path)
    await change_much(council, cache, journal)
    before = told(cache.contents.holdings)
    assert len(before.units) > 20
    replayed = await FeedStore(tmp_path / "feeds", FEED, journal).open()
    assert replayed is not None
    assert told(replayed.contents.holdings) == before
    await store.compact(cache)
    assert cache.state_changes == 0
    assert await journal.changes_after(FEED, cache.epoch, 0) == []
    reopened = await store.open()
    assert reopened is not None
    assert told(reopened.contents.holdings) == before == told(cache.contents.holdings)


async def test_changes_that_come_while_a_base_is_written_are_kept_in_the_journal(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    council = Council(state=counted.full_state())
    council.issue(in_snapshot=True)
    store = FeedStore(tmp_path / "feeds", FEED, journal)
    cache = await take(council, store, tmp_path)
    await change_much(council, cache, journal, seed=2)
    monkeypatch.setattr(cache_module, "COMPACT_ROWS", 299)
    assert cache.wants_compaction
    copied = cache.contents.holdings.copy
    late: list[object] = []

    def copy_then_change() -> Holdings:
        made = copied()
        late.append(counted.units(council, "p0", 7, entry="late"))
        cache.apply_one(council.changes[-1])
        return made

    monkeypatch.setattr(Holdings, "copy", lambda _self: copy_then_change())
    await store.compact(cache)
    assert len(late) == 1
    await journal.add_changes(FEED, cache.epoch, council.changes[-1:])
    reopened = await store.open()
    assert reopened is not None
    assert told(reopened.contents.holdings) == told(cache.contents.holdings)
    assert reopened.contents.holdings.units.holds("swims", "p0", "late")
    assert not cache.wants_compaction


def test_a_ledger_that_only_grows_asks_for_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    council = Council(state=StateSnapshot(units=[Units(entry="e", account="a", key="k", at=1, units=1)]))
    council.issue(in_snapshot=True)
    monkeypatch.setattr(cache_module, "MAX_STATE_GROWTH", 3)
    cache = base_of(council, tmp_path / "base")
    for _ in range(4):
        assert not cache.wants_snapshot
        cache.apply_one(counted.units(council, "p"))
    assert cache.wants_snapshot


def test_asking_for_what_nobody_told_gives_nothing() -> None:
    holdings = Holdings()
    assert holdings.holder(3) is None
    assert holdings.upstream("lms", "p") is None
    assert holdings.loans("tools", "p") == ()
    assert holdings.bookings("room-1", "p") == ()
