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


@needs_atheris
def test_every_form_of_a_card_is_a_seed_from_which_the_fuzzer_begins(tmp_path: Path):
    """Were a seed refused everywhere, the fuzzer would begin before a closed door and never find what is behind it."""
    script = (
        "import tests.fuzz.codes as codes\n"
        "from entitlements.credential import UnverifiedPresentation, VerifiedCard, verify_presentation\n"
        "def forms(texts):\n"
        "    shown = (UnverifiedPresentation(data=text, media=media) for text in texts for media in codes.MEDIA)\n"
        "    keys, now, secrets = codes.cards.KEYS, codes.cards.NOW, codes.SECRETS\n"
        "    found = (verify_presentation(one, keys, now, secrets=secrets) for one in shown)\n"
        "    return sorted({card.form.value for card in found if isinstance(card, VerifiedCard)})\n"
        "print(forms(codes.TEXTS), forms(codes.WITHOUT_A_CHIP))\n"
        "for door in codes.DOORS:\n"
        "    for text in (*codes.TEXTS, *codes.WITHOUT_A_CHIP):\n"
        "        codes.one_input(bytes((codes.DOORS.index(door),)) + text)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.strip() == "['chip', 'cwt', 'jwt', 'live', 'totp', 'uid'] []"


@needs_atheris
@pytest.mark.parametrize("change", ["codes.verify_static = codes.verify_at_till", "codes.TEXTS.remove(codes.CHIP)"])
def test_the_fuzzer_would_see_a_service_or_a_chip_that_takes_too_much(change: str):
    script = (
        "import tests.fuzz.codes as codes\n"
        f"live, chip = codes.TEXTS[3], codes.CHIP\n{change}\n"
        "codes.CHIP = b''\n"
        "codes.at_the_service(live)\n"
        "codes.as_text(chip)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "Fault" in done.stderr
