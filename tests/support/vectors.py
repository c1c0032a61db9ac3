"""Where published test vectors are found. They are not copied into the project, so a bare clone passes without."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
OWN_VECTORS = PROJECT / "tests" / "vectors"
"""Vectors of this project's own, which are always there."""

SOURCES = {
    "wycheproof": "https://github.com/C2SP/wycheproof, folder testvectors_v1",
    "dgc": "https://github.com/eu-digital-green-certificates/dgc-testdata",
    "status-list": "the test vectors of the IETF draft Token Status List",
}
"""Folder of published vectors: where to get them."""


def published(folder: str, name: str) -> Path:
    """Find a file of published vectors in the folder that ``CARD_VECTORS`` names, or in ``../shared/vectors``.

    Skips the calling test, saying where the file comes from, if it is in neither.
    """
    given = os.environ.get("CARD_VECTORS")
    root = Path(given) if given else PROJECT.parent / "shared" / "vectors"
    path = root / folder / name
    if not path.is_file():
        pytest.skip(
            f"{folder}/{name} is not here: get it from {SOURCES[folder]}, put it in a folder {folder} "
            "and name the folder above it in CARD_VECTORS"
        )
    return path


def published_json(folder: str, name: str) -> Any:
    """Read a JSON file of published vectors, or skip as :func:`published`."""
    return json.loads(published(folder, name).read_text("utf-8"))


def own_json(folder: str, name: str) -> Any:
    """Read a JSON file of this project's own vectors."""
    return json.loads((OWN_VECTORS / folder / name).read_text("utf-8"))
