"""Pages of the card on a phone: templates, the files they need, and the worker that keeps both without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER: Final = Path(__file__).resolve().parent
SHELL: Final = "/card/"
"""The page that shows cards. It holds nothing of anybody, so that the worker may keep it."""
WORKER: Final = "worker.js"
MEDIA_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}


@cache
def assets() -> Mapping[str, tuple[bytes, str]]:
    """The files of ``static/`` by name, with their media types; no other path is ever opened."""
    return {
        path.name: (path.read_bytes(), MEDIA_TYPES[path.suffix])
        for path in sorted((FOLDER / "static").iterdir())
        if path.suffix in MEDIA_TYPES and path.name != WORKER
    }


@cache
def version() -> str:
    """A fingerprint of all files and templates: modules import each other, so they change address together."""
    digest = sha256()
    for folder in ("static", "templates"):
        for path in sorted((FOLDER / folder).iterdir()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def asset_url(name: str) -> str:
    """Address of a file of ``static/``.

    Raises:
        KeyError: there is no such file.
    """
    assets()[name]
    return f"/card/assets/{version()}/{name}"


@cache
def worker_script() -> str:
    """The service worker, told which files this version has; it changes whenever one of them does."""
    files = [SHELL, *(asset_url(name) for name in assets() if not name.endswith(".txt"))]
    told = f"const VERSION = {json.dumps(version())};\nconst FILES = {json.dumps(files)};\n"
    return told + (FOLDER / "static" / WORKER).read_text("utf-8")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset_url"] = asset_url
    return environment


def render(template: str, **values: Any) -> str:
    """A template with these values, escaped."""
    return _templates().get_template(template).render(**values)
