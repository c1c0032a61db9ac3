"""How the conditions on a person differ, told as what people no longer need, now need, or now get."""

from __future__ import annotations

from entitlements.explain.phrases import Condition, Fact, Group, ages, condition, merged, people, phrase, split, to_do
from entitlements.explain.words import Names, listed
from entitlements.service import Age, Expression, ResidentOf


def who_changes(old: Expression | None, new: Expression | None, names: Names) -> list[str]:
    """Sentences on who may now use a service and who no longer may."""
    if old == new:
        return []
    if old is None and new is not None:
        must = [to_do(item, names) for item in _conditions(new)]
        return [f"The service is no longer open to everyone with a card: people must now {listed(must)}"]
    if new is None:
        return ["Anyone with a card in use can now use this service"]
    before, after = _conditions(old), _conditions(new)
    gone = [item for item in before if item not in after]
    added = [item for item in after if item not in before]
    told: list[str] = []
    for item in list(gone):
        match = next((other for other in added if _alike(item, other)), None)
        if match is not None:
            gone.remove(item)
            added.remove(match)
            told += _pair(item, match, names)
    told += [_lifted(item, names) for item in gone]
    told += [_asked(item, names) for item in added]
    return told


def _lifted(item: Condition, names: Names) -> str:
    if isinstance(item, Fact) and not item.held:
        return f"{_capital(people(Fact(item.leaf), names))} can now use the service"
    return f"People no longer need to {to_do(item, names)}"


def _asked(item: Condition, names: Names) -> str:
    if isinstance(item, Fact) and not item.held:
        return f"{_capital(people(Fact(item.leaf), names))} can no longer use the service"
    return f"People must now {to_do(item, names)}"


def _conditions(expression: Expression | None) -> list[Condition]:
    """What must all hold."""
    if expression is None:
        return []
    value = condition(expression)
    return list(value.items) if isinstance(value, Group) and value.word == "all" else [value]


def _alternatives(value: Condition) -> list[Condition]:
    """What is enough by itself, each name on its own."""
    items = value.items if isinstance(value, Group) and value.word == "any" else (value,)
    return [one for item in items for one in split(item)]


def _alike(one: Condition, other: Condition) -> bool:
    """Whether one condition can be told as a changed form of the other."""
    if isinstance(one, Fact) and isinstance(other, Fact) and one.held and other.held:
        if isinstance(one.leaf, Age) and isinstance(other.leaf, Age):
            return True
        if isinstance(one.leaf, ResidentOf) and isinstance(other.leaf, ResidentOf):
            return True
    shared = [item for item in _alternatives(one) if item in _alternatives(other)]
    return bool(shared)


def _pair(old: Condition, new: Condition, names: Names) -> list[str]:
    if isinstance(old, Fact) and isinstance(new, Fact) and isinstance(old.leaf, Age) and isinstance(new.leaf, Age):
        return _age(old.leaf, new.leaf)
    before, after = _alternatives(old), _alternatives(new)
    shared = [item for item in after if item in before]
    gone = [item for item in before if item not in after]
    added = [item for item in after if item not in before]
    told: list[str] = []
    turned = [item for item in gone if _is_age(item)], [item for item in added if _is_age(item)]
    if len(turned[0]) == len(turned[1]) == 1 and shared:
        need = _need(shared, names)
        was, now = (_ages_of(side[0]) for side in turned)
        told.append(f"People who are {now} do not need {need}. Before, this was for people who are {was}")
        gone.remove(turned[0][0])
        added.remove(turned[1][0])
    for item in added:
        if _is_age(item) and shared:
            told.append(f"{_capital(people(item, names))} no longer need {_need(shared, names)}")
        else:
            told.append(f"{_capital(people(item, names))} can now use the service too")
    for item in gone:
        if _is_age(item) and shared:
            told.append(f"{_capital(people(item, names))} now need {_need(after, names)}")
        else:
            told.append(f"{_capital(people(item, names))} can no longer use the service for that reason alone")
    return told or [f"People must now {to_do(new, names)}"]


def _is_age(value: Condition) -> bool:
    return isinstance(value, Fact) and isinstance(value.leaf, Age)


def _ages_of(value: Condition) -> str:
    return ages(value.leaf) if isinstance(value, Fact) and isinstance(value.leaf, Age) else ""


def _need(items: list[Condition], names: Names) -> str:
    """After "need": ``evidence of a disability``, or ``to be a library member``."""
    whole = regroup(items)
    text = phrase(whole, names)
    plain = text.removeprefix("have ")
    if text.startswith("have ") and ", or " not in text and " or are" not in text and " or live" not in text:
        return plain
    return f"to {to_do(whole, names)}"


def regroup(items: list[Condition]) -> Condition:
    """Alternatives as one group, names of one kind joined."""
    joined = merged(items, "any")
    return joined[0] if len(joined) == 1 else Group("any", tuple(joined))


def _age(old: Age, new: Age) -> list[str]:
    told = []
    if old.low != new.low:
        if new.low is None:
            told.append(f"There is no longer a minimum age. It was {old.low}")
        elif old.low is None:
            told.append(f"There is now a minimum age of {new.low}")
        else:
            told.append(f"The minimum age goes {'up' if new.low > old.low else 'down'} from {old.low} to {new.low}")
    if old.high != new.high:
        if new.high is None:
            told.append(f"There is no longer an upper age limit. People had to be under {old.high}")
        elif old.high is None:
            told.append(f"People must now be under {new.high}")
        else:
            told.append(f"People must now be under {new.high}, not under {old.high}")
    return told


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
