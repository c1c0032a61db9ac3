"""What taps of this site took: counted at once, kept through a kill, and never counted twice or for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from entitlements.wire.state import Units
from readers.errors import DatabaseFaultError
from readers.holdings import Holdings
from readers.journal import Journal
from readers.own import KEEP_SECONDS, SETTLED_GRACE_MS, Own, OwnBook, OwnCheckIn, OwnLoan, OwnUnits
from tests.unit.readers.kit import counted
from tests.unit.readers.kit.council import NOON, Council

FEED = "wcc/leisure"


def units(key: str = "p", count: int = 1, *, at: int = NOON, offline: bool = False, feed: str = FEED) -> OwnUnits:
    return OwnUnits(feed=feed, account="swims", key=key, at=at, units=count, offline=offline)


def taken(book: OwnBook, tap: str, *own: Own) -> None:
    """A tap that took this."""
    book.hold(tap, own)
    book.commit(tap)


def used(book: OwnBook, holdings: Holdings, key: str = "p") -> int:
    return book.ledger(holdings).used("swims", key, None, None)


def reconcile(book: OwnBook, holdings: Holdings, *, confirmed_at: int = 0, now: int = NOON, feed: str = FEED) -> None:
    book.reconcile(feed, holdings, confirmed_at=confirmed_at, now=now)


async def reopened(journal: Journal) -> OwnBook:
    """The book as a new process finds it on disk."""
    book = OwnBook(journal)
    await book.load()
    return book


async def test_what_is_held_counts_and_is_there_again_if_nobody_passes(journal: Journal) -> None:
    book, holdings = OwnBook(journal), Holdings()
    book.hold("t1", (units(),))
    assert used(book, holdings) == 1
    book.let_go("t1")
    assert used(book, holdings) == 0
    book.hold("t2", (units(count=2),))
    book.commit("t2")
    book.let_go("t2")  # the lane's last word; the tap has taken its units already
    assert used(book, holdings) == 2
    book.hold("t3", ())
    assert book.waiting == 1
    await book.flush()
    assert used(await reopened(journal), holdings) == 2


async def test_a_release_that_a_kill_interrupted_took_nothing_here(journal: Journal) -> None:
    book = OwnBook(journal)
    book.hold("t1", (units(),))
    book.settle(["t1"], [], 5)  # uploads are quicker than people
    await book.flush()
    assert (await reopened(journal)).waiting == 0
    book.commit("t1")
    await book.flush()
    again = await reopened(journal)
    assert used(again, Holdings()) == 1
    reconcile(again, Holdings(), confirmed_at=5 + SETTLED_GRACE_MS + 1)
    assert again.waiting == 0, "that the service has the tap was kept too"


async def test_the_echo_ends_our_own_entry_and_one_of_another_site_does_not(journal: Journal) -> None:
    book, holdings = OwnBook(journal), Holdings()
    taken(book, "t1", units())
    holdings.units.put(Units(entry="t9", account="swims", key="p", at=NOON - 9, units=1))
    assert used(book, holdings) == 2
    holdings.units.put(Units(entry="t1", account="swims", key="p", at=NOON, units=1))
    assert used(book, holdings) == 2, "between the echo and the tidying it is counted once"
    reconcile(book, holdings)
    assert (used(book, holdings), book.waiting) == (2, 0)
    await book.flush()
    assert (await reopened(journal)).waiting == 0


async def test_only_a_full_echo_ends_a_tap_of_two_accounts(journal: Journal) -> None:
    book, holdings = OwnBook(journal), Holdings()
    other = OwnUnits(feed=FEED, account="towels", key="p", at=NOON, units=3, offline=True)
    taken(book, "t1", units(), other)
    holdings.units.put(Units(entry="t1", account="swims", key="p", at=NOON, units=1))
    reconcile(book, holdings)
    assert book.ledger(holdings).used("towels", "p", None, None) == 3
    assert book.leased("towels", "p", holdings) == 3
    await book.flush()
    again = await reopened(journal)
    assert again.leased("towels", "p", holdings) == 3
    assert used(again, Holdings()) == 0, "what the feed told of is not kept beside it"


async def test_a_rejected_tap_gives_its_units_back(journal: Journal) -> None:
    book = OwnBook(journal)
    taken(book, "t1", units())
    taken(book, "t2", units())
    await book.flush()
    book.settle([], ["t1", "unheard of"], 5)
    assert used(book, Holdings()) == 1
    await book.flush()
    assert used(await reopened(journal), Holdings()) == 1


async def test_a_tap_that_the_service_counted_otherwise_is_not_ours_for_ever(journal: Journal) -> None:
    book, holdings = OwnBook(journal), Holdings()
    taken(book, "t1", units())
    reconcile(book, holdings, confirmed_at=10**13)
    assert used(book, holdings) == 1, "the service does not have the tap yet"
    book.settle(["t1"], [], 1_000)
    book.settle(["t1"], [], 10**12)  # an upload whose reply was lost comes again
    reconcile(book, holdings, confirmed_at=1_000 + SETTLED_GRACE_MS)
    assert used(book, holdings) == 1
    reconcile(book, holdings, confirmed_at=1_001 + SETTLED_GRACE_MS, feed="wcc/libraries")
    assert used(book, holdings) == 1, "another feed says nothing of it"
    reconcile(book, holdings, confirmed_at=1_001 + SETTLED_GRACE_MS)
    assert used(book, holdings) == 0


async def test_what_no_period_reaches_any_more_is_dropped(journal: Journal) -> None:
    book = OwnBook(journal)
    taken(book, "t1", units(), units("q", at=NOON + 9, feed="gone/feed"))
    reconcile(book, Holdings(), now=NOON + KEEP_SECONDS)
    assert used(book, Holdings()) == 0
    assert used(book, Holdings(), "q") == 1
    reconcile(book, Holdings(), now=NOON + 9 + KEEP_SECONDS)
    assert book.waiting == 0


async def test_what_is_held_is_never_tidied_away(journal: Journal) -> None:
    book, holdings = OwnBook(journal), Holdings()
    book.hold("t1", (units(),))
    holdings.units.put(Units(entry="t1", account="swims", key="p", at=NOON, units=1))
    reconcile(book, holdings)
    assert (used(book, holdings), book.waiting) == (1, 1)
    book.commit("t1")
    reconcile(book, holdings)
    assert (used(book, holdings), book.waiting) == (1, 0)


async def test_loans_and_check_ins_count_until_the_feed_tells_of_them(journal: Journal) -> None:
    council, book, holdings = Council(), OwnBook(journal), Holdings()
    holdings.take(counted.booking(council, "p", NOON, NOON + 60))
    loan = OwnLoan(feed=FEED, pool="tools", key="p", at=NOON, due="2026-06-29")
    taken(book, "t1", loan, OwnCheckIn(feed=FEED, booking="b-1", at=NOON))
    await book.flush()
    for found in (book, await reopened(journal)):
        assert found.checked_in("b-1")
        assert not found.checked_in("b-2")
        assert list(found.loans("tools", "p").values()) == [loan]
    reconcile(book, holdings)
    assert book.checked_in("b-1")
    holdings.take(counted.booking(council, "p", NOON, NOON + 60, checked_in=True))
    holdings.take(counted.loan(council, "p", "2026-06-29", name="t1"))
    reconcile(book, holdings)
    assert book.waiting == 0
    assert not book.loans("tools", "p")
    assert not book.checked_in("b-1")


async def test_a_failing_disk_keeps_everything_in_memory_and_catches_up(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = OwnBook(journal)
    taken(book, "t1", units())

    async def fail(*_: object) -> None:
        raise DatabaseFaultError(tmp_path, "as the test wants")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "keep_own", fail)
        with pytest.raises(DatabaseFaultError):
            await book.flush()
    assert used(book, Holdings()) == 1
    await book.flush()
    await book.durable()
    assert used(await reopened(journal), Holdings()) == 1


async def test_what_cannot_be_read_from_disk_is_left_out_and_the_rest_is_kept(journal: Journal) -> None:
    await journal.keep_own([("t0", b"{half")], [])
    book = OwnBook(journal)
    taken(book, "t1", units())
    await book.flush()
    assert (await reopened(journal)).waiting == 1


async def test_a_revoked_reader_keeps_nothing(journal: Journal) -> None:
    book = OwnBook(journal)
    taken(book, "t1", units())
    book.hold("t2", (units(),))
    await book.flush()
    book.wipe()
    await journal.wipe()
    book.let_go("t2")
    assert used(book, Holdings()) == 0
    assert (await reopened(journal)).waiting == 0
