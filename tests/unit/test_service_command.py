"""A manager writes, reads back and compares a service in files, with no server and no JSON in what they are told."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cardservice.catalogue.life.reading import check
from cardservice.catalogue.life.templates import as_text, templates
from cardservice.cli import cli
from cardservice.errors import ApiProblem
from entitlements.documents import parse_services
from entitlements.lint import KnownFacts
from entitlements.model import SiteId, TenantId
from entitlements.world import Tenant, World
from tests.support.vectors import own_json

WORLD = World(
    tenants={TenantId("wcc"): Tenant(timezone="Europe/London")},
    site_sets={
        name: frozenset((SiteId("somewhere"),))
        for name in ("@wcc-ev", "@wcc-libraries", "@wcc-leisure", "@wcc-recycling")
    },
    sites=frozenset((SiteId("wcc-hub"), SiteId("wcc-equipment-store"))),
)
KNOWN = KnownFacts(
    evidence=frozenset(("universal_credit", "student")),
    permit=frozenset(("ev_vehicle",)),
    member_of=frozenset(("library",)),
    role=frozenset(("partner",)),
)
FROM_A_TEMPLATE = ("new", "--template", "ev-charging", "--no-ask")


def run(*arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(cli, ["service", *arguments], **more)


@pytest.fixture
def charging(tmp_path: Path) -> Path:
    file = tmp_path / "ev.json"
    assert run(*FROM_A_TEMPLATE, str(file)).exit_code == 0
    return file


@pytest.mark.parametrize("name", sorted(templates()))
def test_a_template_filled_in_as_it_stands_has_nothing_to_object_to(name: str):
    text = as_text(templates()[name].fill("wcc", {}))
    reading = check(text, world=WORLD, known=KNOWN, on=date(2026, 11, 23), tenant="wcc")
    assert [str(finding) for finding in reading.findings] == []


@pytest.mark.parametrize("name", sorted(templates()))
def test_each_answer_to_a_template_arrives_in_the_document(name: str):
    chosen = templates()[name]
    for question in chosen.file.questions:
        other: Any = {"text": "P7D" if question.id == "period" else "06:15", "list": ["sun"]}.get(question.kind, 3)
        if question.id == "year_starts":
            other = "01-31"
        filled = chosen.fill("wcc", {question.id: other}, service_id="wcc.x.y")
        assert filled != chosen.fill("wcc", {}, service_id="wcc.x.y"), question.id
        if question.id not in ("permit", "resource", "pool", "title"):
            parse_services(filled)
        assert filled["id"] == "wcc.x.y"


def test_answers_that_do_not_fit_are_named_by_their_question():
    chosen = templates()["ev-charging"]
    with pytest.raises(ApiProblem) as caught:
        chosen.fill("wcc", {"kwh_a_month": "many", "sites": [], "colour": "red", "kwh_offline": True})
    assert {field["at"] for field in caught.value.fields} == {
        *("/answers/kwh_a_month", "/answers/sites", "/answers/colour", "/answers/kwh_offline")
    }


def test_a_document_from_a_template_is_read_back_without_a_brace(charging: Path):
    done = run("explain", str(charging))
    assert done.exit_code == 0
    assert "Each household can use up to 120 kWh a month." in done.output
    assert not set('{}[]"') & set(done.output)
    assert "(no sites yet)" not in done.output
    assert run("lint", str(charging)).output.startswith("Nothing to object to.\nTaken on trust: ")


def test_a_file_that_is_there_is_not_written_over(charging: Path):
    before = charging.read_text()
    done = run(*FROM_A_TEMPLATE, "--answer", "kwh_a_month=7", str(charging))
    assert (done.exit_code, charging.read_text()) == (1, before)
    assert "is there already" in done.output


def test_questions_are_asked_until_the_answer_fits(tmp_path: Path):
    file = tmp_path / "loan.json"
    lines = ["Wheelchairs", "", "", "", "lots", "3", "", "", ""]
    done = run("new", "--template", "equipment-loan", "--ask", str(file), input="\n".join(lines) + "\n")
    assert done.exit_code == 0, done.output
    assert "How many things may one person have at a time?" in done.output
    assert "items: write a whole number" in done.output
    made = json.loads(file.read_text())
    assert (made["title"], made["limits"][0]["loan"]["max_out"]) == ("Wheelchairs", 3)


def test_errors_point_at_the_line_and_show_it(charging: Path):
    text = charging.read_text()
    charging.write_text(text.replace('"max": 120', '"max": "lots"'))
    line = next(number for number, each in enumerate(text.splitlines(), 1) if '"max": 120' in each)
    done = run("lint", str(charging))
    assert done.exit_code == 1
    assert f"line {line})" in done.output
    assert '| "max": "lots"' in done.output
    charging.write_text(text.replace('"kind"', "kind"))
    for command in ("lint", "explain"):
        done = run(command, str(charging))
        assert done.exit_code == 1
        assert "line 5)" in done.output


def test_what_the_council_has_is_asked_where_files_say_it(charging: Path, tmp_path: Path):
    world, facts = tmp_path / "world.json", tmp_path / "facts.json"
    world.write_text(json.dumps(own_json("decisions", "world.json")))
    facts.write_text(json.dumps({"permit": ["ev_vehicle"]}))
    done = run("lint", str(charging), "--world", str(world), "--facts", str(facts))
    assert (done.exit_code, done.output) == (0, "Nothing to object to.\n")
    facts.write_text(json.dumps({"permit": ["blue_badge"]}))
    done = run("lint", str(charging), "--world", str(world), "--facts", str(facts))
    assert done.exit_code == 1
    assert "EV vehicle" in done.output or "ev_vehicle" in done.output
    facts.write_text(json.dumps({"permits": 3, "permit": "x"}))
    done = run("lint", str(charging), "--facts", str(facts))
    assert (done.exit_code, "Traceback" in done.output) == (1, False)
    assert str(facts) in done.output


def test_a_difference_is_told_in_sentences(charging: Path, tmp_path: Path):
    other = tmp_path / "other.json"
    other.write_text(charging.read_text().replace('"max": 120', '"max": 60').replace('"gte": 17', '"gte": 21'))
    done = run("diff", str(charging), str(other))
    assert done.exit_code == 0
    assert "The minimum age goes up from 17 to 21." in done.output
    assert "goes down from 120 to 60 kWh a month" in done.output
    assert "Nothing changes" in run("diff", str(charging), str(charging)).output
    assert run("diff", str(charging)).exit_code == 2


def test_a_service_that_does_not_answer_is_one_sentence(charging: Path):
    done = run("simulate", str(charging), "--url", "http://127.0.0.1:9", "--token", "rsc_x")
    assert done.exit_code == 1
    assert "http://127.0.0.1:9 does not answer" in done.output
    assert "Traceback" not in done.output
