"""The entitlement cache of one feed in memory: mapped rows, the changes since over them, and what they refer to.

The look-up is the hot path of the gate: plain, synchronous, without lock or await. Everything runs in the event loop's
thread; what is slow (reading, writing, hashing) happens on copies in threads and is swapped in by one assignment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from typing import Final, Self

import msgspec

from entitlements.model import CardState
from entitlements.profile import Profile
from entitlements.wire.feed import (
    CardChange,
    HorizonChange,
    KeysChange,
    ServiceChange,
    ServiceEntry,
    ServiceWithdrawn,
    WorldChange,
)
from entitlements.wire.rows import STATES, pack_row, unpack_row
from readers.basefile import BaseFile
from readers.breath import Turns
from readers.changes import AnyChange, CardRow
from readers.contents import Contents
from readers.errors import FeedError
from readers.profiles import Added, ProfileTable

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

SHARDS: Final = 256
"""Dicts of an overlay, a power of two; each holds the rows whose index ends in its number."""
_SHARD: Final = SHARDS - 1

MAX_KNOWN: Final = 65_536
"""Profiles whose number is known by their JSON, some 200 octets each: more than a feed has, as numbers of no more use
go with the next snapshot.
"""

Found = tuple[CardState, Profile]


class Overlay(tuple[dict[int, int], ...]):
    """Changed rows by card index, in many small dicts: one of 50,000 rows would keep decisions waiting for a
    millisecond each time that it grows, and once more when it is let go.
    """

    __slots__ = ()

    def __new__(cls) -> Self:
        """An empty one."""
        return super().__new__(cls, [{} for _ in range(SHARDS)])

    @property
    def size(self) -> int:
        """Rows there are."""
        return sum(map(len, self))

    def rows(self) -> Iterator[tuple[int, int]]:
        """Index and row of each."""
        return chain.from_iterable(shard.items() for shard in self)


class _Numbers:
    """Numbers of profiles by the digest of their JSON (BLAKE2b, RFC 7693): reading one and finding its record takes 20
    us, some ten times what all else of a change takes, and in bulk the same come again and again.
    """

    __slots__ = ("_known", "profiles")

    def __init__(self, profiles: ProfileTable) -> None:
        self.profiles = profiles
        """Where they are; a table of another base has the same numbers."""
        self._known: dict[bytes, int] = {}

    def of(self, body: bytes) -> int:
        """The number of the profile of this JSON, a new one if it was not seen before.

        Raises:
            msgspec.DecodeError, ValueError: it is not one.
        """
        digest = blake2b(body, digest_size=16).digest()
        known = self._known.get(digest)
        if known is None:
            known = self.profiles.number_of(Profile.from_wire(msgspec.json.decode(body)))
            if len(self._known) >= MAX_KNOWN:
                self._known = {}
            self._known[digest] = known
        return known


class FeedCache:
    """Rows, contents and number of one feed. ``number`` and ``issue_number`` are those of the last change applied."""

    def __init__(self, base: BaseFile, contents: Contents) -> None:
        self.feed = base.header.feed
        self.epoch = base.header.epoch
        self.number = base.header.number
        self.issue_number = base.header.issue_number
        self.at = base.header.last_at
        """When change ``number`` was written (ms); by it the service sees that it means the same one. 0: not known."""
        self.contents = contents
        self._overlay = Overlay()
        self._folding: Overlay | None = None
        """An overlay that is being written into a new base; nothing is added to it any more."""
        self._cards = base.header.rows
        self.state_changes = 0
        """Changes of the state behind limits that were applied since the base."""
        self._numbers = _Numbers(contents.profiles)
        self._take_base(base)

    def _take_base(self, base: BaseFile) -> None:
        self.base = base
        # The base's own views, not looked up there each time. Empty until all of it is checked, and while folding: what
        # is rare is asked for only where these find nothing.
        self._tags, self._lows = base.tags, base.lows
        self._count = base.header.rows
        self._profiles = self.contents.profiles
        self._numbers.profiles = self._profiles

    def find(self, index: int, tag: int) -> tuple[CardState, int] | None:
        """State and profile number of the card with this index and tag; None if the feed has no such card.

        Raises:
            CacheFileError: the row lies in a damaged part of the file; nothing of this cache may be believed.
        """
        changed = self._overlay[index & _SHARD]
        if index in changed:
            return _unpacked(changed[index], tag)
        try:
            if self._tags[index] != tag:
                return None
            low = self._lows[index]
        except IndexError:
            return self._find_slowly(index, tag)
        state = STATES[low & 0xF]
        return None if state is None else (state, low >> 8)

    def _find_slowly(self, index: int, tag: int) -> tuple[CardState, int] | None:
        """The same where there is no such row, while not all of the file is checked, and while a new one is written."""
        if self._folding is not None and index in (folding := self._folding[index & _SHARD]):
            return _unpacked(folding[index], tag)
        if not 0 <= index < self._count:
            return None
        row = self.base.row(index)
        if self._folding is None:
            self._tags, self._lows = self.base.tags, self.base.lows
        return _unpacked(row, tag)

    def lookup(self, index: int, tag: int) -> Found | None:
        """State and profile of the card with this index and tag; None if the feed has no such card.

        Raises:
            CacheFileError, FeedError: the row or its profile lies in a damaged part of the file, or the profile does
                not exist; nothing of this cache may be believed.
        """
        found = self.find(index, tag)
        if found is None:
            return None
        state, number = found
        try:
            return state, self._profiles[number]
        except (LookupError, msgspec.DecodeError, ValueError) as error:
            problem = f"the row of card {index} names a profile that does not exist or cannot be read: {error}"
            raise FeedError(self.feed, problem) from error

    @property
    def cards(self) -> int:
        """Rows there are, empty ones included."""
        return self._cards

    @property
    def overlay_rows(self) -> int:
        """Rows that were changed since the base."""
        return self._overlay.size + (0 if self._folding is None else self._folding.size)

    async def apply(self, changes: Sequence[AnyChange]) -> None:
        """Apply changes that follow ``number`` without a gap, giving way to decisions after each slice.

        Raises:
            FeedError: a change is not the next one, or cannot be read; those before it are applied.
        """
        turns = Turns()
        for change in changes:
            self.apply_one(change)
            if turns.over():
                await turns.give()

    def apply_one(self, change: AnyChange) -> None:
        """Apply the next change. Raises as :meth:`apply`."""
        if change.n != self.number + 1:
            raise FeedError(self.feed, f"change {change.n} does not follow {self.number}")
        contents = self.contents
        if isinstance(change, CardRow | CardChange):
            if not 0 <= change.index < self._cards + MAX_INDEX_LEAP:
                raise FeedError(self.feed, f"change {change.n} is of card {change.index}, far beyond {self._cards}")
            try:
                profile = self._profile_of(change)
                row = pack_row(tag=change.tag, profile=profile, state=change.state)
                self._overlay[change.index & _SHARD][change.index] = row
            except (msgspec.DecodeError, ValueError) as error:
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
        self.number, self.at = change.n, change.at
        self.issue_number = max(self.issue_number, change.tn)

    def _profile_of(self, change: CardRow | CardChange) -> int:
        if isinstance(change, CardRow):
            return self._numbers.of(bytes(change.profile))
        return self.contents.profiles.number_of(Profile.from_wire(change.profile))

    @property
    def wants_compaction(self) -> bool:
        """Whether a new base file is worth writing."""
        enough = max(COMPACT_ROWS, self._count // COMPACT_SHARE)
        return self._overlay.size > enough or self.state_changes > enough

    @property
    def wants_snapshot(self) -> bool:
        """Whether so many profiles or ledger entries have come that a fresh snapshot is worth its transfer."""
        contents, holdings = self.contents, self.contents.holdings
        return (
            contents.profiles.count - contents.profiles_at_base > MAX_PROFILE_GROWTH
            or holdings.units.count - holdings.units_at_base > MAX_STATE_GROWTH
        )

    def fold(self) -> Overlay:
        """The rows changed since the base, for a new base; changes from now on are kept apart from them."""
        self.unfold()
        self._folding, self._overlay = self._overlay, Overlay()
        self._tags = self._lows = self.base.tags[:0]
        return self._folding

    def unfold(self) -> None:
        """Take back a :meth:`fold` from which no base came."""
        if self._folding is None:
            return
        # Into a new one: a thread may still be writing what was folded.
        whole = Overlay()
        for shard, older, younger in zip(whole, self._folding, self._overlay, strict=True):
            shard.update(older)
            shard.update(younger)
        self._overlay, self._folding = whole, None

    def swap_base(self, base: BaseFile, folded: Added, *, state_changes: int = 0) -> None:
        """Go over to a base into which the rows of :meth:`fold`, the profiles ``folded`` and so many changes went."""
        self.state_changes -= state_changes
        profiles = ProfileTable(base.profiles)
        profiles.adopt(self.contents.profiles, folded)
        self.contents.profiles = profiles
        self._folding = None
        self._take_base(base)


def _unpacked(row: int, tag: int) -> tuple[CardState, int] | None:
    of_card, profile, state = unpack_row(row)
    return None if of_card != tag or state is None else (state, profile)
