"""Who may import whom. A gate must install no database driver, the service no NFC library, and the meaning no I/O."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[2]


def test_no_package_imports_what_its_place_in_the_design_forbids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0


@pytest.mark.parametrize(
    ("entry", "foreign"),
    [
        ("readers.daemon", {"asyncpg", "redis", "aiosql", "jinja2", "qrcode"}),
        ("cardservice.app", {"nfc", "zxingcpp", "pymodbus", "numpy"}),
        ("entitlements.decide", {"asyncio", "aiohttp", "asyncpg", "sqlite3", "structlog"}),
    ],
)
def test_an_installation_without_the_others_extras_still_starts(entry: str, foreign: set[str]) -> None:
    """Imports the entry point in a fresh interpreter in which the foreign modules cannot be imported."""
    program = (
        "import sys, importlib\n"
        f"for name in {sorted(foreign)!r}: sys.modules[name] = None\n"
        f"importlib.import_module({entry!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
