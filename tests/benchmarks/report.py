"""What is shown and kept of a measurement: a table on the terminal, a JSON file, and the one of docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.benchmarks.measure import Result

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN: Final = "<!-- measured: make bench writes from here -->"
END: Final = "<!-- to here -->"

_ROW = re.compile(r"\| (?P<name>[^|]+?) \| (?P<against>[^|]+?) \|")


def machine() -> str:
    """Where this runs, as far as it matters and names nobody's machine."""
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def as_text(results: Sequence[Result]) -> str:
    """A table for a terminal."""
    width = max(len(result.name) for result in results)
    lines = [f"{'what':<{width}}  {'ours':>12}  {'against':>12}  {'ratio':>7}  bar"]
    for result in results:
        mark = "ok" if result.reached else "MISSED"
        ours, theirs = _figure(result.ours, result.unit), _figure(result.theirs, result.unit)
        lines.append(
            f"{result.name:<{width}}  {ours:>12}  {theirs:>12}  "
            f"{result.ratio:>7.3f}  {result.sense} {result.bar:g}  {mark}   (against {result.against})"
        )
    return "\n".join(lines)


def write_json(path: Path, results: Sequence[Result]) -> None:
    """All figures, for programs."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    report = {"at": at, "machine": machine(), "results": [result.as_json() for result in results]}
    path.write_text(json.dumps(report, indent=1) + "\n")


def write_document(results: Sequence[Result], path: Path = DOCUMENT) -> None:
    """Put the rows into the document's table: measured ones in place of what they were, new ones below.

    Raises:
        ValueError: the document has no place for them.
    """
    text = path.read_text("utf-8")
    head, begin, rest = text.partition(BEGIN)
    old, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no lines {BEGIN!r} and {END!r}")
    rows = {
        (match["name"], match["against"]): line
        for line in old.splitlines()
        if (match := _ROW.match(line)) and "---" not in line
    }
    rows.pop(("what", "against"), None)
    when = f"{datetime.now(UTC):%Y-%m-%d}, {machine()}"
    for result in results:
        rows[result.name, result.against] = _row(result, when)
    table = [
        "| what | against | ours | theirs | ratio | bar | measured |",
        "|---|---|---|---|---|---|---|",
        *rows.values(),
    ]
    path.write_text(f"{head}{BEGIN}\n\n" + "\n".join(table) + f"\n\n{END}{tail}", "utf-8")


def _row(result: Result, when: str) -> str:
    missed = "" if result.reached else " **missed**"
    cells = (
        result.name,
        result.against,
        _figure(result.ours, result.unit),
        _figure(result.theirs, result.unit),
        f"{result.ratio:.3f}{missed}",
        f"{result.sense} {result.bar:g}",
        when,
    )
    return "| " + " | ".join(cells) + " |"


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.2f} {unit}"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()
