"""Units at the gate: what somebody has used must never depend on the order in which the gate heard of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from entitlements.ledger import Entries
from entitlements.model import Instant
from entitlements.wire.state import Units
from readers.own import OwnUnits, SiteLedger
from readers.units import UnitTable

entries = st.builds(
    Units,
    entry=st.integers(0, 8).map(str),
    account=st.sampled_from(["swims", "books"]),
    key=st.sampled_from(["p", "q"]),
    at=st.integers(-5, 25),
    units=st.integers(-3, 9),
)
instants = st.none() | st.integers(-7, 27).map(Instant)


def brute(told: list[Units], account: str, key: str, since: Instant | None, until: Instant | None) -> int:
    last = {(entry.entry, entry.account, entry.key): entry for entry in told}
    rows = [(entry.account, entry.key, entry.units, Instant(entry.at)) for entry in last.values()]
    return Entries(rows).used(account, key, since, until)


@given(st.lists(entries, max_size=30), st.integers(0, 30), instants, instants)
def test_units_are_those_of_a_plain_sum_whatever_came_first_or_twice(
    told: list[Units], split: int, since: Instant | None, until: Instant | None
) -> None:
    table = UnitTable(told[:split])
    for entry in told[split:]:
        table.put(entry)
    for account in ("swims", "books", "other"):
        for key in ("p", "q", "r"):
            assert table.used(account, key, since, until) == brute(told, account, key, since, until)
    again = UnitTable(table)
    assert sorted(again, key=str) == sorted(table, key=str)
    assert again.count == table.count == len(list(table))


@given(st.lists(entries, max_size=12), st.lists(entries, max_size=6), instants, instants)
def test_what_the_feed_tells_of_is_not_counted_a_second_time_as_our_own(
    told: list[Units], taken: list[Units], since: Instant | None, until: Instant | None
) -> None:
    own: dict[tuple[str, str], dict[str, OwnUnits]] = {}
    for entry in taken:
        item = OwnUnits(feed="f", account=entry.account, key=entry.key, at=entry.at, units=entry.units, offline=False)
        own.setdefault((entry.account, entry.key), {})[entry.entry] = item
    known = {(entry.entry, entry.account, entry.key) for entry in told}
    ours = {(entry.entry, entry.account, entry.key): entry for entry in taken}
    beside = [entry for name, entry in ours.items() if name not in known]
    ledger = SiteLedger(UnitTable(told), own)
    for key in ("p", "q"):
        assert ledger.used("swims", key, since, until) == brute([*told, *beside], "swims", key, since, until)


@given(st.lists(entries, max_size=12), entries)
def test_a_copy_that_is_being_written_does_not_change_any_more(told: list[Units], later: Units) -> None:
    table = UnitTable(told)
    copy = table.copy()
    before = list(copy)
    table.put(later)
    assert list(copy) == before
