"""Rule kinds that hold from a document all the way to a gate. A document with any other kind is not published.

The rules engine decides all kinds; a kind whose state service and readers do not exchange would refuse everybody at
the gate, so it is refused here until they do. Today all kinds are served; what remains are combinations that no gate
can hold, and kinds of presentation that nobody knows.
"""

from __future__ import annotations

import re
from typing import Final

from cardservice.api.models import SLUG
from cardservice.errors import ApiProblem
from entitlements.service import (
    PRESENTATION_KINDS,
    Balance,
    Presentation,
    ServiceDocument,
    accepted_presentations,
    rule_kinds,
)

AREA: Final = re.compile(SLUG)
"""Names of service areas: they stand in names of feeds, in addresses and in names of files at the gates."""
AREA_WORDS: Final = "gates know service areas by small letters, digits, dots and hyphens"

SERVED_KINDS: Final = frozenset(
    {
        "valid",
        "who",
        "where",
        "when",
        "price",
        "deny",
        "requires.prerequisite",
        "requires.presentation",
        "requires.pin",
        "requires.upstream",
        "limits.quota",
        "limits.balance",
        "limits.booking",
        "limits.loan",
        "limits.capacity",
        "presence.anti_passback",
        "presence.reset",
        "presence.min_gap",
        "presence.max_stay",
        "presence.one_at_a_time",
        "delegation.acts_for",
        "delegation.accompanied_by",
        "allow_only_items",
        "offline.max_stale",
        "offline.mode",
        "offline.lease",
        "offline.on_overspend",
        "offline.capacity",
        "offline.presence",
        "offline.spend",
        "offline.bookings",
    }
)
AT_A_TILL: Final = frozenset({"static", "live"})
"""What can be shown where money is spent: counters of chips and rotating codes are kept at the sites, so the service
could not tell one that was used there."""


def refuse_area(area: str, *, at: str) -> None:
    """Refuse an area that no feed can be named by. ``at`` points to it in the request.

    Raises:
        ApiProblem: 422 ``wrong_values``.
    """
    if AREA.fullmatch(area) is None:
        field = {"at": at, "problem": AREA_WORDS}
        raise ApiProblem(422, "wrong_values", f"The area cannot be {area}: {AREA_WORDS}.", fields=[field])


def refuse_unserved(document: ServiceDocument) -> None:
    """Let only documents pass whose every rule holds at the gates.

    Raises:
        ApiProblem: 422 ``rule_kind_not_served`` with each kind in words; 422 ``wrong_values`` for an area that no feed
            can be named by.
    """
    refuse_area(document.area, at="/document/area")
    if any(isinstance(limit, Balance) for limit in document.limits) and len(document.limits) > 1:
        problem = "money is spent at the service, everything else at the gates: a budget stands alone among the limits"
        raise ApiProblem(
            422,
            "rule_kind_not_served",
            f"This cannot be held: {problem}.",
            fields=[{"at": "/document/limits", "problem": problem}],
            extra={"kinds": ["limits.balance"]},
        )
    _refuse_unknown_presentations(document)
    why = unpayable(document)
    if why is not None:
        raise ApiProblem(
            422,
            "rule_kind_not_served",
            f"This cannot be held: {why}.",
            fields=[{"at": "/document/requires", "problem": why}],
            extra={"kinds": ["requires.presentation"]},
        )
    missing = sorted(rule_kinds(document) - SERVED_KINDS)
    if not missing:
        return
    fields = [
        {"at": "/document/" + kind.replace(".", "/"), "problem": f"the kind of rule {kind} is not served yet"}
        for kind in missing
    ]
    raise ApiProblem(
        422,
        "rule_kind_not_served",
        "Gates cannot hold these rules yet: " + ", ".join(missing) + ".",
        fields=fields,
        extra={"kinds": missing},
    )


def unpayable(document: ServiceDocument) -> str | None:
    """Why nobody could ever pay by a service, if so."""
    spends = any(isinstance(limit, Balance) for limit in document.limits)
    if not spends or accepted_presentations(document) & AT_A_TILL:
        return None
    return "a till takes a card’s printed code (static) or the live code of a phone (live), and this allows neither"


def _refuse_unknown_presentations(document: ServiceDocument) -> None:
    fields = [
        {"at": f"/document/requires/{index}/presentation", "problem": f"there is no kind of card called {kind}"}
        for index, rule in enumerate(document.requires)
        if isinstance(rule, Presentation)
        for kind in sorted(rule.kinds - PRESENTATION_KINDS)
    ]
    if fields:
        known = ", ".join(sorted(PRESENTATION_KINDS))
        raise ApiProblem(
            422,
            "rule_kind_not_served",
            f"This cannot be held: {fields[0]['problem']}. There are {known}.",
            fields=fields,
            extra={"kinds": ["requires.presentation"]},
        )
