"""A gate without devices and network: one feed in memory, and a clock and a line that the test turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from entitlements.model import Outcome, Reason, SiteId
from entitlements.wire.feed import AnyChange, ServiceChange, ServiceWithdrawn, WorldChange
from readers.background import SiteState
from readers.basefile import digest_block, write_base
from readers.cache import FeedCache
from readers.catalogue import Catalogue
from readers.clock import TrustedClock
from readers.contents import read_contents, write_contents
from readers.errors import CacheFileError, FeedError
from readers.feed import Feed
from readers.feedstore import open_cache
from readers.gate import Gate
from readers.journal import Journal
from readers.judgement import Judgement, Place
from readers.own import OwnBook
from readers.presence import PresenceBook
from readers.replay import ReplayBook
from tests.unit.readers.kit.council import SITE, Card, Council


def base_of(council: Council, path: Path) -> FeedCache:
    """The council's snapshot as a base file, opened."""
    _, parts = council.snapshot()
    meta = next(data for data in parts.values() if data.startswith(b"{"))
    contents = read_contents(meta, feed=council.feed)
    rows = council.rows.tobytes()
    blocks = [rows[start : start + 65536] for start in range(0, len(rows), 65536)]
    write_base(
        path,
        feed=council.feed,
        epoch=council.epoch,
        number=council.number,
        issue_number=council.issue_number,
        created_at=council.created_at,
        meta=write_contents(
            list(contents.services.values()),
            world=contents.world,
            keys=contents.keys,
            horizon=contents.horizon,
            holdings=contents.holdings,
        ),
        profiles=contents.profiles.packed(contents.profiles.added),
        rows=len(council.rows),
        digests=b"".join(map(digest_block, blocks)),
        blocks=blocks,
    )
    return open_cache(path, council.feed)


class StillFeed:
    """A feed that takes what the test tells it."""

    def __init__(self, council: Council, folder: Path) -> None:
        self.name = council.feed
        self.tenant, _, self.area = council.feed.partition("/")
        self.cache: FeedCache | None = base_of(council, folder / f"{self.area}.rdb")
        self.online = True
        contents = self.cache.contents
        entries = list(contents.services.values())
        self.catalogue = Catalogue.build(self.name, entries, contents.world, Catalogue.empty(self.name))

    def lookup(self, index: int, tag: int) -> Any:
        try:
            return None if self.cache is None else self.cache.lookup(index, tag)
        except (CacheFileError, FeedError):
            self.cache = None
            return None

    def age_seconds(self) -> int:
        return 0 if self.online else 60

    def take(self, change: AnyChange) -> None:
        assert self.cache is not None
        self.cache.apply_one(change)
        assert not isinstance(change, (ServiceChange, ServiceWithdrawn, WorldChange)), "not needed here yet"


class Desk:
    """The gate of a site with lanes ``in-1`` and ``in-2``."""

    def __init__(self, council: Council, folder: Path, journal: Journal) -> None:
        self.council = council
        self.now = council.now
        self.feed = StillFeed(council, folder)
        self.clock = TrustedClock(wall=lambda: self.now * 1000, steady=lambda: self.now * 1000, boot="b")
        self.clock.observe(self.now * 1000, 0.0)
        self.own = OwnBook(journal)
        self.presence = PresenceBook(journal)
        self.replay = ReplayBook(journal, folder, self.clock)
        site = SiteState(self.presence, self.own, self.replay)
        self.gate = Gate({council.feed: cast(Feed, self.feed)}, self.clock, site)
        self.gate.rekey()
        self._taps = itertools.count(1)

    @property
    def holdings(self) -> Any:
        assert self.feed.cache is not None
        return self.feed.cache.contents.holdings

    def listen(self) -> None:
        """Take the council's changes since the snapshot or the last time, as the daemon does."""
        for change in self.council.changes:
            if self.feed.cache is not None and change.n > self.feed.cache.number:
                self.feed.take(change)
        self.reconcile()

    def reconcile(self, *, confirmed_at: int = 0) -> None:
        self.own.reconcile(self.feed.name, self.holdings, confirmed_at=confirmed_at, now=self.now)

    def place(self, lane: str = "in-1") -> Place:
        return Place(site=SiteId(SITE.site), lane=next(found for found in SITE.lanes if found.lane == lane))

    def judge(self, card: Card, lane: str = "in-1") -> Judgement:
        """Decide, and nothing else."""
        return self.judge_data(card.token, lane)

    def judge_data(self, data: bytes, lane: str = "in-1") -> Judgement:
        """Decide any octets, and nothing else."""
        return self.gate.judge(data, "qr", self.place(lane))

    def reason(self, card: Card, lane: str = "in-1") -> str:
        return str(self.judge(card, lane).decision.reason)

    def release(self, card: Card, lane: str = "in-1") -> tuple[str, Judgement]:
        """Decide and, if allowed, hold what it takes, as a lane does before it releases; gives the tap id."""
        judgement = self.judge(card, lane)
        tap = f"tap-{next(self._taps)}"
        if judgement.decision.outcome is Outcome.ALLOW:
            self.own.hold(tap, self.gate.own_of(judgement))
            visitor = self.gate.visitor(judgement)
            assert visitor is not None
            self.presence.hold(visitor.keys, lane)
        return tap, judgement

    def passed(self, tap: str, judgement: Judgement, lane: str = "in-1") -> None:
        """The person of a release went through."""
        visitor = self.gate.visitor(judgement)
        assert visitor is not None
        self.own.commit(tap)
        again = judgement.decision.reason == Reason.REPEAT_SCAN
        self.presence.entered(visitor, self.now, self.place(lane).zone, again=again)
        self.presence.let_go(visitor.keys, lane)

    def enter(self, card: Card, lane: str = "in-1") -> tuple[str, str]:
        """Present a card and walk through if allowed; gives the tap id and the reason."""
        tap, judgement = self.release(card, lane)
        if judgement.decision.outcome is Outcome.ALLOW:
            self.passed(tap, judgement, lane)
        return tap, str(judgement.decision.reason)

    def leave(self, card: Card) -> None:
        """Go out with a card."""
        self.presence.left(self.gate.keys_of(card.claims), self.now)


Open = Callable[[Council], Desk]
"""Opens the gate of a council's site."""
