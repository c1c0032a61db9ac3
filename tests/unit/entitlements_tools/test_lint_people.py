"""Rules on people that the linter refuses, and beside each the nearest that it must let through."""

from __future__ import annotations

from typing import Any

import pytest

from entitlements.lint import lint
from tests.support.documents import KNOWN, document, worked, world
from tests.support.linting import YEAR, both, codes, errors, put, warnings, who


@pytest.mark.parametrize(
    ("condition", "pointer"),
    [
        ({"age": {"gte": 0}}, "/who/age"),
        ({"any": [{"evidence": "student"}, {"not": {"evidence": "student"}}]}, "/who/any/0/evidence"),
        ({"any": [{"age": {"lt": 30}}, {"evidence": "carer"}, {"age": {"gte": 20}}]}, "/who/any/0/age"),
        ({"not": {"all": [{"age": {"lt": 5}}, {"age": {"gte": 9}}]}}, "/who/not/all/0/age"),
    ],
)
def test_a_who_that_keeps_nobody_out_is_refused_at_the_part_that_does_it(condition: Any, pointer: str) -> None:
    found = errors("loan", who(condition))
    assert [finding.code for finding in found if finding.code.startswith("who")] == ["who_always_true"]
    assert next(finding for finding in found if finding.code == "who_always_true").pointer == pointer


@pytest.mark.parametrize(
    ("condition", "pointer", "names"),
    [
        ({"all": [{"age": {"lt": 16}}, {"resident_of": "rbkc"}, {"age": {"gte": 60}}]}, "/who/all/0/age", ["16", "60"]),
        ({"all": [{"evidence": "carer"}, {"any": [{"age": {"gte": 130}}]}]}, "/who/all/1/any/0/age", ["130"]),
        ({"all": [{"role": "parent"}, {"not": {"role": "parent"}}]}, "/who/all/0/role", ["parent"]),
        ({"not": {"age": {"gte": 0}}}, "/who/not/age", ["0"]),
    ],
)
def test_a_who_that_lets_nobody_in_is_refused_at_the_part_that_does_it(
    condition: Any, pointer: str, names: list[str]
) -> None:
    found = [finding for finding in errors("loan", who(condition)) if finding.code == "who_always_false"]
    assert [finding.pointer for finding in found] == [pointer]
    assert all(name in found[0].message for name in names)
    assert "Kensington" not in found[0].message  # what takes no part in the contradiction is not blamed


@pytest.mark.parametrize(
    "condition",
    [
        {"age": {"gte": 1}},
        {"any": [{"age": {"lt": 20}}, {"age": {"gte": 21}}]},
        {"all": [{"age": {"lt": 60}}, {"age": {"gte": 59}}]},
        {"any": [{"evidence": "student"}, {"not": {"evidence": "carer"}}]},
        {"all": [{"resident_of": "wcc"}, {"not": {"resident_of": "rbkc"}}]},
    ],
)
def test_a_who_that_depends_on_the_person_is_let_through(condition: Any) -> None:
    assert not [code for code in codes("loan", who(condition)) if code.startswith("who_")]


def test_a_part_of_who_that_decides_nothing_is_warned_of() -> None:
    dead = who({"any": [{"resident_of": "rbkc"}, {"age": {"gte": 140}}]})
    assert "part_always_false" in warnings("loan", dead)


@pytest.mark.parametrize(
    ("condition", "supplied"),
    [
        ({"evidence": "moon_landing"}, {"evidence": "student"}),
        ({"member_of": "rowing"}, {"member_of": "library"}),
        ({"permit": "market_stall"}, {"permit": "ev_vehicle"}),
        ({"role": "mayor"}, {"role": "partner"}),
        ({"linked": "sibling"}, {"linked": "parent_consent"}),
        ({"resident_of": ["rbkc", "camden"]}, {"resident_of": ["rbkc"]}),
    ],
)
def test_a_fact_that_nobody_supplies_is_refused(condition: Any, supplied: Any) -> None:
    assert codes("loan", who({"any": [condition, {"evidence": "care_plan"}]})) == ["fact_nobody_supplies"]
    assert codes("loan", who({"any": [supplied, {"evidence": "care_plan"}]})) == []


@pytest.mark.parametrize(
    "condition",
    [
        {"all": [{"resident_of": "rbkc"}, {"not": {"evidence": "disability"}}]},
        {"not": {"any": [{"evidence": "disability"}, {"age": {"lt": 18}}]}},
        {"not": {"all": [{"age": {"gte": 18}}, {"evidence": ["student", "disability"]}]}},
    ],
)
def test_a_disability_that_keeps_a_person_out_is_refused(condition: Any) -> None:
    assert "disability_as_exclusion" in codes("loan", who(condition))


@pytest.mark.parametrize(
    "condition",
    [
        {"any": [{"evidence": "disability"}, {"evidence": "student"}]},
        {"not": {"not": {"evidence": "disability"}}},
        {"not": {"evidence": "student"}},
    ],
)
def test_a_disability_that_opens_a_service_is_let_through(condition: Any) -> None:
    assert "disability_as_exclusion" not in codes("loan", who(condition))


@pytest.mark.parametrize(
    "name", ["blue_badge", "pip-enhanced", "learning_disability", "registered.blind", "wheelchair_user"]
)
def test_a_disability_is_known_by_its_many_names(name: str) -> None:
    assert "disability_as_exclusion" in codes("loan", who({"all": [{"age": {"gte": 65}}, {"not": {"evidence": name}}]}))


def test_paying_more_for_want_of_a_disability_is_warned_of() -> None:
    dear = put("price")(
        [
            {"band": "full", "pence": 900, "when": {"not": {"evidence": "disability"}}},
            {"band": "rest", "pence": 100, "when": True},
        ]
    )
    assert "disability_in_price" in warnings("gym-offpeak", dear)


@pytest.mark.parametrize(
    ("kinds", "refused"),
    [
        ([["live"]], True),
        ([["live", "chip"]], False),
        ([["static"]], False),
        ([["live", "static"], ["live", "chip"]], True),  # both must hold, which leaves the phone
    ],
)
def test_a_service_that_only_a_phone_opens_is_refused(kinds: list[list[str]], refused: bool) -> None:
    asked = put("requires")([{"presentation": one} for one in kinds])
    assert codes("open-plus", asked) == (["no_non_digital_way"] if refused else [])


@pytest.mark.parametrize(
    "condition",
    [
        {"age": {"gte": 11, "lt": 18}},
        {"age": {"lt": 16}},
        {"any": [{"all": [{"age": {"gte": 11}}, {"linked": "parent_consent"}]}, {"age": {"gte": 14}}]},
        {"age": {"gte": 13}},
    ],
)
def test_a_childrens_service_without_a_parents_part_is_refused(condition: Any) -> None:
    assert codes("late-event", who(condition)) == ["children_without_parent"]


@pytest.mark.parametrize(
    "condition",
    [
        {"age": {"gte": 16}},
        {"age": {"gte": 16, "lt": 18}},
        {"all": [{"age": {"gte": 11}}, {"any": [{"linked": "parent_consent"}, {"age": {"gte": 16}}]}]},
        {"resident_of": "wcc"},  # not a children's service: it turns on no age
        {"all": [{"age": {"lt": 18}}, {"role": "parent"}]},
    ],
)
def test_a_service_that_gives_parents_their_part_is_let_through(condition: Any) -> None:
    assert codes("late-event", who(condition)) == []


def test_children_who_come_with_an_adult_are_let_through() -> None:
    alone = who({"age": {"gte": 5, "lt": 18}})
    accompanied = put("delegation")({"accompanied_by": {"children_under": 13, "max": 3}})
    young = put("delegation")({"accompanied_by": {"children_under": 8, "max": 3}})
    assert codes("late-event", both(alone, accompanied)) == []
    assert codes("late-event", both(alone, young)) == ["children_without_parent"]


@pytest.mark.parametrize(("author", "approver", "refused"), [
    ("jo@wcc", "jo@wcc", True),
    ("Jo@wcc", " jo@WCC ", True),
    ("jo@wcc", "sam@wcc", False),
    ("jo@wcc", None, False),
    (None, None, False),
])  # fmt: skip
def test_a_second_person_who_is_the_first_is_refused(author: str | None, approver: str | None, refused: bool) -> None:
    found = lint(
        document(worked("gym-offpeak")), world(), known_facts=KNOWN, year=YEAR, drafted_by=author, approved_by=approver
    )
    assert [finding.code for finding in found] == (["same_person"] if refused else [])
