"""What taps of this site have taken and the service has not yet told of: units, loans, check-ins.

An allowed tap counts at once for all lanes: held from the decision on, so that two lanes cannot both give the last
unit, and let go if nobody passed. Once somebody has passed it is kept on disk, through a kill and a power cut, until

* it comes back in the feed (the entry has the tap's id), or
* the service rejected the tap for good, or
* the service has stored the tap, and the feed was known to be complete well after that without it: then the service
  judged otherwise, and its word counts.

A decision never counts an entry twice, whatever is dropped when: what the feed holds is left out of our own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import structlog

from entitlements.model import Instant
from readers.errors import DatabaseFaultError
from readers.holdings import Holdings
from readers.journal import Journal
from readers.units import UnitTable

KEEP_SECONDS: Final = 400 * 86_400
"""A year's quota and a month for a reader that comes back late; what is older no longer counts anywhere."""
SETTLED_GRACE_MS: Final = 60_000
"""The service writes the echo together with the tap; this is for messages that cross on the way."""
LOAN_GRACE_MS: Final = 5_000
"""Shorter for loans, which the service may number itself: until then an item counts twice, and whoever borrows two in a
row is kept waiting."""

_log = structlog.get_logger(__name__)


class OwnUnits(msgspec.Struct, frozen=True, kw_only=True, tag="units"):
    """Units taken at ``at`` (epoch seconds); ``offline`` where the site was cut off, so that they are of its lease."""

    feed: str
    account: str
    key: str
    at: int
    units: int
    offline: bool


class OwnLoan(msgspec.Struct, frozen=True, kw_only=True, tag="loan"):
    """An item borrowed, due on a local day (ISO 8601)."""

    feed: str
    pool: str
    key: str
    at: int
    due: str


class OwnCheckIn(msgspec.Struct, frozen=True, kw_only=True, tag="check_in"):
    """A booking that somebody has come for."""

    feed: str
    booking: str
    at: int


Own = OwnUnits | OwnLoan | OwnCheckIn


class KeptTap(msgspec.Struct, frozen=True, kw_only=True):
    """What is on disk for a tap; ``settled_at`` (ms) is when the service said that it has the tap."""

    own: tuple[Own, ...]
    settled_at: int | None = None


class SiteLedger:
    """A :class:`~entitlements.situation.Ledger`: what a feed holds and what this site took beside it."""

    __slots__ = ("_own", "_table")

    def __init__(self, table: UnitTable, own: Mapping[tuple[str, str], Mapping[str, OwnUnits]]) -> None:
        self._table = table
        self._own = own

    def used(self, account: str, key: str, since: Instant | None, until: Instant | None) -> int:
        """Units whose event lies in ``[since, until)``; ``None`` is open."""
        total = self._table.used(account, key, since, until)
        for entry, own in self._own.get((account, key), {}).items():
            inside = (since is None or since <= own.at) and (until is None or own.at < until)
            if inside and not self._table.holds(account, key, entry):
                total += own.units
        return total


class OwnBook:
    """All lanes' own entries by tap. Asking and committing never wait; :meth:`write_forever` writes behind."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._taps: dict[str, tuple[Own, ...]] = {}
        self._held: set[str] = set()
        self._settled: dict[str, int] = {}
        self._units: dict[tuple[str, str], dict[str, OwnUnits]] = {}
        self._loans: dict[tuple[str, str], dict[str, OwnLoan]] = {}
        self._check_ins: dict[str, set[str]] = {}
        self._unwritten: set[str] = set()
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()

    # -- what the gate asks --

    def ledger(self, holdings: Holdings) -> SiteLedger:
        """Units taken, of a feed and of this site."""
        return SiteLedger(holdings.units, self._units)

    def leased(self, account: str, key: str, holdings: Holdings) -> int:
        """Units that this site took while cut off and that the feed does not hold yet."""
        return sum(
            own.units
            for entry, own in self._units.get((account, key), {}).items()
            if own.offline and not holdings.units.holds(account, key, entry)
        )

    def loans(self, pool: str, key: str) -> Mapping[str, OwnLoan]:
        """Items borrowed at this site, by tap."""
        return self._loans.get((pool, key), {})

    def checked_in(self, booking: str) -> bool:
        """Whether somebody has come for a booking at this site."""
        return booking in self._check_ins

    @property
    def waiting(self) -> int:
        """Taps whose effects the service has not told of yet."""
        return len(self._taps)

    # -- what the lanes say --

    def hold(self, tap: str, own: tuple[Own, ...]) -> None:
        """The gate is being released for a tap: what it takes is not there for anybody else meanwhile."""
        if own:
            self._held.add(tap)
            self._put(tap, own)

    def commit(self, tap: str) -> None:
        """The tap took what it held."""
        if tap in self._held:
            self._held.discard(tap)
            self._write(tap)

    def let_go(self, tap: str) -> None:
        """Nobody passed; what was held is there again. Does nothing after :meth:`commit`."""
        if tap in self._held:
            self._forget(tap)

    # -- what the service says --

    def settle(self, stored: Iterable[str], rejected: Iterable[str], at: int) -> None:
        """The service has these taps, and those it will never take. ``at`` in ms since the epoch."""
        for tap in stored:
            if tap in self._taps and tap not in self._settled:
                self._settled[tap] = at
                self._write(tap)
        for tap in rejected:
            if tap in self._taps:
                self._forget(tap)
                self._write(tap)

    def reconcile(self, feed: str, holdings: Holdings, *, confirmed_at: int, now: int) -> None:
        """Drop what the feed tells of by now. ``confirmed_at`` in ms, ``now`` in seconds."""
        for tap, own in list(self._taps.items()):
            if tap in self._held:
                continue
            settled = self._settled.get(tap)
            complete = 0 if settled is None else confirmed_at - settled
            rest = tuple(
                item
                for item in own
                if now - item.at < KEEP_SECONDS
                and (item.feed != feed or not (complete > _grace(item) or _echoed(tap, item, holdings)))
            )
            if len(rest) < len(own):
                self._forget(tap)
                if rest:
                    self._put(tap, rest)
                    if settled is not None:
                        self._settled[tap] = settled
                self._write(tap)

    def wipe(self) -> None:
        """Forget everything, after this reader was revoked."""
        self._taps.clear()
        self._held.clear()
        self._settled.clear()
        self._units.clear()
        self._loans.clear()
        self._check_ins.clear()
        self._unwritten.clear()

    # -- to disk and back --

    async def load(self) -> None:
        """Read what was kept."""
        for tap, body in await self._journal.own():
            try:
                kept = msgspec.json.decode(body, type=KeptTap)
            except msgspec.DecodeError as error:
                _log.error("what a tap took cannot be read from the journal and is left out", problem=str(error))
                continue
            self._put(tap, kept.own)
            if kept.settled_at is not None:
                self._settled[tap] = kept.settled_at

    async def write_forever(self) -> None:
        """Write to disk as it comes; runs until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except DatabaseFaultError as error:
                _log.error("what taps took cannot be written to disk; it is kept in memory", problem=str(error))
                await asyncio.sleep(1)
                self._wake.set()

    async def flush(self) -> None:
        """Write what is not on disk yet. Raises DatabaseFaultError."""
        unwritten, self._unwritten = self._unwritten, set()
        kept = [
            (tap, msgspec.json.encode(KeptTap(own=own, settled_at=self._settled.get(tap))))
            for tap in unwritten
            if tap not in self._held and (own := self._taps.get(tap)) is not None
        ]
        gone = [(tap,) for tap in unwritten if tap not in self._taps]
        try:
            if kept or gone:
                await self._journal.keep_own(kept, gone)
        except BaseException:
            self._unwritten |= unwritten
            raise
        if not self._unwritten:
            self._written.set()

    async def durable(self) -> None:
        """Wait until everything committed so far is on disk."""
        await self._written.wait()

    # -- inside --

    def _write(self, tap: str) -> None:
        self._unwritten.add(tap)
        self._written.clear()
        self._wake.set()

    def _put(self, tap: str, own: tuple[Own, ...]) -> None:
        self._taps[tap] = own
        for item in own:
            if isinstance(item, OwnUnits):
                self._units.setdefault((item.account, item.key), {})[tap] = item
            elif isinstance(item, OwnLoan):
                self._loans.setdefault((item.pool, item.key), {})[tap] = item
            else:
                self._check_ins.setdefault(item.booking, set()).add(tap)

    def _forget(self, tap: str) -> None:
        self._held.discard(tap)
        self._settled.pop(tap, None)
        for item in self._taps.pop(tap, ()):
            if isinstance(item, OwnUnits):
                units = self._units.get((item.account, item.key), {})
                if units.pop(tap, None) is not None and not units:
                    del self._units[item.account, item.key]
            elif isinstance(item, OwnLoan):
                loans = self._loans.get((item.pool, item.key), {})
                if loans.pop(tap, None) is not None and not loans:
                    del self._loans[item.pool, item.key]
            else:
                self._check_ins[item.booking].discard(tap)
                if not self._check_ins[item.booking]:
                    del self._check_ins[item.booking]


def _grace(item: Own) -> int:
    """How long (ms) the feed must have been complete after the service had the tap."""
    return LOAN_GRACE_MS if isinstance(item, OwnLoan) else SETTLED_GRACE_MS


def _echoed(tap: str, item: Own, holdings: Holdings) -> bool:
    if isinstance(item, OwnUnits):
        return holdings.units.holds(item.account, item.key, tap)
    if isinstance(item, OwnLoan):
        return any(name == tap for name, _ in holdings.loans(item.pool, item.key))
    booking = holdings.booking(item.booking)
    return booking is None or booking.checked_in
