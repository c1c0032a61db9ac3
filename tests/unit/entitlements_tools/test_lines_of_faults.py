"""If these fail, somebody looks for a key or a digit in two hundred lines, and is told only that it is wrong."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardservice.catalogue.life.reading import check, read_document
from entitlements.documents import load_services
from entitlements.errors import DocumentError, Problem
from entitlements.jsonfaults import MAX_DEPTH
from entitlements.jsontext import MAX_TEXT, TextError, read_json
from tests.support.documents import KNOWN, pretty, worked, world

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=25,
)
ROOTS = st.lists(ANY_JSON, min_size=1, max_size=5) | st.dictionaries(st.text(max_size=8), ANY_JSON, min_size=1)
STRING = r'"(?:[^"\\]|\\.)*"'
SCALAR = re.compile(rf"(?P<indent> *)(?P<key>{STRING}: )?(?:{STRING}|[-0-9a-zA-Z.+]+)(?P<rest>,?)")
"""A line that holds one value and nothing more."""
HALF = ('"\\ud800"', '"a\\udc00b"', '"\ud800"', '{"\\udfff": 1}')
NUMBERS = ("NaN", "Infinity", "-Infinity", "1e400", "-1e999", "9" * 5000)
DEEP = ("[" * 70 + "]" * 70, '{"a":' * 70 + "1" + "}" * 70, "[" * 20_000 + "]" * 20_000)
TWICE = ('{"a": 1, "a": 2}', '[{"\\u0061": 1, "b": {}, "a": []}]', '{"a": {"b": 1}, "b": 1, "a": 1}')
BROKEN = ("nul", "01", "'a'", "1 2", '{"a" 1}', "+1", '"\t"')


def lines_of(text: str) -> list[str]:
    """Lines as editors and JSON count them: other line ends, which Python knows, are characters of a string."""
    return text.split("\n")


def fault_of(text: str) -> Problem:
    with pytest.raises(TextError) as caught:
        read_json(text)
    return caught.value.problem


def places(text: str) -> list[int]:
    """Lines, from 0, that hold one value and nothing more."""
    return [number for number, line in enumerate(lines_of(text)) if SCALAR.fullmatch(line)]


@given(ROOTS, st.data(), st.sampled_from([*HALF, *NUMBERS, *DEEP, *TWICE, *BROKEN]))
@settings(max_examples=400, deadline=None)
def test_a_fault_put_on_any_line_is_found_on_that_line(value: Any, data: st.DataObject, fault: str) -> None:
    written = json.dumps(value, indent=1, ensure_ascii=data.draw(st.booleans()))
    written = data.draw(st.sampled_from(["", "\n\n", " \n"])) + written
    lines = lines_of(written)
    known = places(written)
    if not known:
        return
    number = data.draw(st.sampled_from(known))
    found = SCALAR.fullmatch(lines[number])
    assert found is not None
    lines[number] = f"{found['indent']}{found['key'] or ''}{fault}{found['rest']}"
    assert fault_of("\n".join(lines)).line == number + 1


@given(ROOTS, st.data())
@settings(max_examples=150, deadline=None)
def test_a_key_written_again_on_any_later_line_is_found_there(value: Any, data: st.DataObject) -> None:
    written = json.dumps({"outer": value, "mine": [1, 2], "last": 0}, indent=1)
    lines = lines_of(written)
    again = data.draw(st.sampled_from(['"outer": 1,', '"\\u006futer": {},', '"mine": null,']))
    lines.insert(len(lines) - 2, " " + again)
    problem = fault_of("\n".join(lines))
    assert problem.line == len(lines) - 2
    assert "stands twice" in problem.message
    assert f"first on line {2 if 'uter' in again else len(lines) - 6}" in problem.message


@given(ANY_JSON)
@settings(max_examples=150, deadline=None)
def test_what_is_in_order_is_read_as_it_stands(value: Any) -> None:
    assert read_json(json.dumps(value)) == value


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_the_deepest_text_that_may_be_is_read_and_one_level_more_is_not(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    inner = "[]"
    read_json(opening * (MAX_DEPTH - 1) + inner + closing * (MAX_DEPTH - 1))
    problem = fault_of(("\n" + opening) * MAX_DEPTH + "\n" + inner + closing * MAX_DEPTH)
    assert (problem.line, problem.message) == (MAX_DEPTH + 2, f"it is nested deeper than {MAX_DEPTH}")


def test_of_several_faults_the_first_is_told() -> None:
    assert fault_of('{"a": 1,\n"b": NaN,\n"a": 1}').line == 2
    assert fault_of('{"a": 1,\n"a": 1,\n"b": NaN}').line in (2, 3)
    # Four hundred digits are a number, if a large one, and not the fault.
    assert fault_of(f'{{"a": {"9" * 400},\n"b": 1,\n"b": 2}}').line == 3


def test_a_message_does_not_repeat_a_page_of_what_was_written() -> None:
    long = "x" * 5000
    for text in (f'{{"{long}": 1,\n"{long}": 2}}', f"[{'9' * 5000}]", f"[1{'0' * 400}.5]"):
        assert len(fault_of(text).message) < 200
    assert "characters" in fault_of(" " * (MAX_TEXT + 1)).message


def problems(**changes: Any) -> tuple[Problem, ...]:
    """What is wrong with a worked service whose members were changed, on lines of its pretty text."""
    with pytest.raises(DocumentError) as caught:
        load_services(pretty(worked("open-plus") | changes))
    return caught.value.problems


def test_a_choice_of_nothing_is_called_an_empty_list_and_a_number_no_text() -> None:
    (problem,) = problems(requires=[{"presentation": []}])
    assert problem.message == "the list is empty"
    assert problem.advice == "Write one name, or a list of names of which one is enough."
    (problem,) = problems(requires=[{"presentation": 3}])
    assert problem.message == "3 is not a text"
    (problem,) = problems(where={"sites": "pimlico"})
    assert problem.message == '"pimlico" is not a list'


def test_a_number_of_four_hundred_digits_is_not_said_again_whole() -> None:
    quota = {"id": "visits", "period": "day", "max": int("9" * 400)}
    (problem,) = problems(limits=[{"quota": quota}])
    assert "out of range" in problem.message
    assert len(problem.message) < 100
    (problem,) = problems(extends="x" * 5000)
    assert len(problem.message) < 200


def test_every_finding_of_a_draft_says_a_line_the_second_persons_too() -> None:
    written = pretty(worked("gym-offpeak"))
    around: Any = {"world": world(), "known": KNOWN, "on": date(2026, 5, 1)}
    reading = check(written, **around, drafted_by="jo", approved_by="jo", service_id="wcc.other", tenant="rbkc")
    assert {"same_person", "other_service", "other_council"} <= {one.code for one in reading.findings}
    assert [one for one in reading.findings if one.line is None] == []
    for fault in (*TWICE, *NUMBERS, *HALF, *DEEP[:2]):
        lines = lines_of(written)
        lines.insert(1, f'"note": {fault},')
        (finding,) = read_document("\n".join(lines)).findings
        assert (finding.code, finding.line) == ("not_in_order", 2)
