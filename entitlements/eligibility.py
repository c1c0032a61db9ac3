"""The person rules: ``who`` and price conditions over dated facts, in three-valued logic.

``True``, ``False`` and ``None`` for unknown, after Kleene: a falsehood settles ``all``, a truth settles ``any``, and
``not`` leaves unknown unknown. So an unknown fact never satisfies a rule, under ``not`` either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

import msgspec

from entitlements.calendars import FOREVER, MAX_ORDINAL, LocalTime
from entitlements.facts import PersonFacts, Span
from entitlements.model import Instant
from entitlements.service import Age, All, Any, Expression, Holds, Not, ResidentOf

Ranges = tuple[tuple[Instant, Instant], ...]
BEGINNING = Instant(-(2**62))
"""Before every instant that can be written."""


GROWN_YEARS = 28
GROWING = timedelta(days=GROWN_YEARS * 365 + GROWN_YEARS // 4)
"""28 years: any child becomes an adult, nobody becomes a pensioner, and leap years fall alike."""


class View:
    """One person's facts as instants in one tenant's zone; what was converted once is remembered."""

    __slots__ = ("_birthdays", "_facts", "_grown", "_leap_on_feb_28", "_ranges", "_zone")

    def __init__(self, facts: PersonFacts, zone: LocalTime, *, leap_on_feb_28: bool) -> None:
        self._facts = facts
        self._zone = zone
        self._leap_on_feb_28 = leap_on_feb_28
        self._ranges: dict[tuple[str, str], Ranges | None] = {}
        self._birthdays: dict[int, Instant] = {}
        self._grown: View | None = None

    def grown(self) -> View:
        """The same person with a birth :data:`GROWING` earlier: what would hold were they no child."""
        if self._grown is None:
            born = self._facts.date_of_birth
            earlier = None if born is None else born - GROWING
            facts = msgspec.structs.replace(self._facts, date_of_birth=earlier)
            self._grown = View(facts, self._zone, leap_on_feb_28=self._leap_on_feb_28)
        return self._grown

    def birthday(self, years: int) -> Instant | None:
        """Local 00:00 at which the person is ``years`` old; ``None`` where the date of birth is unknown."""
        born = self._facts.date_of_birth
        if born is None:
            return None
        known = self._birthdays.get(years)
        if known is None:
            year = born.year + years
            known = FOREVER if year > 9998 else self._zone.midnight(self._anniversary(born, year))
            self._birthdays[years] = known
        return known

    def _anniversary(self, born: date, year: int) -> int:
        try:
            return born.replace(year=year).toordinal()
        except ValueError:  # 29 February in a common year
            return date(year, 2, 28).toordinal() + (0 if self._leap_on_feb_28 else 1)

    def ranges(self, statement: str, name: str) -> Ranges | None:
        """Instants during which the person holds a statement; ``None`` where it is unknown."""
        key = (statement, name)
        if key in self._ranges:
            return self._ranges[key]
        held = getattr(self._facts, statement)
        found = None if held is None else tuple(self.instants(span) for span in held.get(name, ()))
        self._ranges[key] = found
        return found

    def instants(self, span: Span) -> tuple[Instant, Instant]:
        """``[start, until)`` of inclusive local days."""
        return span_instants(span.start, span.until, self._zone)


def span_instants(start: date | None, until: date | None, zone: LocalTime) -> tuple[Instant, Instant]:
    """``[start, until)`` of inclusive local days; open ends are :data:`BEGINNING` and ``FOREVER``."""
    return (
        BEGINNING if start is None else zone.midnight(start.toordinal()),
        FOREVER if until is None else zone.midnight(min(until.toordinal() + 1, MAX_ORDINAL)),
    )


Test = Callable[[View, Instant], bool | None]


class Condition:
    """A compiled expression: :attr:`test` at an instant, and the instants at which the answer can change."""

    __slots__ = ("_leaves", "ages", "test")

    def __init__(self, expression: Expression) -> None:
        self.test: Test = _compile(expression)
        self._leaves = tuple(_leaves(expression))
        asked = [leaf for leaf in self._leaves if isinstance(leaf, Age)]
        self.ages = frozenset(years for leaf in asked for years in (leaf.low, leaf.high) if years is not None)
        """Birthdays, in years, on which the answer can change."""

    def boundaries(self, view: View, into: set[Instant]) -> None:
        """Add every instant at which a fact that this condition asks for begins or ends."""
        for leaf in self._leaves:
            if isinstance(leaf, Age):
                for years in (leaf.low, leaf.high):
                    turn = None if years is None else view.birthday(years)
                    if turn is not None:
                        into.add(turn)
            else:
                for statement, name in _asked(leaf):
                    for pair in view.ranges(statement, name) or ():
                        into.update(pair)


def _leaves(expression: Expression) -> Iterator[Age | ResidentOf | Holds]:
    if isinstance(expression, (All, Any)):
        for item in expression.items:
            yield from _leaves(item)
    elif isinstance(expression, Not):
        yield from _leaves(expression.item)
    else:
        yield expression


def _asked(leaf: ResidentOf | Holds) -> list[tuple[str, str]]:
    if isinstance(leaf, ResidentOf):
        return [("residency", tenant) for tenant in leaf.tenants]
    return [(leaf.statement, name) for name in leaf.names]


def _compile(expression: Expression) -> Test:
    if isinstance(expression, All):
        return _all(tuple(map(_compile, expression.items)))
    if isinstance(expression, Any):
        return _any(tuple(map(_compile, expression.items)))
    if isinstance(expression, Not):
        return _not(_compile(expression.item))
    if isinstance(expression, Age):
        return _age(expression.low, expression.high)
    return _held(tuple(_asked(expression)))


def _all(tests: tuple[Test, ...]) -> Test:
    def test(view: View, at: Instant) -> bool | None:
        answer: bool | None = True
        for one in tests:
            found = one(view, at)
            if found is False:
                return False
            if found is None:
                answer = None
        return answer

    return test


def _any(tests: tuple[Test, ...]) -> Test:
    def test(view: View, at: Instant) -> bool | None:
        answer: bool | None = False
        for one in tests:
            found = one(view, at)
            if found is True:
                return True
            if found is None:
                answer = None
        return answer

    return test


def _not(inner: Test) -> Test:
    def test(view: View, at: Instant) -> bool | None:
        found = inner(view, at)
        return None if found is None else not found

    return test


def _age(low: int | None, high: int | None) -> Test:
    def test(view: View, at: Instant) -> bool | None:
        if low is not None:
            reached = view.birthday(low)
            if reached is None:
                return None
            if at < reached:
                return False
        if high is not None:
            passed = view.birthday(high)
            if passed is None:
                return None
            return at < passed
        return True

    return test


def _held(asked: tuple[tuple[str, str], ...]) -> Test:
    def test(view: View, at: Instant) -> bool | None:
        answer: bool | None = False
        for statement, name in asked:
            ranges = view.ranges(statement, name)
            if ranges is None:
                answer = None
                continue
            for start, until in ranges:
                if start <= at < until:
                    return True
        return answer

    return test
