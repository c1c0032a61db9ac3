"""A PKCS#11 token of the tests' own: SoftHSM2 with its objects in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

PIN = "271828"
LABEL = "rescard-test"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)


@dataclass(frozen=True)
class SoftToken:
    """A token with a user PIN and no keys yet."""

    folder: Path
    module: Path

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    def address(self, key: str, *, pin_file: Path | None = None) -> str:
        """PKCS#11 URI of a key on it."""
        source = pin_file or self.pin_file
        return f"pkcs11:token={LABEL};object={key}?module-path={self.module}&pin-source=file:{source}"

    @contextmanager
    def pulled_out(self) -> Iterator[None]:
        """Nothing of the token can be reached within the block."""
        here, away = self.folder / "objects", self.folder / "away"
        here.rename(away)
        here.mkdir()
        try:
            yield
        finally:
            here.rmdir()
            away.rename(here)


@contextmanager
def soft_token(folder: Path) -> Iterator[SoftToken]:
    """A new token; the tests are skipped where SoftHSM2 or python-pkcs11 is missing."""
    module = next((Path(path) for path in MODULES if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM2 is not installed (Debian: apt-get install softhsm2)")
    if find_spec("pkcs11") is None:
        pytest.skip("python-pkcs11 is not installed (pip install 'rescard[pkcs11]')")
    (folder / "objects").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}/objects\nobjectstore.backend = file\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(config))
        # softhsm2-util has no other way to take PINs; this one guards nothing.
        options = ["--init-token", "--free", "--label", LABEL, "--so-pin", "314159", "--pin", PIN]
        subprocess.run(["softhsm2-util", *options], check=True, capture_output=True, env=os.environ)
        token = SoftToken(folder=folder, module=module)
        token.pin_file.write_text(PIN + "\n")
        yield token
        import pkcs11

        pkcs11.unload(str(module))  # the next token of this process is another one
