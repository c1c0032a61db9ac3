"""The guide says only what is so: every quoted sentence, refusal, example and check is compared with the code."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cardservice.catalogue.life.reading import UNREADABLE
from cardservice.catalogue.life.templates import template
from cardservice.catalogue.served import SERVED_KINDS
from cardservice.cli import cli
from entitlements.cases import compare, load_cases, run
from entitlements.documents import load_services
from entitlements.explain import explain
from entitlements.model import Reason
from entitlements.service import PRESENTATION_KINDS
from tests.support.documents import service_ids, titles, worked, world
from tests.support.refusal_advice import ADVICE
from tests.support.refusal_table import NO_REFUSALS, PAGE, page_with, refusals
from tests.support.vectors import OWN_VECTORS

GUIDE = PAGE.parent
SKETCH = {"schema": "rescard.service/1", "id": "wcc.guide.sketch", "tenant": "wcc", "kind": "access", "title": "Sketch"}
"""What a piece of a document in the guide is completed with."""
PAGES_WITH_PIECES = ("rules.md", "boroughs.md", "offline.md")
BLOCK = re.compile(r"^```json\n(.*?)^```$|^> ([^\n]*)$", re.DOTALL | re.MULTILINE)


def page(name: str) -> str:
    return (GUIDE / name).read_text("utf-8")


def read_back(piece: dict[str, Any]) -> list[str]:
    """Lines of the read-back of a piece of a document."""
    others = [worked(name.rpartition(".")[2]) for name in service_ids()]
    document = piece if "extends" in piece else {**SKETCH, **piece}
    made = load_services(json.dumps([*others, document]))[-1]
    return explain(made, world(), titles=titles()).text().splitlines()


def quoted() -> Iterator[tuple[str, str, str]]:
    """Page, piece and the sentence said to be its read-back."""
    for name in PAGES_WITH_PIECES:
        piece = ""
        for found in BLOCK.finditer(page(name)):
            code, sentence = found.group(1), found.group(2)
            if code is not None:
                piece = code
            else:
                yield name, piece, sentence


@pytest.mark.parametrize(("name", "piece", "sentence"), list(quoted()))
def test_a_manager_is_shown_the_read_back_that_they_will_get(name: str, piece: str, sentence: str) -> None:
    assert sentence in read_back(json.loads(piece)), f"{name} quotes what the program does not say"


@pytest.mark.parametrize("name", PAGES_WITH_PIECES)
def test_every_piece_of_a_document_is_also_told_in_words(name: str) -> None:
    pieces = [found.group(1) for found in BLOCK.finditer(page(name)) if found.group(1) is not None]
    assert pieces
    assert {piece for where, piece, _ in quoted() if where == name} == set(pieces)


def sections() -> dict[str, str]:
    """Sections of the page of worked services by heading."""
    parts = re.split(r"^## (.+)$", page("services.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("service_id", service_ids())
def test_the_worked_services_are_told_as_they_are_read_back(service_id: str) -> None:
    golden = (OWN_VECTORS / "explain" / f"{service_id}.txt").read_text("utf-8").splitlines()
    said = re.findall(r"^> (.*)$", sections()[golden[0]], flags=re.MULTILINE)
    assert said
    assert [line for line in said if line not in golden] == []


def test_nobody_reads_about_a_service_that_is_not_there() -> None:
    assert sorted(sections()) == sorted(
        (OWN_VECTORS / "explain" / f"{name}.txt").read_text("utf-8").splitlines()[0] for name in service_ids()
    )


def test_staff_find_every_refusal_with_the_words_that_gates_show() -> None:
    text = PAGE.read_text("utf-8")
    assert page_with(refusals(), text) == text, "run: python -m tests.support.refusal_table"
    assert [reason for reason in Reason if f"`{reason}`" not in text] == []


def test_no_refusal_leaves_staff_without_anything_to_do() -> None:
    assert set(ADVICE) == set(Reason)
    assert [reason for reason in set(Reason) - NO_REFUSALS if len(ADVICE[reason].split()) < 4] == []


def test_every_page_of_the_guide_is_on_its_front_page() -> None:
    linked = set(re.findall(r"\]\(([a-z-]+\.md)\)", page("README.md")))
    assert linked == {path.name for path in GUIDE.glob("*.md")} - {"README.md"}


JARGON = re.compile(
    r"\b(schema|boolean|merge patch|instant|tenant|payload|endpoint|daemon|cache|compiled?|UTC|JSON|predicate)\b",
    re.IGNORECASE,
)
"""Words of ours that mean nothing to a service manager."""


@pytest.mark.parametrize("path", sorted(GUIDE.glob("*.md")), ids=lambda path: path.name)
def test_the_guide_speaks_to_people_who_never_saw_a_program(path: Path) -> None:
    shown = r"^```.*?^```$|`[^`\n]*`|\[\w+\.json\]\([^)]*\)|\]\([^)]*\)"
    prose = re.sub(shown, "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    table = re.sub(r"^\|.*$", "", prose, flags=re.MULTILINE)
    assert JARGON.findall(table) == []


ROOT = GUIDE.parents[1]
EXAMPLE = GUIDE / "example"
SHELL = r"^```sh\n(.*?)^```$(?:\n\n[^`]*?\n?^```text\n(.*?)^```$)?"
"""A command, and what it prints where the page shows it next."""
ANSWERS = {
    "title": "Garden waste drop-off",
    "sites": "@wcc-parks",
    "residents_of": "wcc",
    "visits": "4",
    "year_starts": "03-01",
    "opens": "09:00",
    "closes": "16:00",
}


def example(name: str) -> str:
    return (EXAMPLE / name).read_text("utf-8")


def test_the_answers_of_the_ten_minutes_are_to_the_questions_there_are() -> None:
    asked = re.findall(r"^\| (.+?) \| (.+?) \|$", page("ten-minutes.md").partition("| Question")[2], flags=re.MULTILINE)
    questions = template("recycling-visits").file.questions
    assert asked[: len(questions)] == [(question.ask, ANSWERS[question.id]) for question in questions]


def test_the_ten_minutes_lead_where_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    document = tmp_path / "garden.json"
    before_change, *_ = page("ten-minutes.md").partition("## 8.")
    steps = re.findall(SHELL, page("ten-minutes.md"), flags=re.DOTALL | re.MULTILINE)
    assert sum(bool(shown) for _, shown in steps) == page("ten-minutes.md").count("```text\n")
    for command, shown in steps:
        first, *words = shlex.split(command)
        assert first == "cardservice"
        asks = words[:3] == ["service", "new", "garden.json"]
        if command not in before_change:
            document.write_text(document.read_text("utf-8").replace('"max": 4,', '"max": 5,'), encoding="utf-8")
        # At a terminal the questions are asked; here they are asked for.
        done = CliRunner().invoke(cli, [*words, *["--ask"] * asks], input="\n".join(ANSWERS.values()) + "\n")
        assert shown in done.output, done.output
        if asks:
            assert document.read_text("utf-8") == example("service.json")
        mistaken = words[0] == "decide" and '"max": 5,' in document.read_text("utf-8")
        assert done.exit_code == int(mistaken)


def test_the_people_of_the_ten_minutes_are_decided_as_the_page_expects() -> None:
    texts = [example(name) for name in ("places.json", "service.json", "cases.json")]
    results, cases = run(*texts), load_cases(texts[2])
    assert compare(results, cases) == []
    words = {"allow": "let in", "deny": "refused", "refer": "staff decide"}
    told = re.findall(
        r"^\| (.+?) \| (let in|refused|staff decide) \| `(\w+)` \|$", page("ten-minutes.md"), flags=re.MULTILINE
    )
    assert told == [(each["id"], words[each["outcome"]], each["reason"]) for each in results]
    (shown,) = re.findall(r"^```json\n(.*?)^```$", page("ten-minutes.md"), flags=re.DOTALL | re.MULTILINE)
    assert json.loads(shown) in cases


def finding_codes() -> set[str]:
    """Codes that the linter, and the check round it, can give, read from their sources."""
    found: set[str] = set()
    for path in [*(ROOT / "entitlements" / "lint").glob("*.py"), ROOT / "cardservice/catalogue/life/reading.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args + node.keywords:
                continue
            method = isinstance(node.func, ast.Attribute) and node.func.attr in ("error", "warn")
            if method or isinstance(node.func, ast.Subscript):
                found |= {str(part.value) for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)}
            elif isinstance(node.func, ast.Name) and node.func.id == "Finding":
                named = [word.value for word in node.keywords if word.arg == "code"]
                found |= {str(word.value) for word in named if isinstance(word, ast.Constant)}
    return found | {UNREADABLE}


def test_every_finding_of_the_check_is_explained_to_whoever_gets_it() -> None:
    told = re.findall(r"\| `(\w+)` \|$", page("checks.md"), flags=re.MULTILINE)
    assert len(told) == len(set(told))
    assert set(told) == finding_codes()


def test_the_guide_promises_no_rule_that_gates_cannot_hold() -> None:
    for path in sorted(GUIDE.glob("*.md")):
        for text in re.findall(r"^```json\n(.*?)^```$", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE):
            asked = json.loads(text)
            for rule in asked.get("requires", ()) if isinstance(asked, dict) else ():
                kind = "pin" if "factor" in rule else next(iter(rule))
                assert f"requires.{kind}" in SERVED_KINDS, (path.name, rule)
    told = re.findall(r"^\| `(\w+)` \|", page("rules.md").partition("### A PIN")[0], flags=re.MULTILINE)
    assert set(told) == PRESENTATION_KINDS
    for name in ("rules.md", "services.md", "refusals.md"):
        assert "cannot take a PIN" not in page(name)
        assert "keypad" in page(name), "a PIN needs a keypad, and whoever reads of a PIN has to know it"
