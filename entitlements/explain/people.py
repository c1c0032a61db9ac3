"""Who a service is for, what else is asked of them, who may act for them, and whom they may bring."""

from __future__ import annotations

from entitlements.explain.phrases import Group, condition, people, phrase, short
from entitlements.explain.words import Names, length, listed, money, small
from entitlements.possibility import possible
from entitlements.service import (
    AccompaniedBy,
    ActsFor,
    BookingRule,
    Pin,
    Prerequisite,
    Presentation,
    Requirement,
    ServiceDocument,
)

Told = list[tuple[int, str]]
"""Lines with their depth: 0 a sentence, 1 a bullet, 2 and 3 bullets within bullets."""

PRESENTATIONS = {
    "static": "a printed card or a saved code",
    "live": "the moving code in the phone app",
    "chip": "a plastic card held to the reader",
    "totp": "the changing code in Google Wallet",
    "uid": "an older plastic card, known only by its number",
}
"""What a person does for each kind of presentation, in the order in which they are told."""
SCOPES = {
    "use": "use it",
    "collect": "collect things",
    "spend": "spend money",
    "manage": "manage it",
    "book": "make bookings",
}
"""What a delegate may do, by scope; any other scope is read from its name."""
ADULT = 16
"""Years from which a person is not told of as a child here."""


def who(document: ServiceDocument, names: Names) -> Told:
    """Conditions on the person."""
    if document.who is None:
        return [(0, "Anyone with a card in use can use this service")]
    value = condition(document.who)
    if not isinstance(value, Group) or (value.word == "any" and short(value) and not _mixed(value)):
        return [(0, f"People can use this service if they {phrase(value, names)}")]
    return [(0, f"People can use this service if {_head(value)}:"), *_bullets(value, names, 1)]


def _mixed(value: Group) -> bool:
    return any(isinstance(item, Group) for item in value.items)


def _head(value: Group) -> str:
    if value.word == "all":
        return "both of these are true" if len(value.items) == 2 else "all of these are true"
    return "at least one of these is true"


def _bullets(value: Group, names: Names, depth: int) -> Told:
    told: Told = []
    for item in value.items:
        if isinstance(item, Group) and not short(item):
            told.append((depth, f"{_head(item)}:"))
            told += _bullets(item, names, depth + 1)
        else:
            told.append((depth, f"they {phrase(item, names)}"))
    return told


def prices(document: ServiceDocument, names: Names) -> Told:
    """Price bands in the order in which they are tried."""
    bands = document.price
    if not bands:
        if document.kind == "spend":
            return [(0, "People pay for what they choose, within the limits below")]
        return [(0, "No price is set for this service")]
    if len(bands) == 1 and bands[0].when is None:
        return [(0, f"{_pence(bands[0].pence)} for everyone ({names.thing(bands[0].name)} price)")]
    told: Told = []
    if len(bands) > 1 + (bands[-1].when is None):
        told.append((0, "People pay the first price in this list that fits them:"))
    for band in bands:
        whom = "everyone else" if band.when is None else people(condition(band.when), names)
        told.append((1, f"{_pence(band.pence)} for {whom} ({names.thing(band.name)} price)"))
    if bands[-1].when is not None:
        told.append((0, "No price is set for anyone else"))
    return told


def _pence(pence: int) -> str:
    text = money(pence)
    return text[:1].upper() + text[1:]


def requirements(document: ServiceDocument, names: Names) -> Told:
    """What else is asked for at the gate."""
    lines = [_requirement(requirement, names) for requirement in document.requires]
    if document.items is not None:
        lines.append(f"they can only choose from {listed((_items(name, names) for name in document.items), 'or')}")
    if not lines:
        return []
    if len(lines) == 1:
        return [(0, lines[0])]
    return [(0, "As well as their card:"), *((1, line) for line in lines)]


def _items(name: str, names: Names) -> str:
    return f"the list “{names.thing(name)}”" if name.startswith("@") else names.thing(name)


def _requirement(rule: Requirement, names: Names) -> str:
    if isinstance(rule, Prerequisite):
        name = names.thing(rule.name)
        where = "at the site they are visiting" if rule.scope == "site" else "once, at any site"
        return f"they must have done the {name} {where}"
    if isinstance(rule, Pin):
        return "they must enter their PIN"
    if isinstance(rule, Presentation):
        ways = [PRESENTATIONS[kind] for kind in PRESENTATIONS if kind in rule.kinds]
        ways += [names.thing(kind) for kind in sorted(rule.kinds - PRESENTATIONS.keys())]
        return f"they must show their card as {listed(ways, 'or')}"
    otherwise = {
        "deny": "they cannot come in",
        "allow": "they can still come in",
        "refer": "a member of staff decides",
    }[rule.if_unknown]
    recent = length(rule.max_age).removeprefix("1 ")
    return (
        f"the {names.thing(rule.name)} must have told us in the last {recent} that they are not blocked "
        f"(if it has not answered, {otherwise})"
    )


def children(document: ServiceDocument, names: Names) -> Told:
    """Children brought along."""
    rule = document.delegation.accompanied_by
    if rule is not None:
        return _accompanied(rule, names)
    parties = [limit.party_max for limit in document.limits if isinstance(limit, BookingRule) and limit.party_max]
    if parties:
        return []  # the party is told with the booking
    young = document.who is None or possible(document.who, ages=range(ADULT)) is not False
    if document.kind == "access" and young:
        return [(0, "Everyone who comes in needs their own card, including children")]
    return []


def _accompanied(rule: AccompaniedBy, names: Names) -> Told:
    young = f"children under {rule.children_under}"
    lines = [f"{young} can only come in with an adult"] if rule.max else [f"{young} cannot come in"]
    if rule.max:
        number = small(rule.max)
        noun = "child" if rule.max == 1 else "children"
        lines.append(f"each adult can bring up to {number} {noun} under {rule.children_under}")
    if rule.relations:
        roles = listed((names.thing(name) for name in rule.relations), "or")
        lines.append(f"the adult should be the child’s {roles}")
    return [(0, line) for line in lines]


def acting(document: ServiceDocument, names: Names) -> Told:
    """Acting for the cardholder."""
    rule = document.delegation.acts_for
    if rule is None:
        return [(0, "Nobody else can use this service for the cardholder")]
    told: Told = [(0, f"A person the cardholder has chosen can {_scopes(rule, names)} for them")]
    if rule.max_pence is not None:
        told.append((0, f"that person can agree to up to {money(rule.max_pence)} at a time"))
    if rule.needs:
        told.append((0, f"before we set this up, we ask for {listed((names.of(name) for name in rule.needs), 'or')}"))
    return told


def _scopes(rule: ActsFor, names: Names) -> str:
    order = [scope for scope in SCOPES if scope in rule.scopes] + sorted(rule.scopes - SCOPES.keys())
    return listed((SCOPES.get(scope, names.thing(scope)) for scope in order), "or")
