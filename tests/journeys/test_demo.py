"""The demonstration as a stranger runs it: one command, everything real, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jwt
import pytest
from PIL import Image

from tests.support.qr import read_qr

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 150
"""The story takes half a minute; a loaded machine may take much longer."""
RESIDENTS = "60"


def _command(folder: Path, *more: str) -> list[str]:
    options = ["--data", str(folder / "data"), "--out", str(folder / "out"), "--residents", RESIDENTS]
    return [sys.executable, "-m", "cardservice", "demo", *options, *more]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}


def _processes_of(folder: Path) -> Sequence[str]:
    """Command lines of living processes that name this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line and int(entry.name) != os.getpid():
                found.append(line)
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a story told once, to its end."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        _command(folder, "--once"),
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_step_of_the_story_comes_out_as_expected(told: Path) -> None:
    story = json.loads((told / "out" / "story.json").read_text())
    assert story["ok"] is True
    assert {step["step"].partition(".")[0] for step in story["steps"]} == {"1", "2", "3", "4", "5", "6", "7", "8", "9"}
    for step in story["steps"]:
        assert step["seen"] == step["expected"], step
        assert step["milliseconds"] >= 0


def test_the_card_that_is_left_verifies_with_the_keys_that_are_left_and_nothing_else(told: Path) -> None:
    token = (told / "out" / "card.jwt").read_text().strip()
    keys = jwt.PyJWKSet.from_dict(json.loads((told / "out" / "jwks.json").read_text()))
    claims = jwt.decode(token, key=keys[jwt.get_unverified_header(token)["kid"]], algorithms=["ES256"])
    assert claims["iss"] == "wcc"
    assert set(claims) == {"iss", "jti", "iat", "exp", "fn", "ch", "status"}


def test_the_picture_that_is_left_is_that_card(told: Path) -> None:
    with Image.open(told / "out" / "card.png") as picture:
        code = read_qr(picture.convert("L"))
    assert code.text == (told / "out" / "card.jwt").read_text().strip()


def test_no_process_is_left_behind(told: Path) -> None:
    assert not _processes_of(told)


@pytest.mark.parametrize("site", ["leisure", "library"])
def test_the_last_word_of_a_reader_is_that_it_stops(told: Path, site: str) -> None:
    """One with a camera ended by telling of leaked memory."""
    lines = (told / "data" / site / "reader.log").read_text().splitlines()
    assert lines[-1].endswith("the reader stops")


def test_ctrl_c_stops_everything_at_any_moment_and_the_data_can_be_used_again(told: Path) -> None:
    running = subprocess.Popen(
        _command(told), cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert running.stdout is not None
    with running.stdout as lines:
        for line in lines:
            if "Virtual hardware" in line:
                break
        running.send_signal(signal.SIGINT)
        rest = lines.read()
    assert running.wait(RUN_SECONDS) == 130, rest
    assert "Traceback" not in rest
    assert not _processes_of(told)
