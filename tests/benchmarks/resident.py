"""``python -m tests.benchmarks.resident BASE``: what a process holds of a cache, in octets.

Resident octets of the whole process (``Rss`` of /proc/self/smaps_rollup: the mapped file and all that Python took)
after the cache was opened, every block checked, every page of the rows used and 200,000 cards looked up, less what was
resident before.
"""

from __future__ import annotations

import gc
import random
import sys
from pathlib import Path

from readers.basefile import PAGE
from readers.feedstore import open_cache
from tests.benchmarks.world import FEED

VISITS = 200_000


def _resident() -> int:
    gc.collect()
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell what is resident")


def main(path: Path) -> int:
    """The octets."""
    dice = random.Random(3)
    # What the first use of any library costs is not the cache's: a second cache of the same file pays it.
    open_cache(path, FEED).lookup(0, 0)
    before = _resident()
    cache = open_cache(path, FEED)
    cache.base.verify_all()
    rows = range(cache.cards)
    for index in rows[:: PAGE // 8]:
        cache.find(index, 0)
    for _ in range(VISITS):
        index = dice.choice(rows)
        found = cache.lookup(index, cache.base.row(index) >> 32)
        assert found is not None
    return _resident() - before


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
