"""The journal of changes: it gives back what was applied, in the order of applying, and never what it cannot trust."""

from __future__ import annotations

import sqlite3

import pytest

import readers.journal
from entitlements.model import CardState
from entitlements.wire.feed import CardChange, encode
from readers.changes import AnyChange
from readers.journal import RUN, FeedNote, Journal
from tests.unit.readers.kit.council import Council
from tests.unit.readers.test_cache import FEED


def numbers(changes: list[AnyChange]) -> list[int]:
    return [change.n for change in changes]


async def run_sql(journal: Journal, statement: str) -> None:
    await journal.database.run(lambda connection: connection.execute(statement).close())


async def test_the_journal_stops_at_a_gap(council: Council, journal: Journal) -> None:
    for _ in range(6):
        council.issue()
    await journal.add_changes(FEED, "e1", council.changes[:3])
    await journal.add_changes(FEED, "e1", council.changes[4:])
    assert numbers(await journal.changes_after(FEED, "e1", 0)) == [1, 2, 3]
    assert numbers(await journal.changes_after(FEED, "e1", 4)) == [5, 6]
    assert await journal.changes_after(FEED, "e2", 0) == []


async def test_the_journal_gives_back_what_was_written_however_it_was_cut_up(
    council: Council, journal: Journal
) -> None:
    """Also what was written twice: what was written down and could not be applied comes again, cut otherwise."""
    for _ in range(3 * RUN + 5):
        council.issue()
    changes = council.changes
    await journal.add_changes(FEED, "e1", changes[:1])
    await journal.add_changes(FEED, "e1", changes[1 : RUN + 9])
    await journal.add_changes(FEED, "e1", changes[1:4])
    await journal.add_changes(FEED, "e1", changes[4 : 2 * RUN])
    await journal.add_changes(FEED, "e1", changes[2 * RUN :])
    for number in (0, 1, 3, RUN, 2 * RUN + 3, len(changes)):
        assert list(map(encode, await journal.changes_after(FEED, "e1", number))) == list(map(encode, changes[number:]))


async def test_forgetting_the_changes_of_a_base_leaves_every_later_one(council: Council, journal: Journal) -> None:
    for _ in range(2 * RUN):
        council.issue()
    await journal.add_changes(FEED, "e1", council.changes)
    await journal.forget_changes(FEED, "e1", RUN // 2)
    assert numbers(await journal.changes_after(FEED, "e1", RUN // 2)) == list(range(RUN // 2 + 1, 2 * RUN + 1))
    await journal.forget_changes(FEED, "e1", RUN)
    assert numbers(await journal.changes_after(FEED, "e1", RUN)) == list(range(RUN + 1, 2 * RUN + 1))
    assert await journal.changes_after(FEED, "e1", 0) == [], "what lies behind a gap is of no use"
    await journal.forget_changes(FEED, "e1", 2 * RUN)
    assert await journal.database.run(lambda connection: connection.execute("SELECT * FROM run").fetchall()) == []


async def test_a_flipped_bit_in_the_journal_is_no_other_change_and_no_younger_data(
    council: Council, journal: Journal
) -> None:
    card = council.issue()
    for _ in range(4):
        council.put(card, CardState.ACTIVE)
    for change in council.changes:
        await journal.add_changes(FEED, "e1", [change])
    await journal.keep(f"feed {FEED}", FeedNote(epoch="e1", confirmed_at=1_780_315_200_000))

    def damage(connection: sqlite3.Connection) -> None:
        bodies = [body for (body,) in connection.execute("SELECT body FROM run ORDER BY first")]
        assert bodies[0].count(b'"index":0') == 1
        body = bodies[0].replace(b'"index":0', b'"index":1')
        connection.execute("UPDATE run SET body = ? WHERE first = 1", (body,))
        (note,) = connection.execute("SELECT body FROM note").fetchone()
        connection.execute("UPDATE note SET body = ?", (note.replace(b"17803", b"17903"),))

    def swap(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE run SET body = (SELECT body FROM run WHERE first = 4) WHERE first = 3")

    def stretch(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE run SET last = 9 WHERE first = 2")

    await journal.database.run(swap)
    assert numbers(await journal.changes_after(FEED, "e1", 0)) == [1, 2]
    await journal.database.run(stretch)
    assert numbers(await journal.changes_after(FEED, "e1", 0)) == [1]
    await journal.database.run(damage)
    assert await journal.changes_after(FEED, "e1", 0) == []
    assert await journal.recall(f"feed {FEED}", FeedNote) is None


async def test_changes_fetched_again_after_damage_are_there_at_the_next_start(
    council: Council, journal: Journal
) -> None:
    """The base ends within the damaged run, so what is fetched again begins in the middle of it."""
    for _ in range(3 * RUN):
        council.issue()
    await journal.add_changes(FEED, "e1", council.changes[:RUN])
    await run_sql(journal, "UPDATE run SET body = zeroblob(99) WHERE first = 1")
    assert await journal.changes_after(FEED, "e1", 30) == []
    await journal.add_changes(FEED, "e1", council.changes[30:])
    assert numbers(await journal.changes_after(FEED, "e1", 30)) == list(range(31, 3 * RUN + 1))


async def test_a_run_whose_bounds_were_flipped_does_not_stand_in_the_way_of_others(
    council: Council, journal: Journal
) -> None:
    for _ in range(3 * RUN):
        council.issue()
    await journal.add_changes(FEED, "e1", council.changes[:RUN])
    await run_sql(journal, "UPDATE run SET last = last | 1048576 WHERE first = 1")
    await journal.forget_changes(FEED, "e1", RUN)
    await journal.add_changes(FEED, "e1", council.changes[RUN:])
    assert numbers(await journal.changes_after(FEED, "e1", RUN)) == list(range(RUN + 1, 3 * RUN + 1))
    await run_sql(journal, f"UPDATE run SET first = 1 WHERE first = {2 * RUN + 1}")
    assert numbers(await journal.changes_after(FEED, "e1", RUN)) == list(range(RUN + 1, 2 * RUN + 1))


async def test_a_change_that_this_version_does_not_know_hides_neither_those_before_it_nor_those_after_the_base(
    council: Council, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(100):
        council.issue()

    def newer(change: AnyChange) -> bytes:
        return encode(change).replace(b'"card"', b'"later"', 1) if change.n == 40 else encode(change)

    monkeypatch.setattr(readers.journal, "encode", newer)
    await journal.add_changes(FEED, "e1", council.changes)
    assert numbers(await journal.changes_after(FEED, "e1", 0)) == list(range(1, 40))
    assert numbers(await journal.changes_after(FEED, "e1", 50)) == list(range(51, 101))


async def test_of_two_changes_with_one_number_the_one_applied_last_counts(journal: Journal) -> None:
    """Written down and not applied, then the service went back to an earlier time and told another story."""
    lost, told = Council(), Council()
    for council in (lost, told):
        for _ in range(30):
            council.issue()
    for _ in range(30):
        lost.issue()
    await journal.add_changes(FEED, "e1", lost.changes)
    told.issue()
    await journal.add_changes(FEED, "e1", told.changes[30:])
    kept = await journal.changes_after(FEED, "e1", 0)
    assert numbers(kept) == list(range(1, 32)), "what followed on the other one is of no use"
    assert isinstance(told.changes[30], CardChange)
    assert encode(kept[30]) == encode(told.changes[30])
