"""Pushes new changes to the streams of this process.

One pump reads what is new once and hands it to all streams. It is woken by this process (:meth:`Hub.wake`), by a hint
of another process through Valkey or the database (:mod:`cardservice.feed.outbox`), and by its own clock: a hint lost
costs ``poll_seconds``, never a change. It goes on by itself when the database has been away; meanwhile streams get no
beats, so that no reader believes itself up to date.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import structlog

from cardservice.db import ALL_TENANTS, DATABASE_AWAY, Connection, Database, queries
from cardservice.feed.channels import Channel
from cardservice.feed.outbox import Outbox
from cardservice.feed.subscription import Subscription
from cardservice.metrics import Metrics
from cardservice.settings import Settings
from cardservice.shared import Shared
from cardservice.tasks import end_tasks
from entitlements.wire.feed import Head, feed_name

HINTS: Final = "rescard:feed"
"""Valkey channel on which a process says that something committed; the message is its own name."""
LEAST_REST: Final = 0.003
"""Seconds between two reads of the database: changes that commit together travel together."""
MOST_REST: Final = 0.05
"""Seconds. The pump rests as long as its last round took, so a storm is coalesced, but no longer than this."""
PAGE: Final = 500
"""Changes read and pushed at once: a fifth of a stream's queue."""
RETRY_SECONDS: Final = 0.2
"""After a failure of the database."""

log = structlog.get_logger("feed.hub")


class Hub:
    """The streams of this process. Made and opened by ``cardservice.app``."""

    def __init__(self, db: Database, settings: Settings, metrics: Metrics, shared: Shared) -> None:
        self._db = db
        self._settings = settings
        self._metrics = metrics
        self._shared = shared
        self._name = uuid.uuid4().hex
        self.outbox = Outbox(settings.database_url, heard=self._due_now, carried=lambda: shared.carries(HINTS))
        self._channels: dict[str, Channel] = {}
        self._subscriptions: set[Subscription] = set()
        self._due = asyncio.Event()
        self._untold = asyncio.Event()
        self._read_at = time.monotonic()
        self._checked_at = time.monotonic()
        self._away = False
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Start the pump and the hints."""
        for work in (self._pump(), self._tell_others(), self._hear_others()):
            self._tasks.append(asyncio.create_task(work))
        await self.outbox.open()

    async def close(self) -> None:
        """End all streams and stop."""
        self.end_streams()
        await self.outbox.close()
        await end_tasks(*self._tasks)
        self._tasks.clear()

    def wake(self) -> None:
        """Something committed: look at once, and tell the other processes."""
        self._due.set()
        self._untold.set()

    def end_streams(self) -> None:
        """Let every stream end; their readers connect again, to whichever process is there."""
        for subscription in self._subscriptions:
            subscription.end()

    def add(self, subscription: Subscription) -> None:
        """A stream was opened."""
        self._subscriptions.add(subscription)
        self._metrics.streams.set(len(self._subscriptions))

    def remove(self, subscription: Subscription) -> None:
        """A stream has ended."""
        self._subscriptions.discard(subscription)
        self._metrics.streams.set(len(self._subscriptions))
        for name, channel in list(self._channels.items()):
            channel.listeners.pop(subscription, None)
            if not channel.listeners:
                del self._channels[name]

    def join(self, subscription: Subscription, tenant: str, area: str, *, head: Head) -> bool:
        """Let a stream that has every change up to ``head.number`` get the following ones from the pump.

        Returns:
            False where the pump is already further: the stream reads on and tries again. There is no moment
            between the check and the joining, so no change is lost or comes twice.
        """
        name = feed_name(tenant, area)
        channel = self._channels.get(name)
        epoch = UUID(head.epoch)
        if channel is None:
            channel = Channel(tenant, area, epoch, head.number, head.issue_number)
            self._channels[name] = channel
        if channel.epoch != epoch or channel.number > head.number:
            self._due.set()
            return False
        channel.listeners[subscription] = head.number
        self._due.set()
        return True

    def heads(self, feeds: Iterable[str]) -> dict[str, Head] | None:
        """Where these feeds stand, or ``None`` when the database has not confirmed it within a beat."""
        if time.monotonic() - self._read_at > self._settings.stream_beat_seconds + self._settings.poll_seconds:
            return None
        return {name: channel.head for name in feeds if (channel := self._channels.get(name)) is not None}

    def _due_now(self) -> None:
        self._due.set()

    async def _pump(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.poll_seconds):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            started = time.monotonic()
            try:
                await self._round(started)
            except DATABASE_AWAY as error:
                if not self._away:
                    log.warning("the database is away; streams wait without beats", error=str(error))
                self._away = True
                self._due.set()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except Exception:  # the pump must outlive any single bad round
                log.exception("a round of the pump failed")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if self._away:
                log.info("the database is back; streams go on")
                self._away = False
            await asyncio.sleep(0)  # the loop writes what was pushed; that is part of what the round took
            rest = min(MOST_REST, max(LEAST_REST, time.monotonic() - started))
            await asyncio.sleep(rest)

    async def _round(self, started: float) -> None:
        if self._channels:
            async with self._db.transaction(ALL_TENANTS, read_only=True) as conn:
                await self._read(conn)
                if started - self._checked_at >= self._settings.stream_beat_seconds:
                    await self._end_lost(conn)
                    self._checked_at = started
        self._read_at = time.monotonic()

    async def _read(self, conn: Connection) -> None:
        wanted = dict(self._channels)
        heads = queries().feed.heads(
            conn,
            tenants=[channel.tenant for channel in wanted.values()],
            areas=[channel.area for channel in wanted.values()],
        )
        async for head in heads:
            channel = wanted[feed_name(head["tenant"], head["area"])]
            if head["epoch"] != channel.epoch or head["number"] < channel.number:
                log.warning("a feed began anew; its readers start over", feed=channel.name, number=head["number"])
                channel.restart(head["epoch"], head["number"])
            elif channel.last is None:
                # Its first listener came with what it read by itself.
                channel.last = await self._change(conn, channel)
            elif self._away and await self._change(conn, channel) not in (None, channel.last):
                self._fork(channel, head["number"])
            while channel.number < head["number"]:
                await self._read_page(conn, channel, head["number"])
            channel.issue_number = head["issue_number"]

    @staticmethod
    async def _change(conn: Connection, channel: Channel) -> bytes | None:
        """The change that was handed out last, as the database has it now; None where it keeps it no more."""
        body: bytes | None = await queries().feed.change(
            conn, tenant=channel.tenant, area=channel.area, number=channel.number
        )
        return body

    @staticmethod
    def _fork(channel: Channel, number: int) -> None:
        log.critical("the database has lost changes that readers have; they start over", feed=channel.name)
        channel.restart(channel.epoch, number)

    async def _read_page(self, conn: Connection, channel: Channel, upto: int) -> None:
        after = channel.number
        page = [
            row
            async for row in queries().feed.changes(
                conn, tenant=channel.tenant, area=channel.area, first=after, upto=upto, limit=PAGE + 1
            )
        ]
        if page and page[0]["number"] == after:
            before = page.pop(0)["body"]
            if channel.last not in (None, before):
                self._fork(channel, upto)
                return
        if not page or page[0]["number"] != after + 1:
            # Pruned, or the database was restored to an earlier time without a new epoch.
            channel.restart(channel.epoch, upto)
            return
        self._metrics.changes_pushed.inc(channel.deliver([row["body"] for row in page]))

    async def _end_lost(self, conn: Connection) -> None:
        """End streams of readers that are revoked or no longer enrolled for a feed."""
        held = [
            (listener.reader_id, channel.name) for channel in self._channels.values() for listener in channel.listeners
        ]
        lost = queries().feed.lost_readers(
            conn, readers=[reader for reader, _ in held], feeds=[feed for _, feed in held]
        )
        gone = {row["reader_id"] async for row in lost}
        for subscription in self._subscriptions:
            if subscription.reader_id in gone:
                log.warning("a stream ends: its reader may no longer listen", reader=str(subscription.reader_id))
                subscription.end()

    async def _tell_others(self) -> None:
        while True:
            await self._untold.wait()
            self._untold.clear()
            await self._shared.hint(HINTS, self._name)
            await asyncio.sleep(LEAST_REST)

    async def _hear_others(self) -> None:
        async for message in self._shared.hints(HINTS):
            if message != self._name:
                self._due.set()
