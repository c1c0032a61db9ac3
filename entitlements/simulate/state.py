"""Units, visits and heads as one document would have left them, kept in event order."""

from __future__ import annotations

from bisect import bisect_left

from entitlements.compiled import CompiledService
from entitlements.decide import decide
from entitlements.model import Decision, Instant, Outcome, Reason
from entitlements.profile import Profile
from entitlements.service import Capacity
from entitlements.simulate.taps import EMPTY, ReplayTap, Start
from entitlements.situation import Moment, Presence, State, Subject

PERSON = "person"


class Units:
    """Units by account, key and event time: a :class:`~entitlements.situation.Ledger` that is quick to ask."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], tuple[list[Instant], list[int]]] = {}

    def take(self, account: str, key: str, units: int, at: Instant) -> None:
        """Note units, usually later than all before."""
        times, sums = self._rows.setdefault((account, key), ([], [0]))
        if not times or at >= times[-1]:
            times.append(at)
            sums.append(sums[-1] + units)
            return
        place = bisect_left(times, at)
        times.insert(place, at)
        sums.insert(place, sums[place])
        for later in range(place + 1, len(sums)):
            sums[later] += units

    def used(self, account: str, key: str, since: Instant | None, until: Instant | None) -> int:
        """Units of ``[since, until)``; ``None`` is open."""
        row = self._rows.get((account, key))
        if row is None:
            return 0
        times, sums = row
        low = 0 if since is None else bisect_left(times, since)
        high = len(times) if until is None else bisect_left(times, until)
        return sums[high] - sums[low]


class Room:
    """Heads in one zone of one site: who, since when, how many with them."""

    __slots__ = ("count", "day", "visitors")

    def __init__(self) -> None:
        self.visitors: dict[str, tuple[Instant, int]] = {}
        self.count = 0
        self.day = 0

    def enter(self, key: str, at: Instant, heads: int) -> None:
        """Somebody comes in; who is inside already is counted once."""
        self.leave(key)
        self.visitors[key] = (at, heads)
        self.count += heads

    def leave(self, key: str) -> None:
        """Somebody goes out."""
        gone = self.visitors.pop(key, None)
        if gone is not None:
            self.count -= gone[1]

    def forget(self, before: Instant) -> None:
        """Nobody who came in at or before an instant is still there."""
        while self.visitors:
            key, (since, _) = next(iter(self.visitors.items()))
            if since > before:
                return
            self.leave(key)


class Replay:
    """One document and the state it would have led to.

    Visits are kept by site and by what the service names; somebody who never taps out is taken to have left at local
    midnight or after the longest stay, where the service says so. Where gates record no exits and the service names
    neither, heads only grow: such a service's capacity cannot be replayed.
    """

    __slots__ = ("_keeps_visits", "_rooms", "_scopes", "_service", "_units", "_visits")

    def __init__(self, service: CompiledService, start: Start = EMPTY) -> None:
        self._service = service
        counts_heads = any(isinstance(limit, Capacity) for limit in service.document.limits)
        self._keeps_visits = bool(service.presence_scopes) or service.min_gap is not None or counts_heads
        self._scopes = service.presence_scopes or (PERSON,)
        self._units = Units() if service.accounts else None
        self._visits: dict[tuple[str, str], tuple[bool, Instant, Instant]] = {}
        self._rooms: dict[tuple[str, str | None], Room] = {}
        if self._units is not None:
            for account, key, units, at in sorted(start.entries, key=lambda entry: entry[3]):
                self._units.take(account, key, units, at)
        for visitor in sorted(start.inside, key=lambda one: one.since):
            self._visits[visitor.site, visitor.key] = (True, visitor.since, visitor.since)
            self._room(visitor.site, visitor.zone, visitor.since).enter(visitor.key, visitor.since, visitor.heads)

    def decide(self, tap: ReplayTap, profile: Profile | None, moment: Moment) -> Decision:
        """Decide a tap on the way in, and keep what it leaves behind."""
        subject = Subject(card=tap.card, profile=profile, keys=tap.keys, acting=tap.acting)
        state = self._state(tap) if self._keeps_visits or self._units is not None else tap.known
        decision = decide(self._service, subject, moment, tap.tap, state)
        if decision.outcome is Outcome.ALLOW:
            if self._units is not None:
                for effect in decision.effects:
                    self._units.take(effect.account, effect.key or tap.person, effect.units, tap.at)
            if self._keeps_visits:
                self._enter(tap, again=decision.reason == Reason.REPEAT_SCAN)
        return decision

    def leave(self, tap: ReplayTap) -> None:
        """Somebody goes out: never refused, and no decision."""
        if not self._keeps_visits:
            return
        for key in self._keys(tap):
            visit = self._visits.get((tap.site, key))
            if visit is not None:
                self._visits[tap.site, key] = (False, visit[1], visit[2])
        first = self._keys(tap)[0]
        for (site, _), room in self._rooms.items():
            if site == tap.site:
                room.leave(first)

    def _keys(self, tap: ReplayTap) -> tuple[str, ...]:
        return tuple(tap.keys.get(scope) or tap.keys.get(PERSON) or tap.person for scope in self._scopes)

    def _state(self, tap: ReplayTap) -> State:
        known = tap.known
        return State(
            ledger=self._units,
            leases=known.leases,
            presence=self._presence(tap) if self._keeps_visits else None,
            upstream=known.upstream,
            booking=known.booking,
            balance_pence=known.balance_pence,
            loans=known.loans,
        )

    def _presence(self, tap: ReplayTap) -> Presence:
        inside = False
        since: Instant | None = None
        last: Instant | None = None
        for key in self._keys(tap):
            visit = self._visits.get((tap.site, key))
            if visit is not None:
                if visit[0]:
                    since = visit[1] if not inside or since is None else max(since, visit[1])
                    inside = True
                last = visit[2] if last is None else max(last, visit[2])
        room = self._room(tap.site, tap.zone, tap.at)
        return Presence(inside=inside, since=since, last=last, zone_count=room.count)

    def _room(self, site: str, zone: str | None, at: Instant) -> Room:
        room = self._rooms.get((site, zone))
        if room is None:
            room = self._rooms[site, zone] = Room()
        service = self._service
        if service.resets_daily:
            day = service.time.day(at)
            if day != room.day:
                room.day = day
                room.forget(Instant(service.time.midnight(day) - 1))
        if service.max_stay is not None:
            room.forget(Instant(at - service.max_stay))
        return room

    def _enter(self, tap: ReplayTap, *, again: bool) -> None:
        keys = self._keys(tap)
        for key in keys:
            before = self._visits.get((tap.site, key))
            since = before[1] if again and before is not None and before[0] else tap.at
            self._visits[tap.site, key] = (True, since, tap.at)
        if not again:
            self._room(tap.site, tap.zone, tap.at).enter(keys[0], tap.at, 1 + tap.tap.children)
