"""``python -m tests.faults --seeds 1-200``: many runs, with progress and a summary; exit status 1 if one failed."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.planning import plan
from tests.faults.run import OFTEN, SELDOM, FaultError, Run
from tests.faults.sabotage import FAULTS
from tests.faults.world import World

MANY = 200
"""Seeds among which everything that may happen should."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, help="one run, with its schedule")
    parser.add_argument("--seeds", default="1-12", help="many runs, as FIRST-LAST (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=1, help="run each seed so often, or until it fails")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no run after this (default: %(default)g)")
    parser.add_argument("--sabotage", choices=sorted(FAULTS), help="break the readers so; the runs should then fail")
    parser.add_argument("--keep", action="store_true", help="keep the files of runs that failed")
    return parser.parse_args()


async def _runs(seeds: range, arguments: argparse.Namespace, folder: Path) -> int:
    total: Counter[str] = Counter()
    failed: list[int] = []
    slowest = (0.0, 0)
    until = time.monotonic() + 60 * arguments.minutes
    async with World(folder) as world:
        for seed in [seed for seed in seeds for _ in range(arguments.repeat)]:
            if seed in failed:
                continue  # its files stay for whoever looks
            if time.monotonic() > until:
                print(f"the time is over before seed {seed}")
                failed.append(seed)
                break
            began = time.monotonic()
            try:
                total += await Run(world, seed, broken=arguments.sabotage).go()
            except FaultError as error:
                failed.append(seed)
                print(f"\n{error}\n", flush=True)
            seconds = time.monotonic() - began
            slowest = max(slowest, (seconds, seed))
            print(f"seed {seed}: {'FAILED' if seed in failed else 'well'}, {seconds:.1f} s", flush=True)
    print(f"\n{len(seeds)} seeds, {len(failed)} failed {failed}; slowest {slowest[0]:.1f} s (seed {slowest[1]})")
    for what, count in sorted(total.items()):
        print(f"  {count:10,} {what}")
    never = [what for what in (*OFTEN, *SELDOM) if not total[what]] if len(seeds) >= MANY and not failed else []
    if never:
        print(f"these never happened, so that nothing is known of them: {', '.join(never)}")
    return 1 if failed or never else 0


def main() -> int:
    """Run what was asked for."""
    arguments = _arguments()
    logging.getLogger("asyncpg").addHandler(logging.NullHandler())  # that a killed database is away is no news
    if arguments.seed is not None:
        seeds = range(arguments.seed, arguments.seed + 1)
        print("\n".join(f"{number:3} {step}" for number, step in enumerate(plan(arguments.seed))), flush=True)
    else:
        first, _, last = arguments.seeds.partition("-")
        seeds = range(int(first), int(last or first) + 1)
    folder = Path(tempfile.mkdtemp(prefix="rescard-faults-"))
    status = 1
    try:
        status = asyncio.run(_runs(seeds, arguments, folder))
    finally:
        if status and arguments.keep:
            print(f"files are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
