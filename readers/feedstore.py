"""The files of one feed: opening the base, taking in a snapshot, writing a new base, setting a damaged one aside."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from entitlements.wire.feed import Manifest
from entitlements.wire.rows import ROW_BYTES
from readers.basefile import BLOCK_BYTES, BLOCK_SHIFT, BaseFile, block_count, digest_block, write_base
from readers.cache import FeedCache
from readers.contents import read_contents, write_contents
from readers.errors import CacheFileError, FeedError, SnapshotRefusedError
from readers.files import sync_folder
from readers.journal import Journal

KEPT_DAMAGED: Final = 2
"""Damaged base files kept for whoever looks into the disk; the oldest go."""

_log = structlog.get_logger(__name__)


class FeedStore:
    """The folder of one feed. ``tenant/area`` becomes ``tenant~area`` on disk."""

    def __init__(self, folder: Path, feed: str, journal: Journal) -> None:
        self.feed = feed
        self.folder = folder / feed.replace("/", "~")
        self._journal = journal

    @property
    def path(self) -> Path:
        """The base file."""
        return self.folder / "base.rdb"

    async def open(self) -> FeedCache | None:
        """The cache as it was when the process ended: base and journal. None if there is none that can be trusted."""
        await asyncio.to_thread(self.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        if not await asyncio.to_thread(self.path.exists):
            return None
        try:
            cache = await asyncio.to_thread(self._open_base)
        except (CacheFileError, FeedError) as error:
            await self.set_aside(str(error))
            return None
        try:
            await cache.apply(await self._journal.changes_after(self.feed, cache.epoch, cache.number))
        except FeedError as error:
            _log.error("the journal is of no use from here on; what is missing will be fetched", problem=str(error))
        _log.info("the cache was opened from disk", feed=self.feed, number=cache.number, cards=cache.cards)
        return cache

    def _open_base(self) -> FeedCache:
        base = BaseFile(self.path, feed=self.feed)
        return FeedCache(base, read_contents(base.meta, feed=self.feed))

    async def take_snapshot(self, manifest: Manifest, meta: bytes, rows: Path) -> FeedCache:
        """Make a snapshot's checked parts the base and open it. ``rows`` is the file of the rows part.

        Raises:
            UnknownFormatError, SnapshotRefusedError: the meta part cannot be used; the old base is untouched.
            OSError: it could not be written; the old base is untouched.
        """
        contents = await asyncio.to_thread(read_contents, meta, feed=self.feed)
        await asyncio.to_thread(self._write_snapshot, manifest, meta, rows)
        base = await asyncio.to_thread(BaseFile, self.path, feed=self.feed)
        await self._journal.forget_changes(self.feed, manifest.epoch, manifest.number)
        return FeedCache(base, contents)

    def _write_snapshot(self, manifest: Manifest, meta: bytes, rows: Path) -> None:
        with rows.open("rb") as file:
            octets = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if manifest.rows.content.size else b""
            digests = b"".join(digest_block(piece) for piece in _pieces(octets))
            # The part was checked while it came in; this is for the disk between then and now.
            whole = hashlib.sha256(octets).hexdigest()
            if whole != manifest.rows.content.sha256:
                raise SnapshotRefusedError(self.feed, "the rows changed on disk while they were taken in")
            write_base(
                self.path,
                feed=self.feed,
                epoch=manifest.epoch,
                number=manifest.number,
                issue_number=manifest.issue_number,
                created_at=manifest.created_at,
                meta=meta,
                rows=len(octets) // ROW_BYTES,
                digests=digests,
                blocks=_pieces(octets),
            )

    async def compact(self, cache: FeedCache) -> None:
        """Write base and overlay as a new base and go over to it; decisions go on meanwhile.

        Raises:
            CacheFileError: the old base turned out to be damaged.
            OSError, DatabaseFaultError: the old base and the journal still hold everything.
        """
        folded, number, issue_number, cards = cache.overlay(), cache.number, cache.issue_number, cache.cards
        contents = cache.contents
        profiles, services = contents.profiles.copy(), list(contents.services.values())
        world, keys, horizon, old = contents.world, contents.keys, contents.horizon, cache.base
        state_changes = cache.state_changes

        def write() -> BaseFile:
            # Copied here, table by table: all at once in the event loop would keep the gates waiting. What is applied
            # meanwhile may be in the copy: the journal holds it as well, and applied twice it does no harm.
            holdings = contents.holdings.copy()
            meta = write_contents(profiles, services, world=world, keys=keys, horizon=horizon, holdings=holdings)
            patched = _patch(old, folded, cards)
            count = block_count(cards)
            digests = bytearray(old.header.digests[: 32 * count].ljust(32 * count, b"\0"))
            for block, octets in patched.items():
                digests[32 * block : 32 * block + 32] = digest_block(octets)
            write_base(
                self.path,
                feed=self.feed,
                epoch=cache.epoch,
                number=number,
                issue_number=issue_number,
                created_at=old.header.created_at,
                meta=meta,
                rows=cards,
                digests=bytes(digests),
                blocks=_merged(old, patched, count),
            )
            return BaseFile(self.path, feed=self.feed)

        base = await asyncio.to_thread(write)
        cache.swap_base(base, folded, state_changes=state_changes)
        await self._journal.forget_changes(self.feed, cache.epoch, number)
        _log.info("a new base was written", feed=self.feed, number=number, rows=cards, folded=len(folded))

    async def set_aside(self, problem: str) -> None:
        """Keep a damaged base under another name, so that it is never opened again. A snapshot rebuilds it."""
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns() // 1_000_000}")
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


def _pieces(octets: mmap.mmap | bytes) -> Iterator[bytes]:
    for start in range(0, len(octets), BLOCK_BYTES):
        yield octets[start : start + BLOCK_BYTES]


def _patch(old: BaseFile, folded: dict[int, int], cards: int) -> dict[int, bytes]:
    """The blocks that differ from the old base: those with changed rows and those that grew."""
    old_rows, old_count = old.header.rows, block_count(old.header.rows)
    touched = {index >> BLOCK_SHIFT for index in folded}
    if cards > old_rows:
        touched.update(range(max(old_rows >> BLOCK_SHIFT, 0), block_count(cards)))
    patched: dict[int, bytearray] = {}
    for block in touched:
        octets = b""
        if block < old_count:
            old.check_block(block)
            octets = old.block(block)
        size = min(BLOCK_BYTES, cards * ROW_BYTES - block * BLOCK_BYTES)
        patched[block] = bytearray(octets.ljust(size, b"\0"))
    mask = (1 << BLOCK_SHIFT) - 1
    for index, row in folded.items():
        start = (index & mask) * ROW_BYTES
        patched[index >> BLOCK_SHIFT][start : start + ROW_BYTES] = row.to_bytes(ROW_BYTES, "little")
    return {block: bytes(octets) for block, octets in patched.items()}


def _merged(old: BaseFile, patched: dict[int, bytes], count: int) -> Iterator[bytes]:
    for block in range(count):
        octets = patched.get(block)
        if octets is None:
            old.check_block(block)
            octets = old.block(block)
        yield octets
