"""The console script: whoever installs a gate must be told what is wrong, and be able to stop what was started."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from readers.cli import main
from tests.unit.readers.kit.console import settings_file


@pytest.fixture(autouse=True)
def _logs_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands run inside this process: what they set up for logs would outlast them, in other tests too."""
    monkeypatch.setattr("readers.cli.set_up_logging", lambda form: None)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return settings_file(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "cardreader enrol --config FILE --code CODE"),
        (["enrol", "--code", "x"], "POST /v1/readers/enrol"),
        (["roll-key"], "no identity"),
        (["status"], "no daemon runs"),
    ],
)
def test_what_cannot_be_done_is_told_in_words_and_not_in_a_traceback(
    config: Path, arguments: list[str], words: str
) -> None:
    result = CliRunner().invoke(main, [*arguments, "--config", str(config)])
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


def test_every_command_explains_itself() -> None:
    for command in ("run", "enrol", "status", "roll-key", "parked"):
        result = CliRunner().invoke(main, [command, "--help"])
        assert result.exit_code == 0
        assert "--config" in result.output


async def test_a_reader_that_waits_for_its_first_enrolment_can_be_stopped(config: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "readers.cli", "run", "--config", str(config), "--enrol-code", "x",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        while b"cannot enrol yet" not in (line := await process.stderr.readline()):
            assert line, "the reader ended by itself"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
