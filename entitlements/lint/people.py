"""People a rule forgets: those without a phone, children, and the second person who approves."""

from __future__ import annotations

from entitlements.lint.conditions import unsupplied
from entitlements.lint.findings import Findings, KnownFacts
from entitlements.lint.places import Place
from entitlements.possibility import Atom, atoms, possible
from entitlements.service import Age, Pin, Prerequisite, Presentation, ServiceDocument, Upstream

CHILD_UNTIL = 16
"""Years below which a person counts as a child at a gate (design.md: children's cards, unstaffed libraries)."""
THROUGH_PARENT_UNTIL = 13
"""Years below which a child acts through a parent (Data Protection Act 2018, section 9, draws the line there)."""
GROWN_UP = 18
"""An age rule that ends at or below this is about children."""
PARENT_WORDS = ("parent", "guardian", "carer")
"""Words in the names of roles and links that stand for a parent's part."""


def requirements(document: ServiceDocument, known: KnownFacts, findings: Findings) -> None:
    """Names under ``requires``, and a way in without a phone."""
    ways = known.presentations
    asked: str | None = None
    for index, rule in enumerate(document.requires):
        pointer = f"/requires/{index}"
        if isinstance(rule, Prerequisite) and rule.name not in known.prerequisites:
            unsupplied(f"{pointer}/prerequisite", f"“{rule.name}” as done", known.prerequisites, findings)
        elif isinstance(rule, Upstream) and rule.name not in known.upstreams:
            unsupplied(f"{pointer}/upstream", f"answers of the system “{rule.name}”", known.upstreams, findings)
        elif isinstance(rule, Presentation):
            asked = f"{pointer}/presentation" if asked is None else asked
            for kind in sorted(rule.kinds - known.presentations):
                unsupplied(f"{pointer}/presentation", f"cards of the kind “{kind}”", known.presentations, findings)
            ways &= rule.kinds
            _weak(f"{pointer}/presentation", rule, findings)
        elif isinstance(rule, Pin):
            findings.warn(
                "pin_without_keypad",
                f"{pointer}/factor",
                "Only a lane with a keypad can ask for a PIN; any other sends everyone to staff.",
                "Check that every gate of this service has a keypad, and that people can set a PIN at a desk.",
            )
    if asked is not None and ways.isdisjoint(known.non_digital):
        findings.error(
            "no_non_digital_way",
            asked,
            "Only people with a phone could use this service." if ways else "No kind of card is accepted.",
            'Also accept a plastic card ("chip") or a printed one ("static"), so that nobody needs a phone.',
        )


def _weak(pointer: str, rule: Presentation, findings: Findings) -> None:
    """Kinds that are accepted only where a document names them, because they are easier to forge."""
    if "uid" in rule.kinds:
        findings.warn(
            "copyable_card",
            pointer,
            "An older plastic card that is known only by its number can be copied by anybody who has held it.",
            "Accept it only where nothing is lost if a copy gets in, and change such cards soon.",
        )
    if "totp" in rule.kinds:
        findings.warn(
            "shared_secret_code",
            pointer,
            "The rotating code in Google Wallet rests on a secret that every gate of this service holds.",
            "Accept it only where little is lost if a gate is stolen.",
        )


def children(document: ServiceDocument, root: Place | None, findings: Findings) -> None:
    """A service whose age rules let children in, with nothing that says what a parent's part is."""
    if root is None:
        return
    who = root.expression
    about = [part for part in root.walk() if isinstance(part.expression, Age) and _about_children(part.expression)]
    if not about:
        return
    absent: dict[Atom, bool] = {atom: False for atom, wanted in atoms(who) if wanted and _of_parent(atom)}
    alone = [age for age in range(CHILD_UNTIL) if possible(who, ages=[age], fixed=absent) is not False]
    rule = document.delegation.accompanied_by
    if rule is not None and rule.max:
        alone = [age for age in alone if rule.children_under <= age < THROUGH_PARENT_UNTIL]
    if not alone:
        return
    ages = str(alone[0]) if len(alone) == 1 else f"{alone[0]} to {alone[-1]}"
    findings.error(
        "children_without_parent",
        about[0].pointer,
        f"Children aged {ages} could use this service, and nothing says what their parents’ part is.",
        "Ask for a parent’s consent (a “linked” parent_consent), let the parent come with them "
        "(“accompanied_by” under delegation), or raise the minimum age to 16.",
    )


def _about_children(age: Age) -> bool:
    return (age.low is not None and 0 < age.low < CHILD_UNTIL) or (age.high is not None and age.high <= GROWN_UP)


def _of_parent(atom: Atom) -> bool:
    kind, name = atom
    return kind in ("linked", "role") and any(word in name.lower() for word in PARENT_WORDS)


def second_person(drafted_by: str | None, approved_by: str | None, findings: Findings) -> None:
    """Whoever approves must not be whoever wrote it."""
    if drafted_by and approved_by and drafted_by.strip().casefold() == approved_by.strip().casefold():
        findings.error(
            "same_person",
            "",
            f"{approved_by.strip()} wrote this version, so cannot also approve it.",
            "Ask a colleague to read and approve it.",
        )
