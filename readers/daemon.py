"""The daemon of one site: wiring, start, stop, and what happens when this reader is revoked."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack
from typing import Final

import msgspec
import structlog

from entitlements.credential.sitesecrets import SiteSecrets
from entitlements.model import SiteId
from entitlements.wire.feed import Site
from readers.background import SiteState
from readers.backoff import Backoff
from readers.client import ServiceClient
from readers.clock import KeptClock, TrustedClock
from readers.devices import DeviceMaker
from readers.errors import (
    DatabaseFaultError,
    IdentityError,
    NotEnrolledError,
    ReaderRevokedError,
    ServiceError,
    ServiceRefusedError,
    ServiceUnreachableError,
    SettingsError,
)
from readers.feed import Feed
from readers.feedstore import FeedStore
from readers.folder import own_folder
from readers.gate import Gate
from readers.health import Health
from readers.identifiers import TapIds
from readers.identity import FEEDS_FOLDER, Enrolment, Identity
from readers.journal import Journal
from readers.judgement import Place
from readers.lane import Lane
from readers.outbox import Outbox
from readers.own import OwnBook
from readers.pins import PinGuard
from readers.presence import PresenceBook
from readers.replay import ReplayBook
from readers.secrets import SecretsKeeper
from readers.settings import Settings
from readers.shared import Shared
from readers.snapshots import Snapshots
from readers.status import StatusReporter
from readers.sync import Synchroniser
from readers.uploader import Uploader

CLOCK_NOTE: Final = "clock"
KEEP_CLOCK_SECONDS: Final = 10.0
"""How often corrected time is written down: what a restart without network may be unsure of."""
ASSIGNMENT_SECONDS: Final = 60.0
"""How often the reader asks for its assignment; a world change in a feed tells it of its lanes sooner."""

_log = structlog.get_logger(__name__)


class Daemon:
    """All parts of a reader, wired. :meth:`run` does everything; a test may look at the parts while it runs."""

    def __init__(
        self, settings: Settings, *, maker: DeviceMaker | None = None, clock: TrustedClock | None = None
    ) -> None:
        self.settings = settings
        self.folder = settings.folder
        self.identity = Identity(self.folder)
        self.clock = clock or TrustedClock()
        self.client = ServiceClient(
            settings.service,
            self.identity,
            self.clock,
            timeout_seconds=settings.request_timeout_seconds,
            tls_ca=settings.tls_ca,
        )
        self.feeds: dict[str, Feed] = {}
        self.lanes: list[Lane] = []
        self.started = asyncio.Event()
        """Set when the lanes serve and health answers."""
        self.health_port = 0
        self._maker = maker
        self._feeds_changed = asyncio.Event()
        self._revoked = False

    async def run(self, stop: asyncio.Event, *, enrol_code: str | None = None) -> None:
        """Run until ``stop`` is set.

        Raises:
            NotEnrolledError: there is no identity and no code was given.
            ReaderError: it cannot start; the message says what to do.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(own_folder(self.folder))
            await stack.enter_async_context(self.client)
            enrolment = await self._enrolled(enrol_code)
            self.journal = Journal(self.folder, key=self.identity.cache_key)
            ran_before = self.journal.database.path.exists()
            await stack.enter_async_context(self.journal.database)
            self.outbox = Outbox(self.folder)
            await stack.enter_async_context(self.outbox.database)
            stack.callback(self.outbox.close)
            self.presence = PresenceBook(self.journal)
            self.own = OwnBook(self.journal)
            self.outbox.on_settled = self.own.settle
            self.replay = ReplayBook(self.journal, self.folder, self.clock)
            stack.callback(self.replay.close)
            self.pins = PinGuard(self.journal, self.clock)
            self.gate = Gate(self.feeds, self.clock, SiteState(self.presence, self.own, self.replay))
            self.secrets = SecretsKeeper(self.identity, self.client, self.folder, on_change=self._take_secrets)
            await self._load(ran_before=ran_before)
            shared = Shared(
                gate=self.gate,
                clock=self.clock,
                presence=self.presence,
                own=self.own,
                outbox=self.outbox,
                pins=self.pins,
                secrets=self.secrets,
                ids=TapIds(),
            )
            self.lanes = [Lane(lane, shared, on_event=self._poke, maker=self._maker) for lane in self.settings.lanes]
            self.status = StatusReporter(
                site=enrolment.site,
                feeds=self.feeds,
                lanes=self.lanes,
                clock=self.clock,
                outbox=self.outbox,
                client=self.client,
                every_seconds=self.settings.status_seconds,
            )
            self.uploader = Uploader(self.outbox, self.client, self.clock.now_ms)
            await self._open_feeds(enrolment.feeds)
            self.health = Health(
                folder=self.folder,
                port=self.settings.health_port,
                feeds=self.feeds,
                lanes=self.lanes,
                clock=self.clock,
                outbox=self.outbox,
                status=self.status,
                replay=self.replay,
                secrets=self.secrets,
            )
            try:
                await stack.enter_async_context(self.health)
            except OSError as error:
                raise SettingsError("health_port", f"cannot be opened: {error}") from error
            await self._serve(stop)

    # -- start --

    async def _enrolled(self, code: str | None) -> Enrolment:
        if self.identity.enrolment is None and code is not None:
            await self._enrol(code)
        enrolment = self.identity.enrolment
        if enrolment is None:
            raise NotEnrolledError(self.folder)
        _ = self.identity.key  # a key that cannot be used must stop the start, not the first request
        return enrolment

    async def _enrol(self, code: str) -> None:
        backoff = Backoff(first_seconds=0.5, most_seconds=15)
        while True:
            try:
                self.identity.accept(await self.client.enrol(code))
            except ServiceError as error:
                # A refused code will not get better; a service that is away or overrun will.
                if isinstance(error, ServiceRefusedError) and error.status < 500 and error.status != 429:
                    raise
                _log.warning("this reader cannot enrol yet; trying again", problem=str(error))
                await asyncio.sleep(backoff.next())
            else:
                _log.info("this reader is enrolled", folder=str(self.folder))
                return

    async def _load(self, *, ran_before: bool) -> None:
        if not self.clock.trusted and (kept := await self.journal.recall(CLOCK_NOTE, KeptClock)) is not None:
            self.clock.restore(kept)
        await self.presence.load(self.clock.now_ms())
        await self.own.load()
        await self.replay.load(ran_before=ran_before)
        await self.pins.load()
        await self.secrets.load()
        await self.outbox.load()

    async def _open_feeds(self, names: tuple[str, ...]) -> None:
        snapshots = Snapshots(self.client, self.identity)
        for name in names:
            if name in self.feeds:
                continue
            feed = Feed(
                name,
                store=FeedStore(self.folder / FEEDS_FOLDER, name, self.journal),
                journal=self.journal,
                client=self.client,
                snapshots=snapshots,
                clock=self.clock,
                on_applied=self._applied,
            )
            await feed.open()
            self.feeds[name] = feed
        for name in [name for name in self.feeds if name not in names]:
            self.feeds.pop(name).forget()
        self.gate.rekey()
        self._assign_lanes()

    # -- running --

    async def _serve(self, stop: asyncio.Event) -> None:
        async def until_stopped() -> None:
            await stop.wait()
            raise _StoppedError

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.outbox.write_forever(), name="outbox")
                group.create_task(self.presence.write_forever(), name="presence")
                group.create_task(self.own.write_forever(), name="own entries")
                group.create_task(self.replay.write_forever(), name="used codes")
                group.create_task(self._keep_clock(), name="clock")
                group.create_task(self._network(), name="network")
                for lane in self.lanes:
                    group.create_task(lane.run(), name=f"lane {lane.name}")
                group.create_task(until_stopped(), name="stop")
                # What was made so far lives as long as the process: the collector need never look at it again.
                gc.collect()
                gc.freeze()
                self.health_port = self.health.port
                self.started.set()
                _log.info(
                    "the reader runs",
                    lanes=[lane.name for lane in self.lanes],
                    feeds=list(self.feeds),
                    health=f"http://127.0.0.1:{self.health.port}/status",
                )
        except* _StoppedError:
            _log.info("the reader stops")
        finally:
            await self._put_away()

    async def _put_away(self) -> None:
        await self.outbox.flush()
        for feed in self.feeds.values():
            await feed.close()
        try:
            await self.presence.flush()
            await self.own.flush()
            await self.replay.flush()
            for feed in self.feeds.values():
                await feed.write_note()
            await self._write_clock()
        except DatabaseFaultError as error:
            _log.error("the reader's state could not be written at the stop", problem=str(error))

    async def _network(self) -> None:
        """Everything that talks to the service; ends for good when this reader is revoked."""
        revoked = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._synchronise(), name="sync")
                group.create_task(self.uploader.run(), name="uploader")
                group.create_task(self.status.run(), name="status")
                group.create_task(self._keep_assignment(), name="assignment")
                group.create_task(self.secrets.run(), name="secrets")
        except* ReaderRevokedError:
            revoked = True
        if revoked:  # not within the clause: who is stopped while it wipes would end by a group of errors
            await self._revoke()

    async def _synchronise(self) -> None:
        while True:
            self._feeds_changed.clear()
            synchroniser = Synchroniser(
                dict(self.feeds),
                self.client,
                poll_seconds=self.settings.poll_seconds,
                beat_seconds=self.settings.beat_seconds,
                on_online=self.uploader.try_now,
                on_secrets=self.secrets.hint,
            )
            async with asyncio.TaskGroup() as group:
                running = group.create_task(synchroniser.run(), name="synchroniser")
                await self._feeds_changed.wait()
                running.cancel()

    async def _keep_assignment(self) -> None:
        backoff = Backoff(first_seconds=0.5, most_seconds=ASSIGNMENT_SECONDS)
        while True:
            try:
                reply = await self.client.site()
                enrolment = self.identity.enrolment
                if enrolment is not None:
                    changed = msgspec.structs.replace(
                        enrolment,
                        tenant=reply.tenant,
                        site=reply.site.site,
                        lanes=reply.site,
                        feeds=reply.feeds,
                        feed_keys=reply.feed_keys,
                    )
                    await self._accept(changed, enrolment)
                wait = ASSIGNMENT_SECONDS
                backoff.reset()
            except ReaderRevokedError:
                raise
            except (ServiceError, IdentityError) as error:
                if not isinstance(error, ServiceUnreachableError):
                    _log.warning("the assignment could not be brought up to date", problem=str(error))
                wait = backoff.next()
            await asyncio.sleep(wait)

    async def _accept(self, enrolment: Enrolment, before: Enrolment) -> None:
        self.identity.accept(enrolment)
        if enrolment.feeds != before.feeds:
            _log.info("the feeds of this reader changed", feeds=list(enrolment.feeds))
            await self._open_feeds(enrolment.feeds)
            self._feeds_changed.set()
        self._assign_lanes()

    def _assign_lanes(self) -> None:
        """Tell the lanes what the service says of them: the feed's world first (signed, pushed), else the enrolment."""
        enrolment = self.identity.enrolment
        if enrolment is None:
            return
        site: Site | None = enrolment.lanes
        for feed in self.feeds.values():
            if feed.cache is not None and feed.tenant == enrolment.tenant:
                site = feed.cache.contents.world.sites.get(enrolment.site, site)
                break
        known = {} if site is None else {lane.lane: lane for lane in site.lanes}
        for lane in self.lanes:
            found = known.get(lane.name)
            place = None if found is None else Place(site=SiteId(enrolment.site), lane=found)
            if place != lane.place:
                lane.place = place
                _log.info("a lane was assigned", lane=lane.name, areas=[] if found is None else list(found.areas))

    def _applied(self, feed: Feed) -> None:
        self._reconcile(feed)
        self.gate.rekey()
        self._assign_lanes()
        self._poke()

    def _reconcile(self, feed: Feed) -> None:
        """Own entries that the feed tells of by now are no longer kept."""
        if feed.cache is not None:
            self.own.reconcile(
                feed.name,
                feed.cache.contents.holdings,
                confirmed_at=feed.confirmed_at,
                now=self.clock.now_ms() // 1000,
            )

    def _take_secrets(self, secrets: SiteSecrets) -> None:
        self.gate.secrets = secrets

    def _poke(self) -> None:
        self.status.poke()

    async def _keep_clock(self) -> None:
        while True:
            try:
                await self._write_clock()
            except DatabaseFaultError as error:
                _log.error("the clock's state cannot be written to disk", problem=str(error))
            for feed in self.feeds.values():
                self._reconcile(feed)
            await asyncio.sleep(KEEP_CLOCK_SECONDS)

    async def _write_clock(self) -> None:
        kept = self.clock.keep()
        if kept is not None:
            await self.journal.keep(CLOCK_NOTE, kept)

    async def _revoke(self) -> None:
        self._revoked = self.health.revoked = True
        for feed in self.feeds.values():
            feed.forget()
        self.gate.wipe()
        self.presence.wipe()
        self.own.wipe()
        self.replay.wipe()
        self.pins.wipe()
        self.secrets.wipe()
        self.identity.wipe()
        try:
            await self.journal.wipe()
        except DatabaseFaultError as error:
            _log.error("the journal could not be wiped", problem=str(error))


class _StoppedError(Exception):
    """Ends the task group of a daemon that was asked to stop."""
