"""The power cut of the fault suite is one: what was synced is there afterwards, what was not may be anything."""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults.platter import Platter, cut_power

CUTS = 30


def _watched(work: Callable[[Path], None], folder: Path, books: Path) -> None:
    """A process of its own: a platter watches the whole process for good."""
    Platter(folder, books).spin()
    work(folder)
    os._exit(0)  # no tidying up, as in a kill


def _after(work: Callable[[Path], None], folder: Path, look: Callable[[Path], object]) -> set[object]:
    """What may be there after the power went at the end of ``work``."""
    processes = multiprocessing.get_context("forkserver")
    found = set()
    for seed in range(CUTS):
        place, books = folder / str(seed) / "data", folder / str(seed) / "books"
        place.mkdir(parents=True)
        process = processes.Process(target=_watched, args=(work, place, books))
        process.start()
        process.join()
        assert process.exitcode == 0
        cut_power(place, books, random.Random(seed))
        found.add(look(place))
    return found


def _synced(folder: Path) -> None:
    with (folder / "a").open("wb") as file:
        file.write(b"whole")
        file.flush()
        os.fsync(file.fileno())
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)


def _not_synced(folder: Path) -> None:
    (folder / "a").write_bytes(b"x" * 2000)


def _file(folder: Path) -> object:
    path = folder / "a"
    return path.read_bytes() if path.exists() else None


def test_a_file_is_safe_with_its_name_once_both_were_synced(tmp_path: Path) -> None:
    assert _after(_synced, tmp_path, _file) == {b"whole"}


def test_a_file_that_was_not_synced_may_be_there_be_gone_or_be_torn(tmp_path: Path) -> None:
    found = _after(_not_synced, tmp_path, _file)
    assert {None, b"x" * 2000} < found
    assert len(found) > 2


def _insert(folder: Path, *, synchronous: str) -> None:
    connection = sqlite3.connect(folder / "a.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE t (n INTEGER)")
    connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(5)])


def _rows(folder: Path) -> object:
    connection = sqlite3.connect(folder / "a.db")
    try:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])
    except sqlite3.OperationalError:
        return "no table"
    finally:
        connection.close()


@pytest.mark.parametrize(("synchronous", "safe"), [("FULL", True), ("OFF", False)])
def test_what_sqlite_synced_is_safe_and_what_it_did_not_is_not(tmp_path: Path, synchronous: str, safe: bool) -> None:
    found = _after(partial(_insert, synchronous=synchronous), tmp_path, _rows)
    assert (found == {5}) is safe
