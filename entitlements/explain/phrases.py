"""Conditions as English: "live in Westminster", "are 16 or over", "have evidence of a disability or a care plan".

A condition is first brought to the form in which ``not`` stands only before a single fact. In Kleene's logic that
changes no answer, and it spares the reader every double negative.
"""

from __future__ import annotations

import msgspec

from entitlements.explain.words import Names, article, listed
from entitlements.service import Age, All, Any, Expression, Holds, Not, ResidentOf

_PLAIN_FEW = 3
"""Alternatives that are still read in one breath."""


class Fact(msgspec.Struct, frozen=True):
    """One fact, asked for or ruled out."""

    leaf: Age | ResidentOf | Holds
    held: bool = True


class Group(msgspec.Struct, frozen=True):
    """All of several conditions, or at least one of them."""

    word: str  # "all" or "any"
    items: tuple[Condition, ...]


Condition = Fact | Group


def condition(expression: Expression, *, held: bool = True) -> Condition:
    """The expression with every ``not`` moved to its facts, ages turned round, and groups of a kind merged."""
    if isinstance(expression, Not):
        return condition(expression.item, held=not held)
    if isinstance(expression, (All, Any)):
        word = "all" if isinstance(expression, All) == held else "any"
        items: list[Condition] = []
        for item in expression.items:
            inner = condition(item, held=held)
            items += inner.items if isinstance(inner, Group) and inner.word == word else (inner,)
        items = merged(items, word)
        return items[0] if len(items) == 1 else Group(word, tuple(items))
    if isinstance(expression, Age) and not held:
        return _other_ages(expression)
    return Fact(expression, held)


def _other_ages(age: Age) -> Condition:
    sides = []
    if age.low is not None:
        sides.append(Fact(Age(high=age.low)))
    if age.high is not None:
        sides.append(Fact(Age(low=age.high)))
    if not sides:
        return Fact(age, held=False)
    return sides[0] if len(sides) == 1 else Group("any", tuple(sides))


def merged(items: list[Condition], word: str) -> list[Condition]:
    """``evidence of a`` or ``evidence of b`` is ``evidence of a or b``; so is "neither a nor b" under ``all``."""
    found: list[Condition] = []
    places: dict[tuple[str, bool], int] = {}
    for item in items:
        if item in found:
            continue
        if isinstance(item, Fact) and isinstance(item.leaf, (Holds, ResidentOf)) and item.held == (word == "any"):
            kind = item.leaf.statement if isinstance(item.leaf, Holds) else "residency"
            place = places.setdefault((kind, item.held), len(found))
            if place < len(found):
                found[place] = Fact(_joined(found[place], item.leaf), item.held)
                continue
        found.append(item)
    return found


def _joined(first: Condition, leaf: Holds | ResidentOf) -> Holds | ResidentOf:
    if isinstance(first, Fact) and isinstance(first.leaf, Holds) and isinstance(leaf, Holds):
        return Holds(statement=leaf.statement, names=tuple(dict.fromkeys((*first.leaf.names, *leaf.names))))
    if isinstance(first, Fact) and isinstance(first.leaf, ResidentOf) and isinstance(leaf, ResidentOf):
        return ResidentOf(tenants=tuple(dict.fromkeys((*first.leaf.tenants, *leaf.tenants))))
    return leaf


def phrase(value: Condition, names: Names) -> str:
    """After "they": ``live in Westminster``; a group is joined, inner groups set off by commas."""
    if isinstance(value, Fact):
        return _fact(value, names)
    parts = [phrase(item, names) for item in value.items]
    word = "and" if value.word == "all" else "or"
    if any(isinstance(item, Group) for item in value.items):
        return ", ".join(parts[:-1]) + f", {word} {parts[-1]}"
    if all(part.startswith("are ") for part in parts):
        parts = [parts[0], *(part.removeprefix("are ") for part in parts[1:])]
    return listed(parts, word)


def to_do(value: Condition, names: Names) -> str:
    """After "must": ``be 16 or over``, ``not live in Westminster``."""
    if isinstance(value, Group):
        parts = [to_do(item, names) for item in value.items]
        return listed(parts, "and" if value.word == "all" else "or")
    text = phrase(value, names)
    if text.startswith("are not "):
        return "not be " + text.removeprefix("are not ")
    if text.startswith("are "):
        return "be " + text.removeprefix("are ")
    return text.removeprefix("do ") if text.startswith("do not ") else text


def split(value: Condition) -> list[Condition]:
    """A fact with several names as one fact for each; anything else as it is."""
    if isinstance(value, Fact) and value.held:
        leaf = value.leaf
        if isinstance(leaf, Holds):
            return [Fact(Holds(statement=leaf.statement, names=(name,))) for name in leaf.names]
        if isinstance(leaf, ResidentOf):
            return [Fact(ResidentOf(tenants=(tenant,))) for tenant in leaf.tenants]
    return [value]


def people(value: Condition, names: Names) -> str:
    """As a group of people: ``people aged 60 or over``, ``people who live in Westminster``."""
    if isinstance(value, Fact) and isinstance(value.leaf, Age):
        return f"people {_age(value.leaf)}"
    return f"people who {phrase(value, names)}"


def _age(age: Age) -> str:
    low, high = age.low, age.high
    if low is None and high is None:
        return "of any age"
    if high is None:
        return f"aged {low} or over"
    if low is None or low == 0:
        return f"aged under {high}"
    return f"aged {low}" if high == low + 1 else f"aged {low} to {high - 1}"


def ages(age: Age) -> str:
    """``16 or over``, ``under 18``, ``11 to 17``."""
    return _age(age).removeprefix("aged ")


def _fact(fact: Fact, names: Names) -> str:
    leaf = fact.leaf
    if isinstance(leaf, Age):
        told = _age(leaf)
        if leaf.high is None or leaf.low in (None, 0):
            told = told.removeprefix("aged ")
        return f"are {told}" if fact.held else f"are not {told}"
    if isinstance(leaf, ResidentOf):
        where = listed((names.proper(tenant) for tenant in leaf.tenants), "or")
        return f"live in {where}" if fact.held else f"do not live in {where}"
    return _statement(leaf, names, held=fact.held)


def _statement(leaf: Holds, names: Names, *, held: bool) -> str:
    have = "have" if held else "do not have"
    if leaf.statement == "evidence":
        return f"{have} evidence of {listed((names.of(name) for name in leaf.names), 'or')}"
    if leaf.statement == "member_of":
        return f"{have} {listed((names.thing(name) for name in leaf.names), 'or')} membership"
    if leaf.statement == "linked":
        return f"{have} {listed((names.of(name) for name in leaf.names), 'or')} on record"
    if leaf.statement == "permit":
        kinds = [f"{article(names.thing(name))} {names.thing(name)} permit" for name in leaf.names]
        return f"{have} {listed(kinds, 'or')}"
    roles = [f"{article(names.thing(name))} {names.thing(name)}" for name in leaf.names]
    return f"are {'' if held else 'not '}recorded as {listed(roles, 'or')}"


def short(value: Condition) -> bool:
    """Whether the condition is read in one breath: a fact, or few facts without groups inside."""
    if isinstance(value, Fact):
        return True
    return len(value.items) <= _PLAIN_FEW and all(
        isinstance(item, Fact) or (len(item.items) == 2 and all(isinstance(one, Fact) for one in item.items))
        for item in value.items
    )
