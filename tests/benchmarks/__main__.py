"""``make bench``: run every benchmark, print the table and write it down; exit 1 when a bar is missed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.benchmarks import borough, bulk, cache, decisions, fleet, policies, replay, service, status
from tests.benchmarks.measure import Result
from tests.benchmarks.report import as_text, write_document, write_json

SUITES = {
    "decisions": decisions.run,
    "policies": policies.run,
    "cache": cache.run,
    "bulk": bulk.run,
    "replay": replay.run,
    "status": status.run,
    "compile": borough.run,
    "service": service.run,
    "fleet": fleet.run,
}


def main() -> int:
    """Run the chosen suites."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help="which to run; all by default")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="where the figures go")
    parser.add_argument("--no-document", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    results: list[Result] = []
    for name in options.suites or SUITES:
        results += SUITES[name]()
    print(as_text(results))
    write_json(options.out, results)
    if not options.no_document:
        write_document(results)
    missed = [f"{result.name} (against {result.against})" for result in results if not result.reached]
    if missed:
        print(f"\nmissed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
