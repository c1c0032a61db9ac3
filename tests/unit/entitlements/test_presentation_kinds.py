"""Which kinds of card open a service, and that the easily forged ones open only what names them."""

from __future__ import annotations

from typing import Any

import pytest

from entitlements.decide import TapInput, decide
from entitlements.durations import parse_instant
from entitlements.model import Outcome
from entitlements.service import (
    ACCEPTED_UNASKED,
    ONLY_WHERE_NAMED,
    PRESENTATION_KINDS,
    accepted_presentations,
    asks_pin,
)
from tests.support.linting import codes, put, warnings
from tests.unit.entitlements.rule_examples import compiled, moment, subject_of


def outcome(kind: str, **members: Any) -> tuple[str, str]:
    service = compiled(**members)
    at = parse_instant("2027-03-01T12:00:00Z")
    decision = decide(service, subject_of(service, at), moment(at), TapInput(presentation=kind, pin="right"))
    return decision.outcome.value, str(decision.reason)


@pytest.mark.parametrize("kind", sorted(ACCEPTED_UNASKED))
def test_a_service_that_does_not_say_takes_every_signed_card(kind: str) -> None:
    assert outcome(kind) == (Outcome.ALLOW, "ok")
    assert outcome(kind, requires=[{"factor": "pin"}]) == (Outcome.ALLOW, "ok")


@pytest.mark.parametrize("kind", [*sorted(ONLY_WHERE_NAMED), "tattoo", ""])
def test_a_service_that_does_not_say_never_takes_what_can_be_forged_or_is_not_known(kind: str) -> None:
    assert outcome(kind) == (Outcome.DENY, "presentation_not_accepted")
    # Whoever holds such a card is not asked for a PIN first.
    assert outcome(kind, requires=[{"factor": "pin"}]) == (Outcome.DENY, "presentation_not_accepted")


@pytest.mark.parametrize("kind", sorted(PRESENTATION_KINDS))
def test_a_service_takes_exactly_what_it_names(kind: str) -> None:
    for other in sorted(PRESENTATION_KINDS):
        decided, reason = outcome(other, requires=[{"presentation": kind}])
        assert (decided, reason) == (("allow", "ok") if kind == other else ("deny", "presentation_not_accepted"))


def test_what_a_site_has_to_be_able_to_read_follows_from_the_documents() -> None:
    def accepted(*rules: dict[str, Any]) -> frozenset[str]:
        return accepted_presentations(compiled(requires=list(rules)).document)

    assert accepted() == ACCEPTED_UNASKED
    assert accepted({"presentation": ["static", "totp"]}) == {"static", "totp"}
    # Two rules must both hold.
    assert accepted({"presentation": ["static", "uid"]}, {"presentation": ["uid", "chip"]}) == {"uid"}
    assert accepted({"presentation": ["tattoo"]}) == frozenset()
    assert asks_pin(compiled(requires=[{"factor": "pin"}]).document)
    assert not asks_pin(compiled().document)


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        (["live", "static"], []),
        (["static", "uid"], ["copyable_card"]),
        (["static", "totp"], ["shared_secret_code"]),
    ],
)
def test_a_manager_is_warned_of_cards_that_are_easier_to_forge(kinds: list[str], told: list[str]) -> None:
    asked = put("requires")([{"presentation": kinds}])
    assert [code for code in warnings("open-plus", asked) if code in {"copyable_card", "shared_secret_code"}] == told
    assert codes("open-plus", asked) == []


def test_a_manager_is_told_of_kinds_that_need_a_phone() -> None:
    assert codes("open-plus", put("requires")([{"presentation": ["live", "totp"]}])) == ["no_non_digital_way"]


def test_a_manager_who_asks_for_a_pin_is_reminded_of_the_keypad() -> None:
    assert "pin_without_keypad" in warnings("gym-offpeak", put("requires")([{"factor": "pin"}]))
    assert "pin_without_keypad" not in warnings("gym-offpeak", put("requires")([{"presentation": "chip"}]))
