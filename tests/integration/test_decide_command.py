"""``cardservice decide``: the decision tool, at once and without a database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parent.parent / "vectors" / "decisions"
BARE = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}


def _decide(cases: Path, *options: str, **files: Path) -> subprocess.CompletedProcess[str]:
    world = files.get("world", VECTORS / "world.json")
    services = files.get("services", VECTORS / "services.json")
    arguments = ["decide", "--world", str(world), "--services", str(services), str(cases), *options]
    return subprocess.run(
        [sys.executable, "-m", "cardservice", *arguments], env=BARE, capture_output=True, text=True, check=False
    )


def _changed(folder: Path, **change: Any) -> Path:
    """The first worked case, changed."""
    case = json.loads((VECTORS / "cases.json").read_text())[0]
    path = folder / "cases.json"
    path.write_text(json.dumps([case | change]))
    return path


def test_the_worked_cases_come_out_as_written():
    done = _decide(VECTORS / "cases.json", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    cases = json.loads((VECTORS / "cases.json").read_text())
    results = json.loads(done.stdout)
    assert [result["id"] for result in results] == [case["id"] for case in cases]
    assert all({"id", "outcome", "reason"} <= result.keys() for result in results)


def test_a_difference_is_told_and_ends_with_1_but_only_where_it_was_asked_for(tmp_path: Path):
    cases = _changed(tmp_path, expect={"outcome": "deny", "reason": "full"})
    done = _decide(cases, "--check")
    assert done.returncode == 1
    assert "expected" in done.stderr
    assert json.loads(done.stdout)[0]["reason"] != "full"
    assert _decide(cases).returncode == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"service": "wcc.nowhere"}, "wcc.nowhere"),
        ({"colour": "red"}, "colour"),
        ({"site": "atlantis"}, "atlantis"),
        ({"at": "2026-02-30T10:00:00Z"}, "2026-02-30"),
    ],
)
def test_a_case_that_cannot_be_decided_is_named_and_ends_with_2(tmp_path: Path, change: dict[str, str], words: str):
    cases = _changed(tmp_path, **change)
    name = json.loads(cases.read_text())[0]["id"]
    done = _decide(cases)
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', "\udcff"])
def test_files_that_are_no_cases_no_world_or_no_services_end_with_2(tmp_path: Path, text: str):
    bad = tmp_path / "bad.json"
    bad.write_bytes(text.encode("utf-8", "surrogateescape"))
    for done in (
        _decide(bad),
        _decide(VECTORS / "cases.json", world=bad),
        _decide(VECTORS / "cases.json", services=bad),
    ):
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr
        assert "Traceback" not in done.stderr


def test_deciding_loads_neither_the_database_nor_the_web_server():
    arguments = ["decide", "--world", "world.json", "--services", "services.json", "cases.json"]
    code = (
        "import sys\n"
        "from cardservice.cli import cli\n"
        f"cli({arguments!r}, standalone_mode=False)\n"
        "print(sorted({'asyncpg', 'aiohttp', 'redis', 'pydantic', 'uvloop'} & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=VECTORS, env=BARE, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
