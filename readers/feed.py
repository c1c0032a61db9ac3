"""One feed while the daemon runs: its cache, what its documents compiled to, and how it is kept up to date."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from entitlements.wire.feed import Head, ServiceChange, ServiceWithdrawn, WorldChange
from readers.breath import Turns
from readers.cache import FeedCache, Found
from readers.catalogue import Catalogue
from readers.changes import AnyChange, decode_change
from readers.client import ServiceClient
from readers.clock import TrustedClock
from readers.errors import (
    CacheFileError,
    DatabaseFaultError,
    FeedError,
    SnapshotNeededError,
    SnapshotRefusedError,
    UnknownFormatError,
)
from readers.feedstore import FeedStore
from readers.journal import FeedNote, Journal
from readers.snapshots import Snapshots

PAGE: Final = 250
"""Changes asked for at once: reading a reply of so many takes 0.1 ms in one piece, and making a request 0.2 ms."""
MAX_CATCH_UP: Final = 50_000
"""Changes behind the head beyond which a snapshot is quicker than pulling them."""
MAX_PAGES: Final = 400
"""Requests of one pull: twice what the longest catch-up takes, so that a service in disorder cannot hold a reader."""
ONLINE_MS: Final = 30_000
"""A feed confirmed within this time counts as online: three polls, six beats."""
SNAPSHOT_AGAIN_SECONDS: Final = 60.0
"""Wait after a snapshot did not help against a change that cannot be read."""

_log = structlog.get_logger(__name__)


class Feed:
    """The state of one feed. All methods run in the event loop; applying is under one lock."""

    def __init__(
        self,
        name: str,
        *,
        store: FeedStore,
        journal: Journal,
        client: ServiceClient,
        snapshots: Snapshots,
        clock: TrustedClock,
        on_applied: Callable[[Feed], None],
    ) -> None:
        self.name = name
        self.tenant, _, self.area = name.partition("/")
        self.cache: FeedCache | None = None
        self.catalogue = Catalogue.empty(name)
        self.applied_at = 0
        self.confirmed_at = 0
        self.problem: str | None = None
        """Why the feed is not kept up to date although the service answers, in plain words."""
        self.hint = asyncio.Event()
        """Set when the feed should be pulled before its next poll."""
        self._store = store
        self._journal = journal
        self._client = client
        self._snapshots = snapshots
        self._clock = clock
        self._on_applied = on_applied
        self._lock = asyncio.Lock()
        self._pull: asyncio.Task[None] | None = None
        self._rebase = False
        self._damage: str | None = None
        self._gone = False
        self._forked = False
        """Some changes applied here are of a past that the service has lost: nothing follows on them."""
        self._snapshot_due = 0.0

    # -- what the gate asks --

    def lookup(self, index: int, tag: int) -> Found | None:
        """State and profile of a card; None if this feed has no such card or no data. Never raises.

        A damaged cache is dropped on the spot: nothing is decided from it, and the feed is rebuilt by a snapshot.
        """
        cache = self.cache
        if cache is None:
            return None
        try:
            return cache.lookup(index, tag)
        except (CacheFileError, FeedError) as error:
            self._drop(error)
            return None

    def age_seconds(self) -> int:
        """Seconds since the reader last knew that it had every change; a very large number if it never did."""
        return max(0, self._clock.now_ms() - self.confirmed_at) // 1000

    @property
    def online(self) -> bool:
        """Whether the feed was confirmed a moment ago."""
        return not self._forked and abs(self._clock.now_ms() - self.confirmed_at) < ONLINE_MS

    # -- life --

    async def open(self) -> None:
        """Open what is on disk."""
        self.cache = await self._store.open()
        if self.cache is None:
            return
        note = await self._journal.recall(self._note, FeedNote)
        if note is not None and note.epoch == self.cache.epoch:
            self.confirmed_at, self._forked = note.confirmed_at, note.forked
        await self._compile_all(self.cache)

    async def refresh(self) -> None:
        """Bring the feed up to date: snapshot if needed, then pull, then what maintenance is due.

        Raises:
            ServiceError, FeedError, DatabaseFaultError, OSError: what was good before is still in use.
        """
        if self._damage is not None:
            await self._store.set_aside(self._damage)
            self._damage = None
        if self.cache is None or self._forked or self.cache.wants_snapshot:
            await self.take_snapshot()
        await self.pull()
        await self._maintain()

    async def pull(self) -> None:
        """Pull changes until the head is reached; calls at the same time share one pull. Raises as refresh."""
        self._stop_if_gone()
        if self._pull is None or self._pull.done():
            self._pull = asyncio.create_task(self._pull_now(), name=f"pull {self.name}")
            # Whoever waits gets the exception; if all have given up by then, it has been heard all the same.
            self._pull.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shielded: a gate that gives up waiting must not stop a pull that others wait for.
        await asyncio.shield(self._pull)

    async def take(self, changes: Sequence[AnyChange]) -> bool:
        """Take changes of the stream; False if one is missing before them, so that a pull is needed."""
        async with self._lock:
            cache = self.cache
            if cache is None or self._forked:
                return False
            return await self._apply(cache, changes)

    def beat(self, head: Head) -> None:
        """The service says where the feed stands."""
        cache = self.cache
        if cache is None or (head.epoch, head.number) != (cache.epoch, cache.number):
            self.hint.set()  # behind us as well: it may be a beat that was under way, or a service that went back
        elif not self._forked:
            self._confirm()

    async def write_note(self) -> None:
        """Write down when the feed was last confirmed, so that a restart without network knows the age of its data.

        Raises:
            DatabaseFaultError: it could not be written.
        """
        if self.cache is not None:
            note = FeedNote(epoch=self.cache.epoch, confirmed_at=self.confirmed_at, forked=self._forked)
            await self._journal.keep(self._note, note)

    async def close(self) -> None:
        """End a pull that is under way: after the journal is closed it would apply what it could not write down."""
        if self._pull is not None and not self._pull.done():
            self._pull.cancel()
            await asyncio.wait([self._pull])

    def forget(self) -> None:
        """Drop everything from memory, for good: this reader was revoked or has other feeds now."""
        self._gone = True
        if self._pull is not None:
            self._pull.cancel()
        self.cache = None
        self.catalogue = Catalogue.empty(self.name)
        self.confirmed_at = 0

    async def take_snapshot(self) -> None:
        """Fetch a snapshot and go over to it. Raises as refresh."""
        since = self.cache.base.header.created_at if self.cache is not None and self._forked else None
        fetched = await self._snapshots.fetch(self.name, self._store.folder, since=since)
        manifest, old = fetched.manifest, self.cache
        # Within an epoch the number tells which is older; between epochs only the time of making can.
        if old is not None and (
            manifest.number < old.base.header.number
            if manifest.epoch == old.epoch and not self._forked
            else manifest.created_at < old.base.header.created_at
        ):
            raise SnapshotRefusedError(
                self.name,
                "the snapshot is older than the one in use"
                + (
                    ", and the service has lost changes that this reader has: its feed needs a new epoch" * self._forked
                ),
            )
        async with self._lock:
            if self._forked:
                await self._journal.forget_all_changes(self.name)
            fresh = await self._store.take_snapshot(manifest, fetched.meta, fetched.rows)
            await asyncio.to_thread(fetched.rows.unlink, missing_ok=True)
            # What came after the snapshot and was applied already must not be undone, not even for a moment.
            await fresh.apply(await self._journal.changes_after(self.name, fresh.epoch, fresh.number))
            await self._compile_all(fresh)
            self._stop_if_gone()
            self.cache, self._forked = fresh, False
        # The snapshot was whole when it was made: a gate cut off right after it knows how old its data is.
        known = self.confirmed_at if old is not None and old.epoch == fresh.epoch else 0
        self.confirmed_at = max(known, min(manifest.created_at, self._clock.now_ms()))
        self.problem = None
        self._rebase = False
        self._applied()  # before anything is awaited: the keys must be taken up with the rows
        await self.write_note()
        _log.info("a snapshot was taken", feed=self.name, number=fresh.number, cards=fresh.cards, epoch=fresh.epoch)

    # -- inside --

    @property
    def _note(self) -> str:
        return f"feed {self.name}"

    async def _pull_now(self) -> None:
        for _ in range(MAX_PAGES):
            cache = self.cache
            if cache is None or self._forked:
                await self.take_snapshot()
                continue
            try:
                page = await self._client.changes(
                    self.name, epoch=cache.epoch, after=cache.number, at=cache.at, limit=PAGE
                )
            except SnapshotNeededError as error:
                _log.info("the feed cannot be continued; a snapshot is taken", feed=self.name, because=error.code)
                await self._start_over(cache, error)
                continue
            if page.head.epoch != cache.epoch or page.head.number - cache.number > MAX_CATCH_UP:
                await self.take_snapshot()
                continue
            await self._take_page(cache, page.changes)
            await asyncio.sleep(0)
            if cache is self.cache and cache.number >= page.head.number:
                self._confirm()
                return
            if not page.changes:
                raise FeedError(
                    self.name, f"no change came after {cache.number} although the head is {page.head.number}"
                )
        raise FeedError(self.name, f"the head was not reached within {MAX_PAGES} requests")

    def _stop_if_gone(self) -> None:
        """Nothing is fetched anew after :meth:`forget`; a pull that was under way then is given up."""
        if self._gone:
            raise FeedError(self.name, "this reader does not hold it any more")

    async def _start_over(self, cache: FeedCache, error: SnapshotNeededError) -> None:
        """Take a snapshot because the service cannot tell what follows on the copy here."""
        if error.code == "feed_epoch" and error.epoch == cache.epoch:
            # Its database was restored to an earlier time: it does not have the number that we have, or has given it to
            # another change since.
            self._forked = True
            _log.critical(
                "the service has lost changes that this reader has; nothing is applied on them",
                feed=self.name,
                number=cache.number,
                head=error.number,
            )
            await self.write_note()
        await self.take_snapshot()

    async def _take_page(self, cache: FeedCache, raw: Sequence[msgspec.Raw]) -> None:
        changes: list[AnyChange] = []
        unknown: msgspec.DecodeError | None = None
        turns = Turns()
        await turns.give()  # reading the reply took long enough
        for item in raw:
            try:
                changes.append(decode_change(item))
            except msgspec.DecodeError as error:
                unknown = error
                break
            if turns.over():
                await turns.give()
        try:
            async with self._lock:
                if cache is self.cache and not await self._apply(cache, changes):
                    raise FeedError(self.name, f"the changes after {cache.number} do not begin with the next one")
            if unknown is not None:
                raise UnknownFormatError(
                    self.name, f"change {cache.number + 1} is not known to this version of the reader: {unknown}"
                )
        except FeedError as problem:
            await self._past(problem)

    async def _past(self, problem: FeedError) -> None:
        """A change cannot be read: a snapshot may lead past it; until then the last good data stays in use."""
        if self.problem is None:
            _log.error("the feed stands still: the last good data stays in use", feed=self.name, problem=str(problem))
        self.problem = str(problem)
        if time.monotonic() < self._snapshot_due:
            raise problem
        self._snapshot_due = time.monotonic() + SNAPSHOT_AGAIN_SECONDS
        await self.take_snapshot()

    async def _apply(self, cache: FeedCache, changes: Sequence[AnyChange]) -> bool:
        fresh = [change for change in changes if change.n > cache.number]
        if not fresh:
            return True
        if [change.n for change in fresh] != list(range(cache.number + 1, cache.number + 1 + len(fresh))):
            return False
        try:
            await self._journal.add_changes(self.name, cache.epoch, fresh)
        except DatabaseFaultError as error:
            # A revocation must take effect even if it cannot be written down; a new base makes up for it later.
            self._rebase = True
            _log.critical("changes could not be written to disk; they are applied all the same", problem=str(error))
        try:
            await cache.apply(fresh)
        finally:
            await self._compile_changed(cache, fresh)
            self._applied()
        return True

    async def _compile_changed(self, cache: FeedCache, changes: Sequence[AnyChange]) -> None:
        kinds = {type(change) for change in changes}
        if WorldChange in kinds:
            await self._compile_all(cache)
        elif not kinds.isdisjoint({ServiceChange, ServiceWithdrawn}):
            self._compile_services(changes)

    def _compile_services(self, changes: Sequence[AnyChange]) -> None:
        for change in changes:
            if isinstance(change, ServiceChange):
                self.catalogue.replace(str(change.document.get("id")), change.version, change.document)
            elif isinstance(change, ServiceWithdrawn):
                self.catalogue.withdraw(change.service)

    async def _compile_all(self, cache: FeedCache) -> None:
        contents = cache.contents
        services, world, before = list(contents.services.values()), contents.world, self.catalogue
        self.catalogue = await asyncio.to_thread(Catalogue.build, self.name, services, world, before)

    def _confirm(self) -> None:
        self.confirmed_at = self._clock.now_ms()
        self.problem = None

    def _applied(self) -> None:
        self.applied_at = self._clock.now_ms()
        self._on_applied(self)

    async def _maintain(self) -> None:
        cache = self.cache
        if cache is None:
            return
        await self.write_note()
        try:
            if cache.base.unchecked:
                await asyncio.to_thread(cache.base.verify_all)
            if cache.wants_compaction or self._rebase:
                await self._store.compact(cache)
                self._rebase = False
        except CacheFileError as error:
            if cache is self.cache:
                self._drop(error)

    def _drop(self, error: CacheFileError | FeedError) -> None:
        self.cache = None
        self.confirmed_at = 0
        self.problem = self._damage = str(error)
        self.hint.set()
        _log.error(
            "the cache is damaged; nothing is decided from it until it is rebuilt", feed=self.name, problem=str(error)
        )
