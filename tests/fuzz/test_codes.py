"""If this fails, some bytes held to a reader stop it, or two ways of verifying one card differ."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
RUNS = 20_000
MAX_INPUT_BYTES = 1200
"""Beyond the length caps of all forms."""
HANG_SECONDS = 20
"""libFuzzer's own limit for one input: it ends a run that hangs, and measures nothing."""
MAX_MEGABYTES = 1024

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not here: it has wheels for CPython up to 3.13 on x86-64 Linux only",
)


@needs_atheris
def test_thousands_of_guided_inputs_bring_nothing_but_refusals(tmp_path: Path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.codes",
            str(corpus),
            f"-runs={RUNS}",
            f"-max_len={MAX_INPUT_BYTES}",
            f"-timeout={HANG_SECONDS}",
            f"-rss_limit_mb={MAX_MEGABYTES}",
            "-seed=4",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    finished = re.search(r"Done (\d+) (?:runs )?in", done.stderr)
    assert finished is not None, done.stderr[-4000:]
    assert int(finished[1]) >= RUNS
    assert len(list(corpus.iterdir())) > 20, "the fuzzer found new ways through the code, so it is guided by it"


@needs_atheris
def test_the_fuzzer_would_see_a_fault(tmp_path: Path):
    """A seed whose two ways differ is a crash, not a pass."""
    script = (
        "import sys, tests.fuzz.codes as codes\n"
        "codes.verify_cwt_cbor2 = lambda *arguments: None\n"
        "codes.one_input(bytes((codes.DOORS.index(codes.both_ways),)) + codes.cwt.HONEST)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "the two ways of verifying a CWT differ" in done.stderr
