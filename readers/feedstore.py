"""The files of one feed: opening the base, taking in a snapshot, writing a new base, setting a damaged one aside."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import structlog

from entitlements.wire.feed import Manifest
from entitlements.wire.rows import ROW_BYTES
from readers.basefile import (
    BLOCK_BYTES,
    BLOCK_SHIFT,
    DIGEST_BYTES,
    BaseFile,
    block_count,
    digest_block,
    write_base,
)
from readers.breath import Breath, paced
from readers.cache import FeedCache, Overlay
from readers.contents import read_contents, write_contents
from readers.errors import CacheFileError, FeedError, SnapshotRefusedError
from readers.files import sync_folder
from readers.journal import Journal
from readers.profiles import ProfileTable

P = ParamSpec("P")
T = TypeVar("T")

KEPT_DAMAGED: Final = 2
"""Damaged base files kept for whoever looks into the disk; the oldest go."""

_log = structlog.get_logger(__name__)


class FeedStore:
    """The folder of one feed. ``tenant/area`` becomes ``tenant~area`` on disk."""

    def __init__(self, folder: Path, feed: str, journal: Journal) -> None:
        self.feed = feed
        self.folder = folder / feed.replace("/", "~")
        self._journal = journal
        self._writing = asyncio.Lock()
        """One base at a time: two would share a temporary file, and the older one might come last."""
        self._latest: FeedCache | None = None
        """Made from the base that is on disk."""

    @property
    def path(self) -> Path:
        """The base file."""
        return self.folder / "base.rdb"

    async def open(self) -> FeedCache | None:
        """The cache as it was when the process ended: base and journal. None if there is none that can be trusted."""
        await asyncio.to_thread(self._prepare)
        if not await asyncio.to_thread(self.path.exists):
            return None
        try:
            cache = await asyncio.to_thread(open_cache, self.path, self.feed, self._journal.key)
        except (CacheFileError, FeedError) as error:
            await self.set_aside(str(error))
            return None
        try:
            await cache.apply(await self._journal.changes_after(self.feed, cache.epoch, cache.number))
        except FeedError as error:
            _log.error("the journal is of no use from here on; what is missing will be fetched", problem=str(error))
        self._latest = cache
        _log.info("the cache was opened from disk", feed=self.feed, number=cache.number, cards=cache.cards)
        return cache

    def _prepare(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self.folder.glob(f".{self.path.name}.*.new"):  # by a process that was killed while it wrote
            left.unlink(missing_ok=True)

    async def take_snapshot(self, manifest: Manifest, meta: bytes, rows: Path) -> FeedCache:
        """Make a snapshot's checked parts the base and open it. ``rows`` is the file of the rows part.

        Raises:
            UnknownFormatError, SnapshotRefusedError: the meta part cannot be used; the old base is untouched.
            CacheFileError: what was written cannot be read back.
            OSError: it could not be written; the old base is untouched.
        """
        async with self._writing:
            cache = self._latest = await _to_the_end(self._take_snapshot, manifest, meta, rows)
            await self._journal.forget_changes(self.feed, manifest.epoch, manifest.number)
        return cache

    def _take_snapshot(self, manifest: Manifest, meta: bytes, rows: Path) -> FeedCache:
        contents = read_contents(meta, feed=self.feed)
        with rows.open("rb") as file:
            octets = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if manifest.rows.content.size else b""
        # The part was checked while it came in; this is for the disk between then and now.
        whole, digests = hashlib.sha256(), bytearray()
        for piece in _pieces(octets):
            whole.update(piece)
            digests += digest_block(piece)
        if whole.hexdigest() != manifest.rows.content.sha256:
            raise SnapshotRefusedError(self.feed, "the rows changed on disk while they were taken in")
        write_base(
            self.path,
            feed=self.feed,
            epoch=manifest.epoch,
            number=manifest.number,
            issue_number=manifest.issue_number,
            created_at=manifest.created_at,
            last_at=manifest.last_at,
            key=self._journal.key,
            meta=write_contents(
                list(contents.services.values()),
                world=contents.world,
                keys=contents.keys,
                horizon=contents.horizon,
                holdings=contents.holdings,
            ),
            profiles=contents.profiles.packed(contents.profiles.added),
            rows=len(octets) // ROW_BYTES,
            digests=bytes(digests),
            blocks=_pieces(octets),
        )
        base = BaseFile(self.path, feed=self.feed, key=self._journal.key)
        contents.profiles = ProfileTable(base.profiles)
        return FeedCache(base, contents)

    async def compact(self, cache: FeedCache) -> None:
        """Write base and overlay as a new base and go over to it; decisions go on meanwhile.

        Raises:
            CacheFileError: the old base turned out to be damaged.
            OSError, DatabaseFaultError: the old base and the journal still hold everything.
        """
        async with self._writing:
            if cache is self._latest:  # else a snapshot has taken its place meanwhile
                await self._compact(cache)

    async def _compact(self, cache: FeedCache) -> None:
        folded = cache.fold()
        number, issue_number, last_at, cards = cache.number, cache.issue_number, cache.at, cache.cards
        contents = cache.contents
        table, added, services = contents.profiles, contents.profiles.added, list(contents.services.values())
        world, keys, horizon, old = contents.world, contents.keys, contents.horizon, cache.base
        state_changes = cache.state_changes

        def write() -> BaseFile:
            # Copied here, table by table: all at once in the event loop would keep the gates waiting. What is applied
            # meanwhile may be in the copy: the journal holds it as well, and applied twice it does no harm.
            holdings = contents.holdings.copy()
            meta = write_contents(services, world=world, keys=keys, horizon=horizon, holdings=holdings)
            patched = _patch(old, folded, cards)
            count = block_count(cards * ROW_BYTES)
            digests = bytearray(old.row_digests()[: DIGEST_BYTES * count].ljust(DIGEST_BYTES * count, b"\0"))
            for block, octets in paced(patched.items()):
                digests[DIGEST_BYTES * block : DIGEST_BYTES * (block + 1)] = digest_block(octets)
            write_base(
                self.path,
                feed=self.feed,
                epoch=cache.epoch,
                number=number,
                issue_number=issue_number,
                created_at=old.header.created_at,
                last_at=last_at,
                key=self._journal.key,
                meta=meta,
                profiles=table.packed(added),
                rows=cards,
                digests=bytes(digests),
                blocks=_merged(old, patched, count),
            )
            made = BaseFile(self.path, feed=self.feed, key=self._journal.key)
            # Here and not at the first look-ups, which a gate would wait for.
            made.verify_all()
            return made

        try:
            base = await _to_the_end(write)
        except BaseException:
            cache.unfold()
            raise
        cache.swap_base(base, added, state_changes=state_changes)
        await self._journal.forget_changes(self.feed, cache.epoch, number)
        _log.info("a new base was written", feed=self.feed, number=number, rows=cards, folded=folded.size)
        await asyncio.to_thread(_let_go, folded)

    async def set_aside(self, problem: str) -> None:
        """Keep a damaged base under another name, so that it is never opened again. A snapshot rebuilds it."""
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns() // 1_000_000}")
        async with self._writing:
            self._latest = None
            await asyncio.to_thread(self._rename, aside)
        _log.error(
            "the cache file is damaged; it is set aside and will be rebuilt from a snapshot",
            feed=self.feed,
            problem=problem,
            kept=str(aside),
        )

    def _rename(self, aside: Path) -> None:
        if self.path.exists():
            self.path.rename(aside)
        for old in sorted(self.folder.glob(f"{self.path.name}.damaged-*"))[:-KEPT_DAMAGED]:
            old.unlink()
        sync_folder(self.folder)


async def _to_the_end(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread, whose end is waited for even by who is told to stop: until then it writes, and nobody else may."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    finally:
        if not running.done():
            await asyncio.wait([running])


def open_cache(path: Path, feed: str, key: bytes = b"") -> FeedCache:
    """Open a base file. Meant for a thread.

    Raises:
        CacheFileError: it is damaged.
        UnknownFormatError, SnapshotRefusedError: it is whole, but not of a form that this reader knows.
    """
    base = BaseFile(path, feed=feed, key=key)
    return FeedCache(base, read_contents(base.meta, feed=feed, profiles=ProfileTable(base.profiles)))


def _pieces(octets: mmap.mmap | bytes) -> Iterator[bytes]:
    for start in paced(range(0, len(octets), BLOCK_BYTES)):
        yield octets[start : start + BLOCK_BYTES]


def _patch(old: BaseFile, folded: Overlay, cards: int) -> dict[int, bytearray]:
    """The blocks that differ from the old base: those with changed rows and those that grew."""
    old_rows, old_count, breath = old.header.rows, block_count(old.header.rows * ROW_BYTES), Breath()
    patched: dict[int, bytearray] = {}

    def copied(block: int) -> bytearray:
        octets = old.check_block(block) if block < old_count else b""
        size = min(BLOCK_BYTES, cards * ROW_BYTES - block * BLOCK_BYTES)
        made = patched[block] = bytearray(octets.ljust(size, b"\0"))
        return made

    if cards > old_rows:
        for block in range(old_rows >> BLOCK_SHIFT, block_count(cards * ROW_BYTES)):
            copied(block)
            breath.take()
    mask = (1 << BLOCK_SHIFT) - 1
    for index, row in folded.rows():
        start, block = (index & mask) * ROW_BYTES, index >> BLOCK_SHIFT
        octets = patched[block] if block in patched else copied(block)
        octets[start : start + ROW_BYTES] = row.to_bytes(ROW_BYTES, "little")
        breath.take()
    return patched


def _let_go(folded: Overlay) -> None:
    """Empty what was folded, bit by bit: a thread that does it at once keeps the interpreter for a millisecond too."""
    for shard in paced(folded):
        shard.clear()


def _merged(old: BaseFile, patched: dict[int, bytearray], count: int) -> Iterator[bytes | bytearray]:
    for block in range(count):
        octets = patched.get(block)
        yield old.check_block(block) if octets is None else octets
