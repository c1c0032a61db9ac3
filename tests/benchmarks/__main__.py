"""``make bench``: run every benchmark, print the table, write ``bench.json``; exit 1 when a bar is missed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import bulk, cache, decisions, fleet, policies, replay, service, status
from tests.benchmarks.measure import Result

SUITES = {
    "decisions": decisions.run,
    "policies": policies.run,
    "cache": cache.run,
    "bulk": bulk.run,
    "replay": replay.run,
    "status": status.run,
    "service": service.run,
    "fleet": fleet.run,
}


def main() -> int:
    """Run the chosen suites."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help="which to run; all by default")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="where the figures go")
    options = parser.parse_args()
    results: list[Result] = []
    for name in options.suites or SUITES:
        results += SUITES[name]()
    width = max(len(result.name) for result in results)
    print(f"{'what':<{width}}  {'ours':>10}  {'against':>10}  {'ratio':>7}  bar")
    for result in results:
        mark = "ok" if result.reached else "MISSED"
        print(
            f"{result.name:<{width}}  {result.ours:>7.2f} {result.unit:<2}  {result.theirs:>7.2f} {result.unit:<2}  "
            f"{result.ratio:>7.3f}  {result.sense} {result.bar:g}  {mark}   (against {result.against})"
        )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "results": [result.as_json() for result in results],
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    missed = [result.name for result in results if not result.reached]
    if missed:
        print(f"\nmissed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
