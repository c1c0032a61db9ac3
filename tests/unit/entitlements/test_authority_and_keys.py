"""An authority that has ended confirms nothing; a permit has its units whoever comes with it; a visit is one visit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from entitlements import cases
from tests.unit.entitlements.rule_examples import VECTORS

WORLD, SERVICES = ((VECTORS / name).read_text("utf-8") for name in ("world.json", "services.json"))
NOON = "2026-06-10T11:00:00Z"


def decided(service: str | dict[str, Any], **case: Any) -> tuple[Any, ...]:
    """Outcome, reason and keys of effects of one case, by a service of the vectors or one given."""
    services, name = SERVICES, service
    if isinstance(service, dict):
        head = {"schema": "rescard.service/1", "id": "wcc.t", "tenant": "wcc", "title": "T", "kind": "consume"}
        services, name = json.dumps([head | {"where": {"sites": ["hwrc-a"]}} | service]), "wcc.t"
    case = {"id": "c", "service": name, "at": NOON, "site": "hwrc-a", "holder": {"id": "p1"}} | case
    (result,) = cases.run(WORLD, services, json.dumps([case]))
    return (result["outcome"], result["reason"], len(result.get("effects", ())))


def spent(*grants: dict[str, Any]) -> tuple[Any, ...]:
    """Sixty pounds, which somebody must confirm, by a delegate who may spend and holds these authorities as well."""
    spend = {"person": "d1", "scopes": ["spend"], "from": "2026-01-01", "until": "2026-12-31"}
    holder = {
        "id": "b1",
        "evidence": {"care_plan": {"from": "2026-01-01", "until": "2027-01-01"}},
        "delegates": [spend, *({"person": "d1", "scopes": ["manage"]} | grant for grant in grants)],
    }
    return decided(
        "wcc.care.wallet",
        site="prov-1",
        holder=holder,
        presented_by={"id": "d1"},
        tap={"amount_pence": 6000, "item": "respite", "confirmed": True},
        state={"balance_pence": 50_000},
    )


ASKED, SPENT = ("confirm", "needs_confirmation", 0), ("allow", "ok", 1)


@pytest.mark.parametrize(
    ("grant", "wanted"),
    [
        ({"from": "2026-01-01"}, SPENT),
        ({"from": "2025-01-01", "until": "2026-06-10"}, SPENT),
        ({"from": "2025-01-01", "until": "2026-06-09"}, ASKED),
        ({"from": "2026-06-11"}, ASKED),
        ({"from": "2026-01-01", "max_pence": 5999}, ASKED),
        ({"from": "2026-01-01", "max_pence": 6000}, SPENT),
    ],
)
def test_only_an_authority_in_force_for_the_amount_confirms_a_spend(
    grant: dict[str, Any], wanted: tuple[Any, ...]
) -> None:
    assert spent(grant) == wanted


def test_who_may_only_spend_confirms_nothing() -> None:
    assert spent() == ASKED


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"who": {"permit": "bay"}},
        {"who": {"not": {"not": {"permit": "bay"}}}},
        {
            "who": {"not": {"evidence": "x"}},
            "price": [{"band": "b", "when": {"permit": "bay"}, "pence": 1}, {"band": "d", "when": True, "pence": 2}],
        },
    ],
)
@pytest.mark.parametrize("scope", ["permit", "vehicle"])
def test_two_people_with_one_permit_share_its_units(members: dict[str, Any], scope: str) -> None:
    quota = {"quota": {"id": "q", "unit": "visit", "period": "month", "max": 1, "scope": scope}}
    used = {"ledger": [{"account": "q", "key": "bay", "units": 1, "at": "2026-06-02T10:00:00Z"}]}
    for person in ("p1", "p2"):
        holder = {"id": person, "permit": ["bay"]}
        assert decided(members | {"limits": [quota]}, holder=holder, state=used)[:2] == ("deny", "quota_used")
        assert decided(members | {"limits": [quota]}, holder=holder, state={})[:2] == ("allow", "ok")


@pytest.mark.parametrize(
    ("presence", "wanted"),
    [
        ({"inside": True, "since": "2026-06-10T10:56:00Z"}, "repeat_scan"),
        ({"inside": True, "since": "2026-06-10T10:55:00Z"}, "already_inside"),
        ({"inside": True, "since": "2026-06-10T09:00:00Z", "last": "2026-06-10T10:59:00Z"}, "repeat_scan"),
        ({"inside": True, "since": "2026-06-10T10:59:00Z", "last": "2026-06-10T10:50:00Z"}, "already_inside"),
        ({"inside": False, "since": "2026-06-10T10:59:00Z"}, "ok"),
    ],
)
def test_a_second_scan_right_after_coming_in_is_the_same_visit(presence: dict[str, Any], wanted: str) -> None:
    service = {"presence": {"anti_passback": "person", "min_gap": "PT5M"}}
    assert decided(service, state={"presence": presence})[1] == wanted


def test_no_effects_and_an_empty_list_of_them_are_no_difference() -> None:
    case = {"id": "c", "service": "wcc.hub.room"}
    result = {"id": "c", "outcome": "allow", "reason": "ok"}
    assert cases.compare([result], [case | {"expect": {"outcome": "allow", "effects": []}}]) == []
    effect = [{"account": "q", "units": 1}]
    assert cases.compare([result], [case | {"expect": {"effects": effect}}]) != []
    assert cases.compare([result | {"effects": effect}], [case | {"expect": {"effects": []}}]) != []
