"""Always true and always false, against trying every person there is."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings

from entitlements.builders import Faults, _expression
from entitlements.possibility import OLDEST, Atom, atoms, constant, possible, truth
from entitlements.service import All, Any, Expression, Holds, Not
from tests.support.documents import Json, conditions


def read(value: Json) -> Expression | None:
    faults = Faults()
    expression = _expression(value, "/who", faults)
    return None if faults.problems else expression


def everybody(expression: Expression) -> set[bool | None]:
    """The answers for all ages and all facts, tried one by one."""
    names = sorted({atom for atom, _ in atoms(expression)})
    return {
        truth(expression, age, dict(zip(names, held, strict=True)))
        for age in range(OLDEST + 1)
        for held in product((False, True), repeat=len(names))
    }


@given(conditions)
@settings(max_examples=60, deadline=None)
def test_a_rule_called_constant_is_so_for_everybody_and_any_other_is_not(value: Json) -> None:
    expression = read(value)
    if expression is None or len({atom for atom, _ in atoms(expression)}) > 5:
        return
    answers = everybody(expression)
    assert (constant(expression) is True) == (answers == {True})
    assert (constant(expression) is False) == (answers == {False})


def test_a_fact_taken_away_may_make_a_rule_impossible() -> None:
    consent: Atom = ("linked", "parent_consent")
    rule = All(items=(Holds(statement="linked", names=("parent_consent",)),))
    assert possible(rule) is True
    assert possible(rule, fixed={consent: False}) is False


def test_a_rule_that_nobody_can_weigh_is_called_neither() -> None:
    # Nine people in eight rooms, nobody sharing: impossible, and famously long to show.
    inside = [[Holds(statement="role", names=(f"p{person}-r{room}",)) for room in range(8)] for person in range(9)]
    housed = [Any(items=tuple(rooms)) for rooms in inside]
    apart = [
        Not(item=All(items=(inside[one][room], inside[other][room])))
        for room in range(8)
        for one in range(9)
        for other in range(one)
    ]
    assert possible(All(items=(*housed, *apart))) is None
    assert constant(All(items=(*housed, *apart))) is None
