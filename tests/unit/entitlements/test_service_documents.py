"""A service manager who slips is told where and what to do; what passes is what the schema says."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.documents import load_services, merge_patch, parse_services
from entitlements.errors import DocumentError
from entitlements.service import rule_kinds
from entitlements.shapes import check, schema
from tests.unit.entitlements.rule_examples import VECTORS

TEXT = (VECTORS / "services.json").read_text("utf-8")
WORKED: list[dict[str, Any]] = json.loads(TEXT)
OWN: list[dict[str, Any]] = json.loads((VECTORS / "own_services.json").read_text("utf-8"))
WHOLE = [document for document in [*WORKED, *OWN] if "extends" not in document]

RFC_7396_APPENDIX_A = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396_APPENDIX_A)
def test_a_borough_difference_merges_as_the_rfc_says(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == result
    assert target == before


def test_the_eight_worked_services_load_with_their_areas() -> None:
    found = {document.id: document.area for document in load_services(TEXT)}
    assert len(found) == 8
    assert found["wcc.leisure.gym-offpeak"] == "leisure"  # type: ignore[index]
    assert found["bi.library.open-plus"] == "library"  # type: ignore[index]


def _told(text: str) -> DocumentError:
    with pytest.raises(DocumentError) as told:
        load_services(text)
    return told.value


@pytest.mark.parametrize(
    ("old", "new", "pointer", "word"),
    [
        ('"when": {', '"whne": {', "/0/whne", 'Did you mean "when"?'),
        ('"gte": 16', '"gte": "16"', "/0/who/all/1/age/gte", "whole number"),
        ('"from": "09:00"', '"from": "9:00"', "/0/when/windows/0/from", "HH:MM"),
        ('"mon",', '"monday",', "/0/when/windows/0/days/0", '"mon"'),
        ('"min_gap": "PT2M"', '"min_gap": "2 minutes"', "/0/presence/min_gap", "ISO 8601"),
        ('"max": 80', '"max": -1', "/0/limits/0/capacity/max", "out of range"),
        ('"capacity": {', '"kapacity": {', "/0/limits/0", "quota, balance, booking, loan, capacity"),
        ('"when": true', '"when": "yes"', "/0/price/1/when", "true for the default"),
        ('"from": "2026-04-01"', '"from": "2026-04-31"', "/0/valid/from", "no such day"),
        ('"title": "Off-peak gym at concession price",', "", "/0", 'Add "title"'),
        ('"hwrc_visits": 1', '"hwrc_visit": 1', "/6/offline/lease/hwrc_visit", "hwrc_visits"),
        ('"max_age": "PT15M"', '"max_age": "P1M"', "/1/requires/2/max_age", "months"),
        ('"id": "bi.library.open-plus"', '"id": "wcc.leisure.gym-offpeak"', "/1/id", "own id"),
        ('"lt": 18', '"lt": 11', "/7/who/any/0/all/0/age", "lower age"),
        (
            '"prerequisite": "open-plus-induction"',
            '"prerequisite": "adult_card"',
            "/1/requires/0/prerequisite",
            "another name",
        ),
    ],
)
def test_a_slip_is_pointed_at_with_its_line_and_a_remedy(old: str, new: str, pointer: str, word: str) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    problems = _told(text).problems
    (problem,) = [problem for problem in problems if problem.pointer == pointer]
    assert word in problem.advice + problem.message
    if new:
        assert problem.line is not None
        near = "\n".join(text.splitlines()[problem.line - 1 : problem.line + 2])
        assert new in near


def test_all_slips_are_told_at_once() -> None:
    text = TEXT.replace('"gte": 16', '"gte": "16"').replace('"from": "09:00"', '"from": "9"')
    assert {problem.pointer for problem in _told(text).problems} >= {
        "/0/who/all/1/age/gte",
        "/0/when/windows/0/from",
        "/1/who/all/1/age/gte",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nul",
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "[" * 90_000,
        '"\\ud800"',
        "9" * 5000,
        '{"id": 1e999999}',
        "7",
        "null",
    ],
)
def test_what_is_no_document_is_refused_by_name(text: str) -> None:
    assert _told(text).problems


def _extension(**parts: Any) -> list[dict[str, Any]]:
    return [*WORKED, {"schema": "rescard.service/1", "id": "rbkc.leisure.gym", "extends": WORKED[0]["id"], **parts}]


def test_a_borough_changes_only_what_it_names() -> None:
    patch: dict[str, Any] = {"tenant": "rbkc", "who": None, "limits": [], "presence": {"min_gap": "PT5M"}}
    *_, made = parse_services(_extension(patch=patch))
    *_, beside = parse_services(_extension(**patch))
    assert made == beside
    assert (made.id, made.tenant, made.who, made.limits) == ("rbkc.leisure.gym", "rbkc", None, ())
    assert (made.presence.min_gap, made.presence.anti_passback) == (300, "person")
    assert made.when == parse_services(WORKED[0])[0].when


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ({"patch": {"presence": {"min_gap": 5}}}, "/8/patch/presence/min_gap"),
        ({"patch": {"title": None}}, "/8"),
        ({"patch": []}, "/8/patch"),
        ({"extends": "wcc.nothing"}, "/8/extends"),
        ({"extends": "rbkc.leisure.gym"}, "/8/extends"),
        ({"whne": {}}, "/8/whne"),
    ],
)
def test_a_patch_cannot_make_what_a_document_could_not_say(parts: dict[str, Any], pointer: str) -> None:
    with pytest.raises(DocumentError) as told:
        parse_services(_extension(**parts))
    assert pointer in [problem.pointer.removesuffix("/title") for problem in told.value.problems]


def test_documents_that_extend_each_other_are_refused() -> None:
    ring = [
        {"schema": "rescard.service/1", "id": one, "extends": other} for one, other in (("a.b", "c.d"), ("c.d", "a.b"))
    ]
    with pytest.raises(DocumentError, match="extends itself"):
        parse_services(ring)


def test_a_reader_can_say_which_kinds_of_rule_it_holds_no_state_for() -> None:
    kinds = {document.id: rule_kinds(document) for document in load_services(TEXT)}
    assert kinds["wcc.hub.room"] >= {"limits.booking", "limits.quota", "who", "where"}  # type: ignore[index]
    assert "when" not in kinds["wcc.hub.room"]  # type: ignore[index]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        found += [place for key, item in value.items() for place in _places(item, (*path, key))]
    elif isinstance(value, list):
        found += [place for index, item in enumerate(value) for place in _places(item, (*path, index))]
    return found


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    st.sampled_from(
        ["", "x", "@x", "mon", "PT5M", "P", "09:00", "24:00", "2026-02-30", "2026-02-28", "person", "über"]
    ),
    st.sampled_from([[], {}, ["x"], [["x"]], {"x": 1}, {"age": {"gte": 3}}, {"quota": {}}, {"factor": "pin"}]),
)
ORACLE = jsonschema.Draft202012Validator(
    json.loads(json.dumps(schema("service-1"))), format_checker=jsonschema.FormatChecker(formats=["date"])
)


@settings(max_examples=500, deadline=None)
@given(document=st.sampled_from(WHOLE), data=st.data())
def test_our_reading_of_the_schema_is_that_of_an_independent_validator(document: dict[str, Any], data: Any) -> None:
    changed = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 2))):
        *parents, last = data.draw(st.sampled_from(_places(changed)[1:]))
        target: Any = changed
        for step in parents:
            target = target[step]
        if isinstance(target, dict) and data.draw(st.booleans()):
            target[data.draw(st.sampled_from(["holidays", "units", "age", "days"]))] = copy.deepcopy(data.draw(JUNK))
        else:
            target[last] = copy.deepcopy(data.draw(JUNK))
    assert bool(check(changed, schema("service-1"))) == (not ORACLE.is_valid(changed))


def test_our_schemas_are_schemas() -> None:
    for name in ("service-1", "world-1", "case-1"):
        jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(schema(name))))
