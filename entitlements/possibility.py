"""Whether a condition can be true of anybody at all, or of everybody.

A method, not a guess. The answer of a condition depends on the person's age only through the ages it names, so trying
the ages on both sides of each is trying them all. Facts that are only ever asked for (never under ``not``) can do a
condition nothing but good, so they are taken as held; facts only ever ruled out as not held; what remains is tried both
ways, with Kleene's logic cutting off every branch that is settled already. Unknown facts need no trying: where an
unknown fact leaves an answer, every known one gives the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from entitlements.service import Age, All, Any, Expression, Holds, Not, ResidentOf

OLDEST = 120
"""Years: nobody has been recorded as older than 122, and no service turns on it."""
EFFORT = 2_000_000
"""Facts looked at before giving up: some two seconds, for a condition that no person could read either."""

Atom = tuple[str, str]
"""Kind of statement (or ``residency``) and its name."""


def atoms(expression: Expression) -> Iterator[tuple[Atom, bool]]:
    """Every statement that a condition asks for, and whether it is asked for (``True``) or ruled out."""
    yield from _atoms(expression, True)


def _atoms(expression: Expression, wanted: bool) -> Iterator[tuple[Atom, bool]]:
    if isinstance(expression, (All, Any)):
        for item in expression.items:
            yield from _atoms(item, wanted)
    elif isinstance(expression, Not):
        yield from _atoms(expression.item, not wanted)
    elif not isinstance(expression, Age):
        for atom in _of_leaf(expression):
            yield atom, wanted


def _of_leaf(leaf: ResidentOf | Holds) -> list[Atom]:
    if isinstance(leaf, ResidentOf):
        return [("residency", tenant) for tenant in leaf.tenants]
    return [(leaf.statement, name) for name in leaf.names]


def critical_ages(*expressions: Expression) -> list[int]:
    """Ages, youngest first, such that every other age is treated like one of them."""
    found = {0}
    for expression in expressions:
        for age in _ages(expression):
            found.update(side for side in (age.low, age.high) if side is not None and side <= OLDEST)
    return sorted(found)


def _ages(expression: Expression) -> Iterator[Age]:
    if isinstance(expression, (All, Any)):
        for item in expression.items:
            yield from _ages(item)
    elif isinstance(expression, Not):
        yield from _ages(expression.item)
    elif isinstance(expression, Age):
        yield expression


def truth(expression: Expression, age: int, known: Mapping[Atom, bool]) -> bool | None:
    """Kleene's answer for a person of that age of whom just these statements are known."""
    if isinstance(expression, (All, Any)):
        settled = isinstance(expression, Any)
        answer: bool | None = not settled
        for item in expression.items:
            found = truth(item, age, known)
            if found is settled:
                return settled
            if found is None:
                answer = None
        return answer
    if isinstance(expression, Not):
        found = truth(expression.item, age, known)
        return None if found is None else not found
    if isinstance(expression, Age):
        return (expression.low is None or age >= expression.low) and (expression.high is None or age < expression.high)
    answer = False
    for atom in _of_leaf(expression):
        held = known.get(atom)
        if held:
            return True
        if held is None:
            answer = None
    return answer


def _size(expression: Expression) -> int:
    if isinstance(expression, (All, Any)):
        return 1 + sum(map(_size, expression.items))
    if isinstance(expression, Not):
        return 1 + _size(expression.item)
    return 1 if isinstance(expression, Age) else len(_of_leaf(expression))


def possible(
    expression: Expression, *, ages: Collection[int] | None = None, fixed: Mapping[Atom, bool] | None = None
) -> bool | None:
    """Whether some person of whom everything is known satisfies a condition.

    Args:
        expression: the condition.
        ages: the only ages to consider, in years; all that matter by default.
        fixed: statements that are held, or not, as given.

    Returns:
        ``None`` where the condition is too tangled to say within :data:`EFFORT`.
    """
    wanted: dict[Atom, set[bool]] = {}
    for atom, side in atoms(expression):
        wanted.setdefault(atom, set()).add(side)
    known = {atom: next(iter(sides)) for atom, sides in wanted.items() if len(sides) == 1}
    known.update(fixed or {})
    open_atoms = [atom for atom in wanted if atom not in known]
    steps = EFFORT // max(_size(expression), 1)
    for age in critical_ages(expression) if ages is None else ages:
        stack: list[tuple[int, dict[Atom, bool]]] = [(0, known)]
        while stack:
            steps -= 1
            if steps < 0:
                return None
            chosen, held = stack.pop()
            answer = truth(expression, age, held)
            if answer is True:
                return True
            if answer is None and chosen < len(open_atoms):
                atom = open_atoms[chosen]
                stack.append((chosen + 1, {**held, atom: False}))
                stack.append((chosen + 1, {**held, atom: True}))
    return False


def constant(expression: Expression) -> bool | None:
    """``True`` where everybody satisfies a condition, ``False`` where nobody can, ``None`` where it depends."""
    if possible(expression) is False:
        return False
    if possible(Not(item=expression)) is False:
        return True
    return None
