"""Every named query is called with the arguments that it has: the database's own types cannot check that."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"^-- name: (\w+)", re.MULTILINE)
ARGUMENT = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")
NOT_NAMED = {"conn"}


def queries() -> dict[tuple[str, str], set[str]]:
    """Arguments of each query, by file and name."""
    found: dict[tuple[str, str], set[str]] = {}
    for path in (ROOT / "sql" / "queries").glob("*.sql"):
        parts = NAME.split(path.read_text("utf-8"))
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            code = re.sub(r"--[^\n]*|'[^']*'", "", body)
            found[path.stem, name] = set(ARGUMENT.findall(code))
    return found


def calls() -> list[tuple[str, tuple[str, str], set[str]]]:
    """Where a query is called with named arguments alone, which, and with which."""
    found = []
    for path in (ROOT / "cardservice").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            group = node.func.value
            if not (
                isinstance(group, ast.Attribute)
                and isinstance(group.value, ast.Call)
                and isinstance(group.value.func, ast.Name)
                and group.value.func.id == "queries"
            ):
                continue
            names = {keyword.arg for keyword in node.keywords}
            if None in names or len(node.args) > 1:
                continue  # given as a mapping: not to be seen here
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            found.append((where, (group.attr, node.func.attr), {str(name) for name in names}))
    return found


def test_no_call_of_a_query_lacks_an_argument_or_names_another() -> None:
    known, made = queries(), calls()
    assert len(made) > 200
    wrong = [
        f"{where}: {'.'.join(query)} takes {sorted(known.get(query, set()))}, is given {sorted(given)}"
        for where, query, given in made
        if query not in known or known[query] != given - NOT_NAMED
    ]
    assert wrong == []
