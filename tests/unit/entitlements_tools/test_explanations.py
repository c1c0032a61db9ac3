"""What a manager reads: golden texts, nothing left out, and changes told as changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from entitlements.errors import DocumentError
from entitlements.explain import explain, explain_change
from entitlements.explain.words import capitals, clock, humanise, money
from entitlements.service import FORMAT
from tests.support.documents import Json, changed, document, documents, service_ids, titles, worked, world
from tests.support.vectors import OWN_VECTORS

Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize("service_id", service_ids())
def test_the_read_back_of_a_worked_service_stays_as_it_was_approved(service_id: str) -> None:
    golden = (OWN_VECTORS / "explain" / f"{service_id}.txt").read_text("utf-8")
    assert explain(document(worked(service_id.rpartition(".")[2])), world(), titles=titles()).text() == golden


@pytest.mark.parametrize("service_id", service_ids())
def test_no_id_of_ours_is_read_out_to_a_manager(service_id: str) -> None:
    text = explain(document(worked(service_id.rpartition(".")[2])), world()).text()
    assert "_" not in text
    assert "@" not in text
    assert "None" not in text
    assert FORMAT not in text


def _numbers(value: Any, key: str) -> list[Any]:
    if isinstance(value, dict):
        return [one for name, inner in value.items() for one in ([inner] if name == key else _numbers(inner, key))]
    return [one for inner in value for one in _numbers(inner, key)] if isinstance(value, list) else []


@given(documents())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_nothing_that_a_manager_wrote_is_left_out(value: Json) -> None:
    text = explain(document(value), world()).text()
    for site in value.get("where", {}).get("sites", ()):
        assert capitals(humanise(site)) in text
    for pence in _numbers(value.get("price", []), "pence"):
        assert money(pence).lower() in text.lower()
    for window in value.get("when", {}).get("windows", ()):
        assert clock(int(window["from"][:2]) * 3600 + int(window["from"][3:]) * 60) in text or "all day" in text
    for name in ("max_stale",):
        if name in value.get("offline", {}) and value["offline"].get("mode") != "staff_only":
            assert "If the network is down" in text


def _ages(value: Any) -> list[dict[str, int]]:
    if isinstance(value, dict):
        return [one for name, inner in value.items() for one in ([inner] if name == "age" else _ages(inner))]
    return [one for inner in value for one in _ages(inner)] if isinstance(value, list) else []


@given(documents())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_every_age_of_a_rule_is_read_out(value: Json) -> None:
    text = explain(document(value), world()).text()
    for age in _ages(value.get("who", {})):
        for word, years in age.items():
            if years:
                # "11 to 17" says its upper end as the last year that counts.
                assert str(years) in text or (word == "lt" and str(years - 1) in text)


@given(documents())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_a_version_does_not_differ_from_itself(value: Json) -> None:
    assert explain_change(document(value), document(value), world()) == []


PARTS = ["who", "valid", "where", "when", "requires", "limits", "presence", "delegation", "price", "offline", "kind"]


@given(documents(), documents(), st.sampled_from(PARTS))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_no_difference_between_versions_goes_untold(first: Json, second: Json, part: str) -> None:
    draft = {**first, part: second[part]} if part in second else {k: v for k, v in first.items() if k != part}
    try:
        old, new = document(first), document(draft)
    except DocumentError:
        reject()  # a lease without its quota, say
    told = explain_change(old, new, world())
    assert bool(told) == (old != new)
    assert all(sentence[0] == sentence[0].upper() and sentence[-1] in ".:" for sentence in told)


def _add_age(service: dict[str, Any]) -> None:
    service["who"]["all"][1]["any"] = [{"evidence": "disability"}, {"age": {"gte": 65}}]


def _evidence_only(service: dict[str, Any]) -> None:
    service["who"]["all"][1] = {"evidence": "disability"}


def _hours(*rows: tuple[list[str], str, str]) -> Change:
    def change(service: dict[str, Any]) -> None:
        service["when"]["windows"] = [{"days": days, "from": start, "until": until} for days, start, until in rows]

    return change


_BRING = "each adult can bring up to {} children under 16"
WEEK = ["mon", "tue", "wed", "thu", "fri"]


def _set(path: str, value: Any) -> Change:
    def change(service: dict[str, Any]) -> None:
        inner: Any = service
        steps = [int(step) if step.isdigit() else step for step in path.split("/")]
        for step in steps[:-1]:
            inner = inner[step]
        inner[steps[-1]] = value

    return change


def _nothing(service: dict[str, Any]) -> None:
    del service


@pytest.mark.parametrize(
    ("name", "before", "after", "told"),
    [
        ("gym-offpeak", _hours((["sat"], "12:00", "18:00")), _hours((["sat"], "10:00", "18:00")),
         ["Opening on Saturdays moves from midday to 10am."]),
        ("gym-offpeak", _hours((WEEK, "09:00", "16:00")), _hours((WEEK, "09:00", "17:30")),
         ["Closing on Mondays to Fridays moves from 4pm to 5:30pm."]),
        ("gym-offpeak", _hours((WEEK, "09:00", "16:00")), _hours((WEEK, "09:00", "16:00"), (["sun"], "10:00", "00:00")),
         ["Now open on Sundays, 10am to midnight."]),
        ("gym-offpeak", _hours((["sat", "sun"], "10:00", "16:00")), _hours((["sat"], "10:00", "16:00")),
         ["No longer open on Sundays."]),
        ("loan", _evidence_only, _add_age, ["People aged 65 or over no longer need evidence of a disability."]),
        ("loan", _add_age, _evidence_only, ["People aged 65 or over now need evidence of a disability."]),
        ("hwrc", _nothing, _set("limits/0/quota/max", 24),
         ["The limit for each household goes up from 12 to 24 visits a year."]),
        ("gym-offpeak", _nothing, _set("price/1/pence", 310), ["The concession price goes up from £2.90 to £3.10."]),
        ("gym-offpeak", _nothing, _set("who/all/1/age/gte", 14), ["The minimum age goes down from 16 to 14."]),
        ("gym-offpeak", _nothing, _set("offline/max_stale", "PT4H"),
         ["If the network is down, the gate now keeps working for up to 4 hours, not 24 hours."]),
        ("gym-offpeak", _nothing, _set("limits/0/capacity/max", 60),
         ["The limit on numbers goes down from 80 to 60 people at once in this area: gym."]),
        ("hwrc", _nothing, _set("where/sites", ["hwrc-a"]),
         ["People can no longer use it at Cringle Dock."]),
        ("hwrc", _nothing, _set("where/sites", ["hwrc-b", "hwrc-a"]),
         ["The list of sites is put differently, for the same sites."]),
        ("hwrc", _nothing, _set("where/sites", ["@hwrc", "porchester"]),
         ["People can now also use it at Porchester Centre."]),
        ("gym-offpeak", _nothing, _set("valid", {"from": "2026-05-01", "until": "2026-12-31"}),
         ["The first day is now 1 May 2026, not 1 April 2026.", "The last day is now 31 December 2026."]),
        ("open-plus", _nothing, _set("delegation/accompanied_by/max", 2),
         [f"Now: {_BRING.format('two')}. Before: {_BRING.format('four')}."]),
    ],
)  # fmt: skip
def test_a_change_is_told_as_what_differs(name: str, before: Change, after: Change, told: list[str]) -> None:
    assert explain_change(changed(name, before), changed(name, after), world(), titles=titles()) == told


def test_the_golden_texts_are_of_services_that_exist() -> None:
    names = {path.stem for path in (OWN_VECTORS / "explain").glob("*.txt")}
    assert names == set(service_ids())
    assert json.loads((OWN_VECTORS / "explain" / "titles.json").read_text("utf-8"))
