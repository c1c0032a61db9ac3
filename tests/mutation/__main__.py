"""Mutation check of the decision modules: which small changes to them would no test of the rules notice?

Mutants are those of cosmic-ray's operators, made as text and never written to a file: a child of a process that has
imported all but the project itself takes the changed module through an import hook and runs the tests, the likeliest
killers first, and only tests that reach the change. Run it with cosmic-ray beside the project's own packages::

    python -m tests.mutation --out mutants.jsonl            # all; goes on where it was stopped
    python -m tests.mutation --again --out mutants.jsonl    # only the survivors of the last run, after new tests

Property tests run without chance and without shrinking, so two runs judge alike.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pickle
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

# Imported before any fork, so that no child pays for them.
import cbor2  # noqa: F401
import cryptography.hazmat.primitives.asymmetric.ec  # noqa: F401
import hypothesis
import hypothesis.strategies
import jsonschema  # noqa: F401
import jwt  # noqa: F401
import msgspec  # noqa: F401
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "entitlements"
MODULES = [
    "decide",
    "limits",
    "requirements",
    "situation",
    "compiled",
    "compile",
    "eligibility",
    "periods",
    "calendars",
]
TESTS = ROOT / "tests" / "unit" / "entitlements"
CASES = ROOT / "tests" / "vectors" / "decisions"
FIRST = ("test_decision_edges", "test_limit_edges", "test_people_edges", "test_opening_edges")
"""Test files that kill most after the written cases have been tried; the others come last."""
OPTIONS = ("-x", "-q", "--noconftest", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
"""Hypothesis is imported before pytest can rewrite its assertions, of which it would warn."""
PATIENCE = 40
"""Seconds that a child may take; unchanged code takes five."""
MEMORY = 4 << 30
"""Bytes that a child may map: a mutant must not take the machine with it."""
ENDINGS = {0: "survived", -signal.SIGALRM: "timed out"}
"""Of a child, by exit code; every other end is a kill."""

Mutant = dict[str, Any]
"""``module, line, operator, occurrence, before, after`` (the first changed line), and ``source`` until it was run."""


class _Served(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves one module from text."""

    def __init__(self, name: str, source: str) -> None:
        self._name, self._source = name, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        code: CodeType = compile(self._source, f"<mutant of {self._name}>", "exec")
        exec(code, module.__dict__)


def _without_hints(source: str) -> str:
    """The program without annotations that nobody evaluates: all but those of classes' fields."""
    tree = ast.parse(source)
    fields = {id(node) for owner in ast.walk(tree) if isinstance(owner, ast.ClassDef) for node in owner.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.AnnAssign) and id(node) not in fields:
            node.annotation = ast.Constant(None)
    return ast.dump(tree)


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of a module; those that are no program or only change annotations have an ``end`` already."""
    plugins = importlib.import_module("cosmic_ray.plugins")
    visitor = importlib.import_module("cosmic_ray.mutating").MutationVisitor
    original = (ROOT / PACKAGE / f"{module}.py").read_text("utf-8")
    plain, lines = _without_hints(original), original.split("\n")
    tree = pickle.dumps(importlib.import_module("parso").parse(original))  # read back ten times as fast as parsed
    for operator in sorted(plugins.operator_names()):
        if "Variable" in operator:  # needs to be told its variables
            continue
        for occurrence in range(sys.maxsize):
            change = visitor(occurrence, plugins.get_operator(operator)())
            source = change.walk(pickle.loads(tree)).get_code()
            if not change.mutation_applied:
                break
            changed = source.split("\n")
            line = next((at for at, (a, b) in enumerate(zip(lines, changed, strict=False)) if a != b), 0)
            mutant = {"module": module, "line": line + 1, "operator": operator.removeprefix("core/")}
            mutant |= {"occurrence": occurrence, "before": lines[line].strip(), "after": changed[line].strip()}
            try:
                hinted = _without_hints(source) == plain
            except SyntaxError:
                yield mutant | {"source": source, "end": "no program"}
                continue
            yield mutant | {"source": source, "end": "only a hint" if hinted else None}


def _refuted_by_cases() -> bool:
    """Whether a written case comes out otherwise: a tenth of a second, where pytest takes ten times as long."""
    cases = importlib.import_module(f"{PACKAGE}.cases")
    for prefix in ("", "own_"):
        world, services, told = (
            (CASES / f"{prefix}{name}.json").read_text("utf-8") for name in ("world", "services", "cases")
        )
        if cases.compare(cases.run(world, services, told), cases.load_cases(told)):
            return True
    return False


class _Watch:
    """Notes which tests call which functions; what is called as a file is imported counts for all of its tests."""

    def __init__(self) -> None:
        self.callers: dict[str, set[str]] = {}
        self._now = ""

    def _saw(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and f"/{PACKAGE}/" in frame.f_code.co_filename:
            place = f"{Path(frame.f_code.co_filename).stem}:{frame.f_code.co_firstlineno}"
            self.callers.setdefault(place, set()).add(self._now)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        self._now = collector.nodeid
        sys.setprofile(self._saw)
        try:
            return (yield)
        finally:
            sys.setprofile(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self._now = item.nodeid
        sys.setprofile(self._saw)
        try:
            return (yield)
        finally:
            sys.setprofile(None)


class _Only:
    """Leaves the tests that a mutant can reach."""

    def __init__(self, reached: set[str]) -> None:
        self._reached = reached

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not self._reached.isdisjoint((item.nodeid, item.nodeid.split("::")[0]))]


def _group(module: str, line: int) -> set[int]:
    """First lines of the function that holds a line, and of its class's others, which may remember what it answered."""
    tree = ast.parse((ROOT / PACKAGE / f"{module}.py").read_text("utf-8"))
    functions = {_first(node): node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    inner = max((first for first, node in functions.items() if first < line <= (node.end_lineno or 0)), default=None)
    if inner is None:
        return set()
    for owner in ast.walk(tree):
        if isinstance(owner, ast.ClassDef) and functions[inner] in owner.body:
            return {_first(node) for node in owner.body if isinstance(node, ast.FunctionDef)}
    return {inner}


def _first(function: ast.FunctionDef) -> int:
    """The line that a code object gives as its first."""
    return min([function.lineno, *(one.lineno for one in function.decorator_list)])


def _quiet_child(work: Callable[[], int]) -> int:
    """Exit code, or negative signal, of work done in a child that says nothing."""
    child = os.fork()
    if child == 0:
        ended = 70
        try:
            signal.alarm(PATIENCE)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            sys.dont_write_bytecode = True
            ended = work()
        finally:
            os._exit(ended)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def watched() -> dict[str, set[str]]:
    """``module:first line`` of a function -> ids of the tests, or files of tests, that call it."""

    def work() -> int:
        signal.alarm(10 * PATIENCE)
        watch = _Watch()
        ended = pytest.main([str(TESTS), *OPTIONS], plugins=[watch])
        told = json.dumps({place: sorted(tests) for place, tests in watch.callers.items()})
        Path(out.name).write_text(told, "utf-8")
        return int(ended)

    with tempfile.NamedTemporaryFile() as out:
        if _quiet_child(work):
            sys.exit("the tests fail without any mutant")
        return {place: set(tests) for place, tests in json.loads(out.read()).items()}


def run(mutant: Mutant, callers: dict[str, set[str]]) -> str:
    """How a mutant ends: tried on the written cases, then on the tests that reach it, until one fails."""
    module, line = mutant["module"], mutant["line"]
    group = _group(module, line)
    reached: set[str] = set().union(*(callers.get(f"{module}:{first}", set()) for first in group))

    def work() -> int:
        sys.meta_path.insert(0, _Served(f"{PACKAGE}.{module}", mutant["source"]))
        if _refuted_by_cases():
            return 1
        files = sorted({path.stem for path in TESTS.glob("test_*.py")}, key=lambda name: (name not in FIRST, name))
        for go in (files[: len(FIRST)], files[len(FIRST) :]):
            here = [f"{TESTS}/{name}.py" for name in go if not group or any(f"/{name}.py" in test for test in reached)]
            ended = pytest.main([*here, *OPTIONS], plugins=[_Only(reached)] if group else []) if here else 0
            if ended not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
                return int(ended)
        return 0

    return ENDINGS.get(_quiet_child(work), "killed")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE", help=" ".join(MODULES))
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"), help="one JSON line a mutant")
    parser.add_argument("--again", action="store_true", help="try the survivors in --out again")
    args = parser.parse_args()
    hypothesis.settings.register_profile(
        "mutation",
        phases=[phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),  # a busy machine is no kill
        derandomize=True,
        database=None,
    )
    hypothesis.settings.load_profile("mutation")
    os.chdir(ROOT)
    callers = watched()
    done: dict[tuple[Any, ...], Mutant] = {}
    if args.out.exists():
        done = {_key(old): old for old in map(json.loads, args.out.read_text("utf-8").splitlines())}
    for module in args.modules:
        for mutant in mutants(module):
            old = done.get(_key(mutant))
            if old is not None and not (args.again and old["end"] == "survived"):
                continue
            end = mutant["end"] or run(mutant, callers)
            told = {key: value for key, value in mutant.items() if key != "source"} | {"end": end}
            done[_key(mutant)] = told
            with args.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(told) + "\n")
            if end in ENDINGS.values():
                print(f"{module} {told['line']} {end}: {told['before']}  ->  {told['after']}", flush=True)
    print(dict(Counter(mutant["end"] for mutant in done.values())))


def _key(mutant: Mutant) -> tuple[Any, ...]:
    return tuple(mutant[name] for name in ("module", "operator", "occurrence", "before", "after"))


if __name__ == "__main__":
    main()
