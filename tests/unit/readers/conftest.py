"""What the reader's unit tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from readers.journal import Journal
from tests.unit.readers.kit.council import Council
from tests.unit.readers.kit.desk import Desk, Open


@pytest.fixture
def council() -> Council:
    return Council()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = Journal(tmp_path)
    async with made.database:
        yield made


@pytest.fixture
def opened(tmp_path: Path, journal: Journal) -> Open:
    """Opens the gate of a council's site."""
    return lambda council: Desk(council, tmp_path, journal)
