"""The threat model does not promise what no test shows: each row has tests, and each test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).resolve().parents[1]
PAGE: Final = (TESTS.parent / "docs" / "threat-model.md").read_text("utf-8")
NAMED: Final = re.compile(r"`([A-Za-z_/0-9]+)::(test_\w+)`")
SHORT: Final = dict(re.findall(r"`([A-Z])` is\s+`([a-z_/0-9]+)`", PAGE))
"""Files that one of the tables names by a letter."""
ROWS: Final = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith("|---")
]
THREATS: Final = {row[0]: row for row in ROWS if re.fullmatch(r"[A-Z][0-9]+", row[0])}
CHECKS: Final = {row[0]: row for row in ROWS if row[0] not in THREATS and NAMED.search("".join(row))}
WHO: Final = (
    *("finder", "photographer", "neighbour with two phones", "relay pair", "forger", "insider at the desk"),
    *("service manager", "thief of a reader", "evil reader", "in the network", "database dump", "key-encryption key"),
    *("supplier of wallet passes", "cloud cache", "cheats quotas", "floods", "busy", "curious council"),
)
"""Whoever has to have a row."""
SECTIONS: Final = (
    *("2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8", "2.9"),
    *("3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12"),
)
"""Of RFC 8725: all attacks and all practices."""


@cache
def functions(file: str) -> frozenset[str]:
    """Tests of a file below ``tests/``, also those of classes; none where there is no such file."""
    path = TESTS / f"{SHORT.get(file, file)}.py"
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("row", [*THREATS, *CHECKS])
def test_every_row_is_shown_by_tests_that_there_are(row: str) -> None:
    cells = (THREATS | CHECKS)[row]
    named = NAMED.findall(cells[-1] if row in THREATS else "".join(cells))
    assert named
    assert [f"{file}::{name}" for file, name in named if name not in functions(file)] == []


def test_a_name_in_the_page_that_is_no_test_would_be_seen() -> None:
    """Whatever stands in code with two colons is taken for a test."""
    assert len(re.findall(r"`[^`\n]*::[^`\n]*`", PAGE)) == len(NAMED.findall(PAGE))
    assert not functions("unit/test_that_is_not_there")
    assert "test_that_is_not_there" not in functions("unit/test_threat_model")


def test_every_threat_says_what_stops_it_and_what_is_left() -> None:
    assert len(THREATS) == sum(bool(re.fullmatch(r"[A-Z][0-9]+", row[0])) for row in ROWS), "a number stands twice"
    for row in THREATS.values():
        assert len(row) == 5, row[0]
        assert all(row), row[0]


@pytest.mark.parametrize("who", WHO)
def test_nobody_who_attacks_is_forgotten(who: str) -> None:
    assert any(who in row[1].lower().replace("**", "") for row in THREATS.values())


def test_every_section_of_the_standard_on_tokens_has_its_row() -> None:
    rows = [set(row[0].split(", ")) for row in ROWS if re.match(r"[23]\.[0-9]", row[0])]
    assert {section for row in rows for section in row} == set(SECTIONS)


def test_what_is_left_at_the_end_is_told_in_the_tables() -> None:
    told = re.findall(r"\(([A-Z][0-9]+)\)", PAGE[PAGE.index("## What is left") :])
    assert len(told) >= 8
    assert set(told) <= THREATS.keys()
