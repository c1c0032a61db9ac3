"""Last month's taps under the document in force and under the draft: who would be treated differently."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

import msgspec

from entitlements.compiled import CompiledService
from entitlements.model import Decision, Instant, Outcome, SiteId
from entitlements.sentences import describe
from entitlements.simulate.state import Replay
from entitlements.simulate.taps import EMPTY, ReplayTap, Start
from entitlements.situation import Moment

EXAMPLES = 5
"""Examples kept of each change, unless told otherwise: enough to look at, few enough to look at all."""


class Treatment(msgspec.Struct, frozen=True, order=True):
    """How a tap was treated; ``outcome`` and ``reason`` are empty where the service did not exist."""

    outcome: str = ""
    reason: str = ""

    @property
    def admitted(self) -> bool:
        """Whether the person was let in."""
        return self.outcome == Outcome.ALLOW


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One tap that would have been treated differently."""

    person: str
    at: Instant
    site: SiteId
    before: Treatment
    after: Treatment


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """All taps with one treatment before and one after. ``people`` and ``examples`` only where the two differ."""

    before: Treatment
    after: Treatment
    taps: int
    people: int = 0
    examples: tuple[Example, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing changes for these taps."""
        return self.before == self.after


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """Taps let in both times, whose price differs; ``difference`` is new less old pence over all of them."""

    dearer: int = 0
    cheaper: int = 0
    difference: int = 0


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay led to.

    ``agreed`` of ``compared`` taps came out under the old document as the gate then decided: how far to trust the rest.
    """

    service: str
    taps: int
    exits: int
    changes: tuple[Change, ...]
    prices: Prices
    now_allowed: int
    now_refused: int
    people_gaining: int
    people_losing: int
    compared: int = 0
    agreed: int = 0
    new_service: bool = False

    def sentences(self) -> list[str]:
        """For a service manager: the change in a sentence, then where it comes from, then prices."""
        if not self.taps:
            return ["There are no taps to replay."]
        if self.new_service:
            allowed = sum(change.taps for change in self.changes if change.after.admitted)
            return [f"The service is new: {allowed:,} of {_taps(self.taps)} would be allowed."]
        told = [self._headline()]
        told += [_cause(change) for change in self.changes if _moves(change)]
        other = sum(change.taps for change in self.changes if not change.same and not _moves(change))
        if other:
            told.append(f"{_taps(other)} would have the same result for a different reason.")
        prices = self.prices
        if prices.dearer or prices.cheaper:
            told.append(f"{_taps(prices.dearer)} would cost more and {prices.cheaper:,} less.")
        return told

    def _headline(self) -> str:
        if self.now_allowed and self.now_refused:
            return (
                f"Of {_taps(self.taps)}, {self.now_allowed:,} refused today would be allowed, "
                f"{self.now_refused:,} the other way."
            )
        if self.now_allowed:
            return f"Of {_taps(self.taps)}, {self.now_allowed:,} refused today would be allowed, none the other way."
        if self.now_refused:
            return f"Of {_taps(self.taps)}, {self.now_refused:,} allowed today would be refused, none the other way."
        return f"Nobody would be let in or kept out differently: {_taps(self.taps)} replayed."


def _taps(count: int) -> str:
    return f"{count:,} tap" if count == 1 else f"{count:,} taps"


def _moves(change: Change) -> bool:
    return change.before.admitted != change.after.admitted


def _cause(change: Change) -> str:
    people = "1 person" if change.people == 1 else f"{change.people:,} people"
    if change.after.admitted:
        return f"{_taps(change.taps)} by {people} would be allowed; refused today: {_told(change.before)}"
    return f"{_taps(change.taps)} by {people} would be refused: {_told(change.after)}"


def _told(treatment: Treatment) -> str:
    return describe(
        Decision(outcome=Outcome(treatment.outcome), reason=treatment.reason), at=Instant(0), timezone="UTC"
    ).staff


class _Tally:
    """What is counted of one pair of treatments."""

    __slots__ = ("differs", "examples", "people", "taps")

    def __init__(self, before: Treatment, after: Treatment) -> None:
        self.taps = 0
        self.differs = before != after
        self.people: set[str] = set()
        self.examples: list[Example] = []


def simulate(
    old: CompiledService | None,
    new: CompiledService,
    taps: Iterable[ReplayTap],
    *,
    start: Start = EMPTY,
    examples: int = EXAMPLES,
) -> Simulation:
    """Replay taps under two versions of a service, each with the state it would itself have led to.

    Args:
        old: the version in force; ``None`` for a new service.
        new: the draft.
        taps: in any order; they are replayed by event time.
        start: state before the first of them.
        examples: how many examples to keep of each change.
    """
    before = None if old is None else Replay(old, start)
    after = Replay(new, start)
    tallies: dict[tuple[str, str, str, str], _Tally] = {}
    gaining: set[str] = set()
    losing: set[str] = set()
    exits = compared = agreed = dearer = cheaper = difference = 0
    total = 0
    for tap in sorted(taps, key=attrgetter("at")):
        if tap.direction == "out":
            exits += 1
            after.leave(tap)
            if before is not None:
                before.leave(tap)
            continue
        total += 1
        moment = Moment(
            at=tap.at,
            site=tap.site,
            zone=tap.zone,
            online=tap.online,
            cache_age=tap.cache_age,
            clock_trusted=tap.clock_trusted,
        )
        now = after.decide(tap, tap.new_profile, moment)
        was = None if before is None else before.decide(tap, tap.old_profile, moment)
        key = ("", "", now.outcome, now.reason) if was is None else (was.outcome, was.reason, now.outcome, now.reason)
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = _Tally(Treatment(key[0], key[1]), Treatment(key[2], key[3]))
        tally.taps += 1
        if was is None:
            continue
        if tap.recorded is not None:
            compared += 1
            agreed += tap.recorded is was.outcome
        if tally.differs:
            tally.people.add(tap.person)
            if len(tally.examples) < examples:
                tally.examples.append(_example(tap, was, now))
            if (now.outcome is Outcome.ALLOW) != (was.outcome is Outcome.ALLOW):
                (gaining if now.outcome is Outcome.ALLOW else losing).add(tap.person)
        elif was.pence != now.pence and now.outcome is Outcome.ALLOW:
            step = (now.pence or 0) - (was.pence or 0)
            dearer += step > 0
            cheaper += step < 0
            difference += step
    changes = tuple(_change(key, tally) for key, tally in sorted(tallies.items(), key=_weight))
    return Simulation(
        service=new.id,
        taps=total,
        exits=exits,
        changes=changes,
        prices=Prices(dearer=dearer, cheaper=cheaper, difference=difference),
        now_allowed=sum(change.taps for change in changes if change.after.admitted and not change.before.admitted),
        now_refused=sum(change.taps for change in changes if change.before.admitted and not change.after.admitted),
        people_gaining=len(gaining),
        people_losing=len(losing),
        compared=compared,
        agreed=agreed,
        new_service=old is None,
    )


def _example(tap: ReplayTap, was: Decision, now: Decision) -> Example:
    return Example(
        person=tap.person,
        at=tap.at,
        site=tap.site,
        before=Treatment(was.outcome.value, str(was.reason)),
        after=Treatment(now.outcome.value, str(now.reason)),
    )


def _change(key: tuple[str, str, str, str], tally: _Tally) -> Change:
    return Change(
        before=Treatment(str(key[0]), str(key[1])),
        after=Treatment(str(key[2]), str(key[3])),
        taps=tally.taps,
        people=len(tally.people),
        examples=tuple(tally.examples),
    )


def _weight(item: tuple[tuple[str, str, str, str], _Tally]) -> tuple[bool, int, tuple[str, ...]]:
    """Differences first, then by number."""
    key, tally = item
    return (not tally.differs, -tally.taps, key)
