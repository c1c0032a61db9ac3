"""Who is inside, for all lanes of the site together, also with the network down and after a restart.

A visit is kept under every key that its visitor has here: the card, the person in each feed (so that a renewed card is
the same visitor), and whatever else the service names (household, permit...). A passage commits, never a release.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from entitlements.decide import Presence
from entitlements.model import Instant, TenantId, ZoneId
from readers.errors import DatabaseFaultError
from readers.journal import Journal

KEEP_MS: Final = 7 * 86_400_000
"""What is older cannot matter: presence resets at midnight, and gaps between taps are minutes."""

DAY_MS: Final = 86_400_000

VisitorKey = bytes

_log = structlog.get_logger(__name__)


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one key at this site. ``since`` and ``last`` in seconds since the epoch; ``by`` is the key of
    whoever presented a card for it, whose leaving ends it.
    """

    inside: bool
    since: int | None = None
    last: int | None = None
    zone: str | None = None
    by: bytes | None = None
    counted: bool = True
    """Whether a restart counts a head for it: one visit has several keys and one head."""


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Whose visit a tap is: ``keys``, the first of which counts the head, and ``by``, who presented the card."""

    keys: tuple[VisitorKey, ...]
    by: VisitorKey


def card_key(tenant: TenantId, index: int, tag: int) -> VisitorKey:
    """The key of a card. By index and tag, since of the card that a delegate acts for no more is known."""
    return b"%s/%d/%08x" % (tenant.encode(), index, tag)


def scope_key(feed: str, scope: str, key: str) -> VisitorKey:
    """The key of a person, household, vehicle or permit in a feed; ``key`` is the opaque one."""
    return f"{feed}|{scope}|{key}".encode()


class PresenceBook:
    """Visits by key. Reading and committing never wait; :meth:`write_forever` writes behind."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._visits: dict[VisitorKey, Visit] = {}
        self._opened: dict[VisitorKey, set[VisitorKey]] = {}
        self._pending: dict[VisitorKey, str] = {}
        self._heads: dict[str | None, int] = {}
        self._unwritten: dict[VisitorKey, int] = {}
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()

    async def load(self, now_ms: int) -> None:
        """Read what was kept."""
        for key, body in await self._journal.presence(now_ms - KEEP_MS):
            try:
                visit = msgspec.json.decode(body, type=Visit)
            except msgspec.DecodeError as error:
                _log.error("a visit in the journal cannot be read and is left out", problem=str(error))
                continue
            self._set(bytes(key), visit)
            if visit.counted and visit.inside and visit.since is not None and visit.since * 1000 > now_ms - DAY_MS:
                self._heads[visit.zone] = self._heads.get(visit.zone, 0) + 1

    def of(self, keys: Sequence[VisitorKey], *, lane: str, zone: ZoneId | None) -> Presence:
        """What the decision asks, of all these keys together. Who was just released by another lane is inside."""
        inside = False
        since: int | None = None
        last: int | None = None
        for key in keys:
            if self._pending.get(key, lane) != lane:
                return Presence(inside=True, zone_count=self.count(zone))
            visit = self._visits.get(key)
            if visit is None:
                continue
            if visit.inside:
                # Of several entries the latest is the one that may still count.
                since = visit.since if not inside or since is None else max(since, visit.since or since)
                inside = True
            if visit.last is not None:
                last = visit.last if last is None else max(last, visit.last)
        return Presence(
            inside=inside,
            since=None if since is None else Instant(since),
            last=None if last is None else Instant(last),
            zone_count=self.count(zone),
        )

    def count(self, zone: ZoneId | None) -> int:
        """Heads in a zone by the passages of this site's lanes; a restart counts the visitors known to be inside."""
        return self._heads.get(zone, 0)

    def hold(self, keys: Sequence[VisitorKey], lane: str) -> None:
        """A lane has released for this visitor and waits for the passage."""
        for key in keys:
            self._pending[key] = lane

    def let_go(self, keys: Sequence[VisitorKey], lane: str) -> None:
        """The wait of that lane is over."""
        for key in keys:
            if self._pending.get(key) == lane:
                del self._pending[key]

    def entered(self, visitor: Visitor, at: int, zone: ZoneId | None, *, again: bool = False) -> None:
        """The person went in, at an instant in seconds; ``again`` where a repeated scan goes on with the same visit."""
        for position, key in enumerate(visitor.keys):
            before = self._visits.get(key)
            # Otherwise a missed exit that was forgiven at midnight would be forgiven for ever after.
            goes_on = again and before is not None and before.inside and before.since is not None
            since = before.since if before is not None and goes_on else at
            visit = Visit(inside=True, since=since, last=at, zone=zone, by=visitor.by, counted=position == 0)
            self._commit(key, visit, at)

    def seen(self, visitor: Visitor, at: int) -> None:
        """The person was admitted where nobody walks through a gate: a tap soon after is the same visit."""
        for key in visitor.keys:
            before = self._visits.get(key)
            visit = Visit(inside=False) if before is None else before
            self._commit(key, msgspec.structs.replace(visit, last=at), at)

    def left(self, keys: Sequence[VisitorKey], at: int) -> None:
        """The person went out, at an instant in seconds; so have all visits that their card opened."""
        gone = dict.fromkeys(keys)
        for key in keys:
            gone |= dict.fromkeys(self._opened.get(key, ()))
        for key in gone:
            before = self._visits.get(key)
            self._commit(key, Visit(inside=False, last=None if before is None else before.last), at)

    def clear(self, at: int) -> None:
        """Everybody is out: the building was evacuated."""
        self._heads.clear()
        for key, visit in list(self._visits.items()):
            if visit.inside:
                self._commit(key, Visit(inside=False, last=visit.last), at)

    def wipe(self) -> None:
        """Forget everybody, after this reader was revoked."""
        self._visits.clear()
        self._opened.clear()
        self._pending.clear()
        self._unwritten.clear()
        self._heads.clear()

    async def write_forever(self) -> None:
        """Write commits to disk as they come; runs until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except DatabaseFaultError as error:
                _log.error("presence cannot be written to disk; it is kept in memory", problem=str(error))
                await asyncio.sleep(1)
                self._wake.set()

    async def flush(self) -> None:
        """Write what is not on disk yet. Raises DatabaseFaultError."""
        unwritten, self._unwritten = self._unwritten, {}
        rows = [(key, msgspec.json.encode(self._visits[key]), at) for key, at in unwritten.items()]
        try:
            if rows:
                await self._journal.keep_presence(rows)
        except BaseException:
            self._unwritten = unwritten | self._unwritten
            raise
        if not self._unwritten:
            self._written.set()

    async def durable(self) -> None:
        """Wait until everything committed so far is on disk."""
        await self._written.wait()

    def passed_in(self, zone: ZoneId | None) -> None:
        """Somebody went into a zone."""
        self._heads[zone] = self._heads.get(zone, 0) + 1

    def passed_out(self, zone: ZoneId | None) -> None:
        """Somebody went out of a zone, with a card or without."""
        self._heads[zone] = max(0, self._heads.get(zone, 0) - 1)

    def _commit(self, key: VisitorKey, visit: Visit, at: int) -> None:
        self._set(key, visit)
        self._unwritten[key] = at * 1000
        self._written.clear()
        self._wake.set()

    def _set(self, key: VisitorKey, visit: Visit) -> None:
        before = self._visits.get(key)
        if before is not None and before.by is not None and before.by != visit.by:
            opened = self._opened[before.by]
            opened.discard(key)
            if not opened:
                del self._opened[before.by]
        self._visits[key] = visit
        if visit.by is not None:
            self._opened.setdefault(visit.by, set()).add(key)
