"""A document in the feed of another council: the lists it names are still those of the council that wrote it.

Both councils may have an ``@uk-bank-holidays`` of their own. In a feed of another council the owner's lists are
therefore carried as ``@owner:name``, and the document names them so. Lists made here have no colon in their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

OWNER_SEPARATOR: Final = ":"
DEFAULT_HOLIDAYS: Final = "@uk-bank-holidays"
"""The calendar that a document means by holidays when it names none (``entitlements.service.When``)."""
PLACES: Final = ("where", "when", "allow_only_items")
"""Members of a document in which lists are named."""


def qualified_name(owner: str, name: str) -> str:
    """``@name`` of ``owner`` as another council's feed carries it."""
    return f"@{owner}{OWNER_SEPARATOR}{name.removeprefix('@')}"


def qualified_document(document: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The document with the owner written before each list it names."""
    shown = dict(document)
    when = shown.get("when")
    if isinstance(when, Mapping) and _asks_for_holidays(when):
        shown["when"] = {"holidays": DEFAULT_HOLIDAYS, **when}
    for place in PLACES:
        if place in shown:
            shown[place] = _qualified(shown[place], owner)
    return shown


def _asks_for_holidays(when: Mapping[str, Any]) -> bool:
    return any(window.get("holidays", "include") != "include" for window in when.get("windows", ()))


def _qualified(value: Any, owner: str) -> Any:
    if isinstance(value, str):
        return qualified_name(owner, value) if value.startswith("@") else value
    if isinstance(value, Mapping):
        return {name: _qualified(member, owner) for name, member in value.items()}
    if isinstance(value, list):
        return [_qualified(member, owner) for member in value]
    return value
