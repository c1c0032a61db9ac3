"""Entries of the ledger in one feed, by account and key, so that "how much of it is used" is two bisections.

Each series is immutable and replaced whole: whoever copies the table for writing copies references only, and the
garbage collector finds nothing in it to follow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from entitlements.model import Instant
from entitlements.wire.state import Units

Series = tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]
"""Event times, ascending; running sums, one more than times and beginning with 0; entry ids."""
EMPTY: Final[Series] = ((), (0,), ())


class UnitTable:
    """A :class:`~entitlements.situation.Ledger` over the entries of a feed. An entry is known by its id, account and
    key: put again, it takes the place of the one before.
    """

    __slots__ = ("_series", "count")

    def __init__(self, entries: Iterable[Units] = ()) -> None:
        self.count = 0
        """Entries there are."""
        self._series: dict[tuple[str, str], Series] = {}
        gathered: dict[tuple[str, str], dict[str, Units]] = {}
        for entry in entries:
            gathered.setdefault((entry.account, entry.key), {})[entry.entry] = entry
        for pair, known in gathered.items():
            self.count += len(known)
            self._series[pair] = _series_of([(entry.at, entry.units, entry.entry) for entry in known.values()])

    def used(self, account: str, key: str, since: Instant | None, until: Instant | None) -> int:
        """Units of ``account`` under ``key`` whose event lies in ``[since, until)``; ``None`` is open."""
        series = self._series.get((account, key))
        if series is None:
            return 0
        times, sums, _ = series
        low = 0 if since is None else bisect_left(times, since)
        high = len(times) if until is None else bisect_left(times, until)
        return sums[high] - sums[low] if high > low else 0

    def holds(self, account: str, key: str, entry: str) -> bool:
        """Whether this entry is there."""
        series = self._series.get((account, key))
        return series is not None and entry in series[2]

    def put(self, entry: Units) -> None:
        """Take an entry in."""
        pair = (entry.account, entry.key)
        times, sums, ids = self._series.get(pair, EMPTY)
        if entry.entry in ids:
            rows = [row for row in _rows((times, sums, ids)) if row[2] != entry.entry]
            self._series[pair] = _series_of([*rows, (entry.at, entry.units, entry.entry)])
            return
        self.count += 1
        if not times or entry.at >= times[-1]:
            self._series[pair] = ((*times, entry.at), (*sums, sums[-1] + entry.units), (*ids, entry.entry))
            return
        self._series[pair] = _series_of([*_rows((times, sums, ids)), (entry.at, entry.units, entry.entry)])

    def copy(self) -> UnitTable:
        """A table that changes of this one do not reach; as quick as copying one dict."""
        made = UnitTable()
        made._series, made.count = self._series.copy(), self.count
        return made

    def __iter__(self) -> Iterator[Units]:
        for (account, key), series in self._series.items():
            for at, units, entry in _rows(series):
                yield Units(entry=entry, account=account, key=key, at=at, units=units)


def _rows(series: Series) -> Iterator[tuple[int, int, str]]:
    times, sums, ids = series
    for position, at in enumerate(times):
        yield at, sums[position + 1] - sums[position], ids[position]


def _series_of(rows: list[tuple[int, int, str]]) -> Series:
    rows.sort()
    return (
        tuple(at for at, _, _ in rows),
        tuple(accumulate((units for _, units, _ in rows), initial=0)),
        tuple(entry for _, _, entry in rows),
    )
