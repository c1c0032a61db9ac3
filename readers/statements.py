"""The reader's SQL, by name: every SQL statement of the project lives under ``sql/``, these in ``sql/reader``."""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import Final

_FOLDER: Final = Path(__file__).resolve().parent.parent / "sql" / "reader"
_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_statements(name: str) -> MappingProxyType[str, str]:
    """The statements of ``sql/reader/<name>.sql``: what follows each ``-- name:`` line, up to the next."""
    pieces = _NAME.split((_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
    return MappingProxyType({key: text.strip() for key, text in zip(pieces[1::2], pieces[2::2], strict=True)})
