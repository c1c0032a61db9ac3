"""A damaged cache file: whatever happened to it, a gate notices before it believes a single octet of what is wrong."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from entitlements.model import CardState, Instant, ServiceId
from entitlements.profile import Profile, Segment, Verdict
from entitlements.wire.feed import FeedWorld, Horizon, ServiceEntry
from entitlements.wire.rows import pack_row
from readers.basefile import BLOCK_BYTES, PREFIX, BaseFile, digest_block, write_base
from readers.cache import FeedCache, Found
from readers.contents import write_contents
from readers.errors import CacheFileError, FeedError
from readers.feedstore import FeedStore, open_cache
from readers.journal import Journal
from readers.profiles import pack_profiles
from tests.unit.readers.kit.council import GYM

FEED: Final = "wcc/leisure"
CARDS: Final = 20_000
"""Three blocks of rows, the last not full."""
PROFILES: Final = [
    Profile(
        grants=[
            (ServiceId(f"wcc.leisure.s{number % 7}"), (Segment(None, Instant(number), Verdict.ELIGIBLE, "adult", 290),))
        ],
        prerequisites=[("induction", (f"site-{number % 40}",))],
    )
    for number in range(3000)
]
"""Enough for three blocks of the profiles part."""


class Sound:
    """A file as it was written, and the truth: what each card is. No dataclass, which a failure would print whole."""

    def __init__(self, octets: bytes, cards: dict[int, tuple[int, Found]], rows_start: int) -> None:
        self.octets, self.cards, self.rows_start = octets, cards, rows_start


def make(path: Path, *, feed: str = FEED, seed: int = 1, number: int = 7) -> Sound:
    dice = random.Random(seed)
    rows, cards = bytearray(8 * CARDS), {}
    for index in range(CARDS):
        if dice.random() < 0.9:
            tag, profile, state = dice.getrandbits(32), dice.randrange(len(PROFILES)), dice.choice(list(CardState))
            rows[8 * index : 8 * index + 8] = pack_row(tag=tag, profile=profile, state=state).to_bytes(8, "little")
            cards[index] = (tag, (state, PROFILES[profile]))
    blocks = [bytes(rows[start : start + BLOCK_BYTES]) for start in range(0, len(rows), BLOCK_BYTES)]
    meta = write_contents(
        [ServiceEntry(version=1, document=GYM)],
        world=FeedWorld(world={"schema": "rescard.world/1", "tenants": {}}, sites={}),
        keys={"keys": []},
        horizon=Horizon(begins=0, ends=1),
    )
    write_base(
        path, feed=feed, epoch="e1", number=number, issue_number=1, created_at=1, meta=meta,
        profiles=pack_profiles(PROFILES), rows=CARDS, digests=b"".join(map(digest_block, blocks)), blocks=blocks,
    )  # fmt: skip
    octets = path.read_bytes()
    return Sound(octets, cards, len(octets) - len(rows))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def sound(folder: Path) -> Sound:
    return make(folder / "sound")


@pytest.fixture(scope="module")
def another(folder: Path) -> Sound:
    """A later base of the same feed, of the same size, with other cards."""
    return make(folder / "another", seed=2, number=8)


def noticed(path: Path, sound: Sound, asked: list[int]) -> str:
    """Ask for cards and check the rest, as a reader does; every answer on the way must be the truth.

    Returns:
        When the damage was noticed: opening, asking, checking, or never.
    """
    try:
        cache = open_cache(path, FEED)
    except CacheFileError:
        return "opening"
    try:
        for index in asked:
            tag, truth = sound.cards.get(index, (0, None))
            assert cache.lookup(index, tag) == truth, f"card {index} is believed to be something else"
    except CacheFileError:
        return "asking"
    try:
        cache.base.verify_all()
    except CacheFileError:
        return "checking"
    return "never"


Damage = Callable[[bytes, bytes], bytes]
"""What became of a file, given the file and a later one of the same size."""


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, Damage]:
    """Anything a disk, a power cut or a slip of the hand does to a file; places and lengths in shares of its size."""
    share = st.floats(0, 1, exclude_max=True)
    kind = draw(st.sampled_from(["flip", "flips", "cut", "zeros", "hole", "half", "swap", "twice", "more"]))
    one, two, bit = draw(share), draw(share), draw(st.integers(0, 7))
    unit = draw(st.sampled_from([8, 512, 4096, BLOCK_BYTES]))

    def damage(octets: bytes, later: bytes) -> bytes:
        size = len(octets)
        at, to = int(one * size), int(two * size)
        first, second = at // unit * unit, to // unit * unit
        made = bytearray(octets)
        match kind:
            case "flip":
                made[at] ^= 1 << bit
            case "flips":
                made[at] ^= 1 << bit
                made[to] ^= 1 << (bit ^ 1)
            case "cut":
                del made[at:]
            case "zeros":
                made[at:] = bytes(size - at)
            case "hole":
                made[first : first + unit] = bytes(min(unit, size - first))
            case "half":
                made[at:] = later[at:]
            case "swap":
                made[first : first + unit], made[second : second + unit] = (
                    octets[second : second + unit],
                    octets[first : first + unit],
                )
            case "twice":
                made[second : second + unit] = octets[first : first + unit]
            case "more":
                made += bytes([bit]) * (1 + unit)
        return bytes(made)

    return kind, damage


@settings(max_examples=250, deadline=None)
@given(damage=damages(), asked=st.lists(st.integers(0, CARDS + 10), max_size=12))
def test_no_damage_changes_an_answer_and_none_stays_unnoticed(
    folder: Path, sound: Sound, another: Sound, damage: tuple[str, Damage], asked: list[int]
) -> None:
    what, apply = damage
    octets = apply(sound.octets, another.octets)
    assume(octets != another.octets)  # that one is whole
    path = folder / "damaged"
    path.unlink(missing_ok=True)  # a new file: one cut short while the last example has it mapped would end the process
    path.write_bytes(octets)
    when = noticed(path, sound, asked)
    assert (when == "never") == (octets == sound.octets), f"{what}: noticed when {when}"


def test_a_flipped_bit_in_every_part_is_noticed_at_the_latest_when_it_is_used(folder: Path, sound: Sound) -> None:
    path = folder / "flipped"
    dice = random.Random(7)
    places = [*range(PREFIX.size), *dice.sample(range(len(sound.octets)), 150)]
    for place in places:
        path.write_bytes(sound.octets[:place] + bytes([sound.octets[place] ^ 0x10]) + sound.octets[place + 1 :])
        asked = []
        if place >= sound.rows_start:
            asked.append((place - sound.rows_start) // 8)
        when = noticed(path, sound, asked)
        assert when == "asking" if asked else when in {"opening", "checking"}


def test_a_file_torn_at_any_boundary_is_noticed_at_once(folder: Path, sound: Sound) -> None:
    path = folder / "torn"
    whole = sound.octets
    edges = {0, 1, PREFIX.size, sound.rows_start, len(whole)} | set(range(0, len(whole), BLOCK_BYTES))
    for length in sorted(at for edge in edges for at in (edge - 1, edge, edge + 1) if 0 <= at != len(whole)):
        path.write_bytes(whole[:length].ljust(length, b"\0"))
        with pytest.raises(CacheFileError):
            BaseFile(path, feed=FEED)


def test_a_file_of_another_version_or_feed_is_not_read(folder: Path, sound: Sound) -> None:
    path = folder / "other"
    path.write_bytes(sound.octets[:8] + (4).to_bytes(4, "little") + sound.octets[12:])
    with pytest.raises(CacheFileError, match="version 4"):
        BaseFile(path, feed=FEED)
    make(path, feed="wcc/care")
    with pytest.raises(CacheFileError, match="wcc/care"):
        BaseFile(path, feed=FEED)


def test_a_disk_that_cannot_read_a_block_is_damage_and_not_the_end_of_the_process(
    folder: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = sound.rows_start + BLOCK_BYTES
    really = os.pread

    def pread(file: int, size: int, at: int) -> bytes:
        if at <= bad < at + size:
            raise OSError(errno.EIO, "Input/output error")
        return really(file, size, at)

    index = next(index for index in sound.cards if index > BLOCK_BYTES // 8)
    cache = open_cache(folder / "sound", FEED)
    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(CacheFileError, match="cannot be read"):
        cache.lookup(index, sound.cards[index][0])
    assert cache.lookup(0, sound.cards[0][0]) == sound.cards[0][1] if 0 in sound.cards else True


def test_a_row_that_names_no_profile_is_a_fault_and_no_empty_right(tmp_path: Path) -> None:
    row = pack_row(tag=5, profile=9, state=CardState.ACTIVE).to_bytes(8, "little")
    path = tmp_path / "base"
    write_base(
        path, feed=FEED, epoch="e", number=1, issue_number=1, created_at=0, meta=[meta_of(path)], rows=1,
        profiles=pack_profiles([]), digests=digest_block(row), blocks=[row],
    )  # fmt: skip
    cache = open_cache(path, FEED)
    with pytest.raises(FeedError, match="profile"):
        cache.lookup(0, 5)


def meta_of(path: Path) -> bytes:
    make(path)
    return BaseFile(path, feed=FEED).meta


async def test_what_a_killed_writer_left_behind_is_cleared_away(journal: Journal, tmp_path: Path) -> None:
    store = FeedStore(tmp_path / "feeds", FEED, journal)
    assert await store.open() is None
    make(store.path)
    half = store.folder / f".{store.path.name}.4711.new"
    half.write_bytes(store.path.read_bytes()[:1000])
    cache: FeedCache | None = await store.open()
    assert cache is not None
    assert cache.number == 7
    assert not half.exists()
