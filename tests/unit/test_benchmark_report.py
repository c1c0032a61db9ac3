"""What the page of benchmarks says is what was measured last, row by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.measure import Result
from tests.benchmarks.report import BEGIN, DOCUMENT, END, as_text, write_document


def result(name: str, ratio: float, bar: float = 1.0) -> Result:
    return Result(name=name, against="theirs", ours=ratio * 2000, theirs=2000, unit="us", ratio=ratio, bar=bar)


def test_rows_are_replaced_in_place_and_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    write_document([result("one", 0.5), result("two", 0.6)], page)
    other = Result(name="two", against="another", ours=1, theirs=1, unit="us", ratio=1, bar=1)
    write_document([result("one", 1.5), result("three", 0.1), other], page)
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    rows = [line for line in lines if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| what", "| one", "| two", "| three", "| two"]
    assert "1.500 **missed**" in rows[1]
    assert "3,000 us" in rows[1]
    assert "missed" not in rows[2]


def test_a_page_without_a_place_for_rows_is_left_alone_and_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no table")
    with pytest.raises(ValueError, match=r"page\.md has no lines"):
        write_document([result("one", 0.5)], page)
    assert page.read_text() == "no table"


def test_the_page_has_its_place() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert 0 < text.index(BEGIN) < text.index(END)


def test_the_terminal_says_which_bars_were_missed() -> None:
    text = as_text([result("one", 0.5), result("two", 1.5)]).splitlines()
    assert " ok " in text[1]
    assert "MISSED" in text[2]
