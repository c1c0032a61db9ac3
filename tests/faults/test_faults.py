"""Whatever is killed, cut or torn: no tap lost or doubled, every cache as the database, nobody in who was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults import party, run
from tests.faults.plan import READERS, Kill, KillReader
from tests.faults.planning import plan
from tests.faults.run import FaultError, Run
from tests.faults.sabotage import FAULTS
from tests.faults.world import World

SEEDS = 200
AT_ONCE = 10
"""Seeds of one test: some fifteen seconds, so that workers share them evenly."""
SHORT_PATIENCE = 6.0
"""Seconds after which a run with a fault of ours counts as stuck."""
ENOUGH = 12
"""Seeds within which a fault must be found; most are found by the second."""

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(
        not Path("/proc/self/fd").exists(), reason="the runs follow files and processes through Linux's /proc"
    ),
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with World(tmp_path_factory.mktemp("faults")) as made:
        yield made


@pytest.mark.parametrize("first", range(1, SEEDS + 1, AT_ONCE))
async def test_nothing_is_lost_doubled_forgotten_or_let_in(world: World, first: int) -> None:
    happened: Counter[str] = Counter()
    for seed in range(first, first + AT_ONCE):
        happened += await Run(world, seed).go()
    assert happened["runs"] == AT_ONCE
    assert happened["taps decided"] >= happened["taps"] > AT_ONCE
    assert happened["kill"] + happened["killreader"] > AT_ONCE


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_each_fault_that_is_put_in_on_purpose_is_found(
    world: World, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (party, run):
        monkeypatch.setattr(module, "PATIENCE", SHORT_PATIENCE)
    with pytest.raises(FaultError, match=r"python -m tests\.faults --seed \d+") as found:  # noqa: PT012
        for seed in range(1, ENOUGH + 1):
            await Run(world, seed, broken=fault).go()
    assert found.value.problems


async def test_a_seed_gives_the_same_steps_always_and_the_seeds_kill_everything() -> None:
    assert plan(7) == plan(7) != plan(8)
    steps = [step for seed in range(1, SEEDS + 1) for step in plan(seed)]
    assert {step.part for step in steps if isinstance(step, Kill)} == {"service", "postgres", "valkey"}
    ends = {(step.reader, step.how) for step in steps if isinstance(step, KillReader)}
    assert ends == {(reader, how) for reader in READERS for how in ("kill", "power", "rot")}
