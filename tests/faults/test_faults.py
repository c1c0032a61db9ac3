"""Whatever is killed, cut or torn: no tap lost or doubled, every cache as the database, nobody in who was refused."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import pytest_asyncio

from tests.faults import party, run
from tests.faults.plan import (
    AREAS,
    DESKS,
    READERS,
    SERVICES,
    Change,
    Disturb,
    End,
    Event,
    Harm,
    Heal,
    Kill,
    KillReader,
    Moment,
    Overhaul,
    Publish,
    Rename,
    Rotate,
    Succeed,
)
from tests.faults.planning import plan
from tests.faults.run import OFTEN, FaultError, Run
from tests.faults.sabotage import FAULTS
from tests.faults.world import World

SEEDS = 200
TESTED = int(os.environ.get("FAULT_SEEDS", "60"))
"""Runs in the test suite, so that all of it takes a quarter of an hour at most; ``make faults`` does all 200."""
AT_ONCE = 10
"""Seeds of one test: some twenty seconds, so that workers share them evenly."""
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


@pytest.mark.parametrize("first", range(1, TESTED + 1, AT_ONCE))
async def test_nothing_is_lost_doubled_forgotten_or_let_in(world: World, first: int) -> None:
    happened: Counter[str] = Counter()
    for seed in range(first, first + AT_ONCE):
        happened += await Run(world, seed).go()
    assert happened["runs"] == AT_ONCE
    assert happened["taps decided"] >= happened["taps"] > AT_ONCE
    assert happened["kill"] + happened["killreader"] > AT_ONCE
    assert [what for what in OFTEN if not happened[what]] == [], "what did not happen was not tried"


async def problems_of(made: Run) -> list[str]:
    """What a run finds, which says how to see it again."""
    try:
        await made.go()
    except FaultError as error:
        if f"python -m tests.faults --seed {made.seed}\n" in f"{error}\n":
            return error.problems
        raise
    return []


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_each_fault_that_is_put_in_on_purpose_is_found_by_the_sentence_meant_for_it(
    world: World, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (party, run):
        monkeypatch.setattr(module, "PATIENCE", SHORT_PATIENCE)
    told: list[str] = []
    for seed in range(1, ENOUGH + 1):
        told += await problems_of(Run(world, seed, broken=fault))
        if any(re.search(FAULTS[fault].found_by, problem) for problem in told):
            return
    raise AssertionError(f"not found within {ENOUGH} seeds; what was told: {told}")


async def test_a_seed_gives_the_same_steps_always_and_the_seeds_do_everything() -> None:
    assert plan(7) == plan(7) != plan(8)
    steps = [step for seed in range(1, SEEDS + 1) for step in plan(seed)]
    assert {step.part for step in steps if isinstance(step, Kill)} == {*SERVICES, "postgres", "valkey"}
    kills = [step for step in steps if isinstance(step, KillReader)]
    assert {(step.reader, step.how) for step in kills} == set(product(READERS, get_args(End)))
    assert {(step.how, step.when) for step in kills} == set(product(get_args(End), get_args(Moment)))
    harms = {(step.link, step.harm) for step in steps if isinstance(step, Disturb)}
    assert harms == {*product(READERS, get_args(Harm)), *product(DESKS, ("cut", "cut_at"))}
    overhauls = {(step.what, step.area) for step in steps if isinstance(step, Overhaul)}
    assert overhauls == set(product(("epoch", "prune", "horizon"), AREAS))
    assert {step.event for step in steps if isinstance(step, Change | Succeed)} == {
        *get_args(Event),
        "renew",
        "replace",
    }
    assert {step.late for step in steps if isinstance(step, Heal)} == {True, False}
    assert {step.area for step in steps if isinstance(step, Publish)} == set(AREAS)
    assert {step.reader for step in steps if isinstance(step, Rename)} == set(READERS)
    assert any(isinstance(step, Rotate) for step in steps)
