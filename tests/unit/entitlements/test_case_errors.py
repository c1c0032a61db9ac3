"""A slip in a case, a service or the world is named, not decided."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from entitlements import cases
from entitlements.errors import CaseError, DocumentError, WorldError
from tests.unit.entitlements.rule_examples import VECTORS

WORLD, SERVICES, CASES = ((VECTORS / name).read_text("utf-8") for name in ("world.json", "services.json", "cases.json"))


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(case: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        for step in parents:
            case = case.setdefault(step, {})
        case[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_set("tpa", {}), "tap"),
        (_set("tap/pni", "right"), "pin"),
        (_set("holder/dob", "1980-05-05"), "dob"),
        (_set("service", "wcc.leisure.gimnasium"), "there is no service wcc.leisure.gimnasium"),
        (_set("site", "atlantis"), "there is no site atlantis"),
        (_set("at", "2026-02-30T08:00:00Z"), "there is no such day"),
        (_set("at", "2026-06-01T25:00:00Z"), "there is no such time"),
        (_set("at", "2026-06-01T08:00:00"), "UTC"),
        (_set("at", "2026-06-01T08:00:00+01:00"), "UTC"),
        (_set("at", "2500-06-01T08:00:00Z"), "2200"),
        (_set("holder/date_of_birth", "1980-13-05"), "there is no such day"),
        (_set("holder/residency", [{"tenant": "wcc", "from": "2021-02-29"}]), "there is no such day"),
        (_set("holder/blocked", {"wcc.nothing": True}), "there is no service wcc.nothing"),
        (_set("reader/cache_age", "5 hours"), "ISO 8601"),
        (_set("reader/cache_age", "P1M"), "months"),
        (_set("reader/cache_age", "PT"), "ISO 8601"),
        (_set("reader/cache_age", 18000), "ISO 8601"),
        (_set("reader/online", "no"), "true or false"),
        (_set("tap/units", 0), "out of range"),
        (_set("tap/pin", "blank"), "right"),
        (_set("card/state", "stolen"), "suspended"),
        (_set("state/booking", {"start": "2026-06-01T09:00:00Z", "end": "2026-06-01T08:00:00Z"}), "before it starts"),
        (_set("state/ledger", [{"account": "a", "units": 1, "at": "2026-06-01T09:00:00Z"}]), "key"),
    ],
)
def test_a_slip_in_a_case_is_named_with_the_case(change: Callable[[dict[str, Any]], None], word: str) -> None:
    case = json.loads(CASES)[0]
    change(case)
    with pytest.raises(CaseError, match="case case-01: ") as told:
        cases.run(WORLD, SERVICES, json.dumps([case], indent=1))
    assert told.value.case_id == "case-01"
    assert word in told.value.message


@pytest.mark.parametrize(
    ("text", "case_id"),
    [
        ("{}", "(file)"),
        ("[", "(file)"),
        ('[{"id": "a", "id": "b"}]', "(file)"),
        ("[" * 100_000, "(file)"),
        ('[{"title": "nameless"}]', "#1"),
        ("[7]", "#1"),
    ],
)
def test_a_file_that_is_no_list_of_cases_is_named(text: str, case_id: str) -> None:
    with pytest.raises(CaseError) as told:
        cases.run(WORLD, SERVICES, text)
    assert told.value.case_id == case_id


def test_two_cases_of_one_id_are_told_apart_by_their_author() -> None:
    case = json.loads(CASES)[0]
    with pytest.raises(CaseError, match="twice"):
        cases.run(WORLD, SERVICES, json.dumps([case, case]))


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("tenants/wcc/timezone", "Europe/Londinium", "no time zone"),
        ("calendars/@uk-bank-holidays", ["2026-02-30"], "no such day"),
        ("tenants", {}, "empty"),
        ("site_sets/wcc-leisure", ["porchester"], "@"),
        ("sitesets", {}, "site_sets"),
    ],
)
def test_a_slip_in_the_world_is_named_with_its_line(path: str, value: Any, word: str) -> None:
    world = json.loads(WORLD)
    _set(path, value)(world)
    with pytest.raises(WorldError) as told:
        cases.run(json.dumps(world, indent=1), SERVICES, CASES)
    assert word in str(told.value)
    assert all(problem.line is not None for problem in told.value.problems)


@pytest.mark.parametrize("missing", ["tenants", "site_sets", "calendars", "item_lists"])
def test_a_service_that_names_what_the_world_lacks_is_refused(missing: str) -> None:
    world = json.loads(WORLD)
    world[missing] = {"other": {"timezone": "Europe/London"}} if missing == "tenants" else {}
    with pytest.raises(DocumentError, match="there is no"):
        cases.run(json.dumps(world), SERVICES, CASES)
