"""The entitlement cache of one feed in memory: mapped rows, the changes since over them, and what they refer to.

The look-up is the hot path of the gate: plain, synchronous, without lock or await. Everything runs in the event loop's
thread; what is slow (reading, writing, hashing) happens on copies in threads and is swapped in by one assignment.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from typing import Final

import msgspec

from entitlements.model import CardState
from entitlements.profile import Profile
from entitlements.wire.feed import (
    AnyChange,
    CardChange,
    HorizonChange,
    KeysChange,
    ServiceChange,
    ServiceEntry,
    ServiceWithdrawn,
    WorldChange,
)
from entitlements.wire.rows import MAX_PROFILE, STATES, pack_row
from readers.basefile import BLOCK_SHIFT, BaseFile
from readers.contents import Contents
from readers.errors import FeedError

SLICE: Final = 250
"""Rows applied between two turns of the event loop: measured, decisions do not notice slices of this size."""
COMPACT_ROWS: Final = 10_000
"""Changed rows from which a new base is worth writing,"""
COMPACT_SHARE: Final = 64
"""or this part of all rows where that is more."""
MAX_INDEX_LEAP: Final = 1_000_000
"""How far a new card's index may lie beyond the last row. Indexes are dense; a wild one would make a huge base."""
MAX_PROFILE_GROWTH: Final = 30_000
"""New profiles since the base (about three daily moves of the horizon) after which a fresh snapshot is taken: it
numbers only the profiles in use."""

MAX_STATE_GROWTH: Final = 200_000
"""New ledger entries since the base (some days of a borough) after which a fresh snapshot is taken: it holds only those
of periods that still count."""

Found = tuple[CardState, Profile]


class FeedCache:
    """Rows, contents and number of one feed. ``number`` and ``issue_number`` are those of the last change applied."""

    def __init__(self, base: BaseFile, contents: Contents) -> None:
        self.feed = base.header.feed
        self.epoch = base.header.epoch
        self.number = base.header.number
        self.issue_number = base.header.issue_number
        self.contents = contents
        self.base = base
        # The base's own set and the contents' own list, not copies: the look-up saves two attribute loads each.
        self._unchecked = base.unchecked
        self._profiles = contents.profiles
        self._rows: memoryview | array[int] = base.rows
        self._count = len(base.rows)
        self._overlay: dict[int, int] = {}
        self._cards = self._count
        self.state_changes = 0
        """Changes of the state behind limits that were applied since the base."""

    def lookup(self, index: int, tag: int) -> Found | None:
        """State and profile of the card with this index and tag; None if the feed has no such card.

        Raises:
            CacheFileError, FeedError: the row lies in a damaged part of the file, or names a profile that does not
                exist; nothing of this cache may be believed.
        """
        if index in self._overlay:
            row = self._overlay[index]
        elif index < self._count:
            if self._unchecked:
                self.base.check_block(index >> BLOCK_SHIFT)
            row = self._rows[index]
        else:
            return None
        if row >> 32 != tag:
            return None
        state = STATES[row & 0xF]
        if state is None:
            return None
        try:
            return state, self._profiles[row >> 8 & MAX_PROFILE]
        except IndexError:
            problem = f"the row of card {index} names a profile that does not exist"
        raise FeedError(self.feed, problem)

    @property
    def cards(self) -> int:
        """Rows there are, empty ones included."""
        return self._cards

    @property
    def overlay_rows(self) -> int:
        """Rows that were changed since the base."""
        return len(self._overlay)

    async def apply(self, changes: Sequence[AnyChange]) -> None:
        """Apply changes that follow ``number`` without a gap, giving way to decisions after each slice.

        Raises:
            FeedError: a change is not the next one, or cannot be read; those before it are applied.
        """
        for position, change in enumerate(changes):
            self.apply_one(change)
            if position % SLICE == SLICE - 1:
                await asyncio.sleep(0)

    def apply_one(self, change: AnyChange) -> None:
        """Apply the next change. Raises as :meth:`apply`."""
        if change.n != self.number + 1:
            raise FeedError(self.feed, f"change {change.n} does not follow {self.number}")
        contents = self.contents
        if isinstance(change, CardChange):
            if not 0 <= change.index < self._cards + MAX_INDEX_LEAP:
                raise FeedError(self.feed, f"change {change.n} is of card {change.index}, far beyond {self._cards}")
            try:
                profile = contents.number_of(Profile.from_wire(change.profile))
                self._overlay[change.index] = pack_row(tag=change.tag, profile=profile, state=change.state)
            except (msgspec.ValidationError, ValueError) as error:
                raise FeedError(self.feed, f"change {change.n} cannot be read: {error}") from error
            self._cards = max(self._cards, change.index + 1)
        elif isinstance(change, ServiceChange):
            entry = ServiceEntry(version=change.version, document=change.document)
            contents.services[str(change.document.get("id"))] = entry
        elif isinstance(change, ServiceWithdrawn):
            contents.services.pop(change.service, None)
        elif isinstance(change, WorldChange):
            contents.world = change.world
        elif isinstance(change, KeysChange):
            contents.keys = change.keys
        elif isinstance(change, HorizonChange):
            contents.horizon = change.horizon
        else:
            try:
                self.state_changes += contents.holdings.take(change)
            except ValueError as error:
                raise FeedError(self.feed, f"change {change.n} cannot be read: {error}") from error
        self.number = change.n
        self.issue_number = max(self.issue_number, change.tn)

    @property
    def wants_compaction(self) -> bool:
        """Whether a new base file is worth writing."""
        enough = max(COMPACT_ROWS, self._count // COMPACT_SHARE)
        return len(self._overlay) > enough or self.state_changes > enough

    @property
    def wants_snapshot(self) -> bool:
        """Whether so many profiles or ledger entries have come that a fresh snapshot is worth its transfer."""
        contents, holdings = self.contents, self.contents.holdings
        return (
            len(contents.profiles) - contents.profiles_at_base > MAX_PROFILE_GROWTH
            or holdings.units.count - holdings.units_at_base > MAX_STATE_GROWTH
        )

    def overlay(self) -> dict[int, int]:
        """A copy of the rows changed since the base."""
        return dict(self._overlay)

    def swap_base(self, base: BaseFile, folded: dict[int, int], *, state_changes: int = 0) -> None:
        """Go over to a base into which ``folded`` (an earlier :meth:`overlay`) and so many changes were written."""
        self.state_changes -= state_changes
        self._overlay = {index: row for index, row in self._overlay.items() if folded.get(index) != row}
        self.base, self._unchecked = base, base.unchecked
        self._rows, self._count = base.rows, len(base.rows)
