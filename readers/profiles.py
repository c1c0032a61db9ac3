"""The profiles of one feed by number: packed in the base file, unpacked one by one when a card asks for one.

Three sets of records, one after the other: words (ids of services, sites and prerequisites, names of bands), runs (the
segments of one service, which many profiles share), and profiles, which name both by number. Runs and profiles are
MessagePack. So 14,000 profiles over ten services take some 50 octets each, and a cold start reads none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from entitlements.model import Instant, ServiceId
from entitlements.profile import Profile, Segment, Verdict
from readers.breath import Breath
from readers.records import Read, Records, pack, reader_of

KEPT: Final = 1024
"""Things kept unpacked in each of two generations. Most residents share few profiles: see :class:`Kept`."""

K = TypeVar("K")
V = TypeVar("V")
_Profile = tuple[tuple[int, ...], tuple[tuple[int, tuple[int, ...]], ...], tuple[int, ...]]


class _Row(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A segment; ``band`` is the number of its word."""

    start: int | None
    until: int | None
    verdict: Verdict
    band: int | None = None
    pence: int | None = None


_encode: Final = msgspec.msgpack.Encoder().encode
_run_decoder: msgspec.msgpack.Decoder[tuple[_Row, ...]] = msgspec.msgpack.Decoder(tuple[_Row, ...])
_profile_decoder: msgspec.msgpack.Decoder[_Profile] = msgspec.msgpack.Decoder(_Profile)


class Kept(dict[K, V], Generic[K, V]):
    """A dict that makes what it is asked for and remembers what was asked for lately, of bounded size.

    Two generations: when the younger is full it becomes the older, and what is asked for again moves to the younger.
    Near enough to "least recently used", and a hit costs a plain dict's hit.
    """

    __slots__ = ("_most", "_older")

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._older: dict[K, V] = {}

    def make(self, key: K) -> V:
        """What belongs to a key."""
        raise NotImplementedError

    def inherit(self, other: Kept[K, V]) -> None:
        """Hold what another one holds, whose things are the same."""
        self.update(other)
        self._older = other._older

    def __missing__(self, key: K) -> V:
        value = self._older[key] if key in self._older else self.make(key)
        if len(self) >= self._most:
            self._older = dict(self)
            self.clear()
        self[key] = value
        return value


class _Words(Kept[int, str]):
    __slots__ = ("_records",)

    def __init__(self, records: Records) -> None:
        super().__init__()
        self._records = records

    def make(self, key: int) -> str:
        return self._records[key].decode()


class _Runs(Kept[int, tuple[Segment, ...]]):
    __slots__ = ("_records", "_words")

    def __init__(self, records: Records, words: _Words) -> None:
        super().__init__()
        self._records, self._words = records, words

    def make(self, key: int) -> tuple[Segment, ...]:
        return tuple(self._segment(row) for row in _run_decoder.decode(self._records[key]))

    def _segment(self, row: _Row) -> Segment:
        return Segment(
            None if row.start is None else Instant(row.start),
            None if row.until is None else Instant(row.until),
            row.verdict,
            None if row.band is None else self._words[row.band],
            row.pence,
        )


class Added(NamedTuple):
    """Words, runs and profiles added since a base was written."""

    words: list[bytes]
    runs: list[bytes]
    profiles: list[bytes]


class ProfileTable(Kept[int, Profile]):
    """Profiles by number; equal ones have one number. Numbers stay as they are when a new base is written.

    ``table[number]`` raises LookupError, ValueError or DecodeError where there is no such profile, and CacheFileError
    where it is damaged.
    """

    __slots__ = ("_profiles", "_run", "_runs", "_word", "_word_numbers", "_words")

    def __init__(self, read: Read) -> None:
        super().__init__()
        self._words = Records(read, 0)
        self._runs = Records(read, self._words.end)
        self._profiles = Records(read, self._runs.end)
        self._word = _Words(self._words)
        self._run = _Runs(self._runs, self._word)
        self._word_numbers: dict[str, int] = {}

    @property
    def count(self) -> int:
        """Profiles there are; the numbers below it are theirs."""
        return len(self._profiles)

    def make(self, key: int) -> Profile:
        grants, prerequisites, blocks = _profile_decoder.decode(self._profiles[key])
        word, run = self._word, self._run
        return Profile(
            grants=[(ServiceId(word[grants[at]]), run[grants[at + 1]]) for at in range(0, len(grants), 2)],
            prerequisites=[(word[name], tuple([word[site] for site in sites])) for name, sites in prerequisites],
            blocks=[word[name] for name in blocks],
        )

    def number_of(self, profile: Profile) -> int:
        """The number of a profile, a new one if it was not seen before. Raises CacheFileError."""
        return self._profiles.number_of(self._record(profile))

    def append(self, profile: Profile) -> int:
        """Give a profile the next number, even one that has a number already."""
        return self._profiles.append(self._record(profile))

    def _record(self, profile: Profile) -> bytes:
        word = self._number_of_word
        grants: list[int] = []
        for name, segments in profile.grants:
            grants += word(name), self._runs.number_of(_encode([self._row(segment) for segment in segments]))
        prerequisites = [(word(name), list(map(word, sites))) for name, sites in profile.prerequisites]
        return _encode((grants, prerequisites, list(map(word, profile.blocks))))

    @property
    def added(self) -> Added:
        """What was added since the part was made, as it is now."""
        # The profiles first: whatever they name is then among the others, even if this is asked for in a thread.
        profiles, runs, words = self._profiles.added, self._runs.added, self._words.added
        return Added(words, runs, profiles)

    def adopt(self, other: ProfileTable, folded: Added) -> None:
        """Take over from another table of the same numbers: what it added after ``folded``, which this one has in its
        part, and what it holds unpacked, which would cost as much to let go as to unpack again.
        """
        for mine, theirs, known in zip((self._words, self._runs, self._profiles), other.added, folded, strict=True):
            for record in theirs[len(known) :]:
                mine.number_of(record)
        self.inherit(other)
        self._run.inherit(other._run)
        self._word.inherit(other._word)

    def packed(self, added: Added) -> bytes:
        """The part with what was added. Meant for a thread. Raises CacheFileError."""
        sets = zip((self._words, self._runs, self._profiles), added, strict=True)
        return b"".join(pack(more, records.packed()) for records, more in sets)

    def _number_of_word(self, word: str) -> int:
        known = self._word_numbers.get(word)
        if known is None:
            known = self._word_numbers[word] = self._words.number_of(word.encode())
        return known

    def _row(self, segment: Segment) -> _Row:
        band = None if segment.band is None else self._number_of_word(segment.band)
        return _Row(segment.start, segment.until, segment.verdict, band, segment.pence)


def empty_table() -> ProfileTable:
    """A table without profiles, in memory."""
    return ProfileTable(reader_of(pack(()) * 3))


def pack_profiles(profiles: Iterable[Profile]) -> bytes:
    """The part for these profiles, which get the numbers 0, 1, 2... in this order. Meant for a thread.

    Raises:
        ValueError: there are too many.
    """
    table, breath = empty_table(), Breath()
    for profile in profiles:
        table.append(profile)
        breath.take()
    return table.packed(table.added)
