"""Every written case comes out as written, through the decision tool's own core."""

from __future__ import annotations

import json
from typing import Any

import pytest

from entitlements import cases
from entitlements.documents import load_services
from entitlements.model import Reason
from entitlements.service import rule_kinds
from tests.unit.entitlements.rule_examples import VECTORS

CREDENTIAL_REASONS = {"bad_signature", "expired_code", "replayed_code"}
"""Given by the credential half before a decision is made."""


def _text(name: str) -> str:
    return (VECTORS / name).read_text("utf-8")


def _suite(prefix: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    text = _text(f"{prefix}cases.json")
    results = cases.run(_text(f"{prefix}world.json"), _text(f"{prefix}services.json"), text)
    return list(zip(cases.load_cases(text), results, strict=True))


SUITES = [*_suite(""), *_suite("own_")]


@pytest.mark.parametrize(("case", "result"), SUITES, ids=[case["id"] for case, _ in SUITES])
def test_nobody_is_let_in_or_refused_against_the_written_case(case: dict[str, Any], result: dict[str, Any]) -> None:
    assert result == {"id": case["id"], **case["expect"]}, case["title"]


def test_every_reason_a_gate_may_give_is_reached_by_a_case() -> None:
    reached = {result["reason"] for _, result in SUITES}
    assert {reason.value for reason in Reason} - CREDENTIAL_REASONS <= reached
    assert {"needs_tour", "library_blocked", "gym_check_unavailable"} <= reached


def test_every_kind_of_rule_is_used_by_a_service_of_the_cases() -> None:
    documents = load_services(_text("services.json")) + load_services(_text("own_services.json"))
    used = frozenset().union(*map(rule_kinds, documents))
    assert used >= {
        *("valid", "who", "where", "when", "price", "deny", "allow_only_items"),
        *("delegation.acts_for", "delegation.accompanied_by"),
        *("requires.prerequisite", "requires.pin", "requires.presentation", "requires.upstream"),
        *("limits.quota", "limits.balance", "limits.booking", "limits.loan", "limits.capacity"),
        *("presence.anti_passback", "presence.reset", "presence.min_gap", "presence.max_stay"),
        *("presence.one_at_a_time", "offline.max_stale", "offline.lease", "offline.mode", "offline.bookings"),
    }


def test_a_wrong_expectation_is_reported_with_its_case() -> None:
    text = _text("cases.json")
    wanted = cases.load_cases(text)
    results = cases.run(_text("world.json"), _text("services.json"), text)
    assert cases.compare(results, wanted) == []
    wanted[3]["expect"]["reason"] = "quota_used"
    (told,) = cases.compare(results, wanted)
    assert wanted[3]["id"] in told
    assert "quota_used" in told


def test_an_expectation_may_be_left_out() -> None:
    wanted = json.loads(_text("cases.json"))[:1]
    del wanted[0]["expect"]
    results = cases.run(_text("world.json"), _text("services.json"), json.dumps(wanted))
    assert cases.compare(results, wanted) == []
    assert results == [{"id": "case-01", "outcome": "allow", "reason": "ok", "band": "concession", "pence": 290}]
