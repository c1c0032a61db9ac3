"""One run: a small system, the steps of a seed, and then peace, in which everything must add up."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from cardservice.embedded.process import free_port
from tests.faults import plan as steps
from tests.faults.desk import Desk
from tests.faults.party import PATIENCE, Parties, Party
from tests.faults.plan import LANES, READERS, Step, plan
from tests.faults.proxy import Link
from tests.faults.truth import Truth
from tests.faults.world import FEEDS, World

REST_SECONDS: Final = 0.02
"""Between two looks whether everything has come to rest."""
KILL_SECONDS: Final = 0.1
"""A server is killed after so long even if nothing passes."""


class FaultError(AssertionError):
    """Something was lost, doubled, forgotten or let in; says how to see it again."""

    def __init__(self, seed: int, made: Sequence[Step], problems: Sequence[str], where: Path) -> None:
        schedule = "\n".join(f"  {number:3} {step}" for number, step in enumerate(made))
        wrong = "\n".join(f"  - {problem}" for problem in problems[:20])
        super().__init__(
            f"seed {seed}: {len(problems)} problems\n{wrong}\nThe schedule:\n{schedule}\n"
            f"Logs and files: {where}\nAgain: python -m tests.faults --seed {seed}"
        )
        self.problems = list(problems)


class Run:
    """One seed in a world. :meth:`go` raises FaultError, or gives what happened, counted."""

    def __init__(self, world: World, seed: int, *, broken: str | None = None) -> None:
        self.world, self.seed, self.broken = world, seed, broken
        self.plan = plan(seed)
        self.happened: Counter[str] = Counter()
        self.where = world.folder / f"seed-{seed}"
        self._chance = random.Random(f"rescard network {seed}")
        self._down: set[str] = set()
        self._service_pid = 0

    async def go(self) -> Counter[str]:
        """Do it all. The folder of a run that went well is removed."""
        began = time.monotonic()
        shutil.rmtree(self.where, ignore_errors=True)
        self.where.mkdir()
        name = f"faults_{self.seed}"
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.world.database(name))
            self._settings = self.world.settings(name, free_port())
            self._url = self.world.postgres.url(name)
            self.links = {
                link: await stack.enter_async_context(Link(self._settings.port, self._chance))
                for link in (*READERS, "desk")
            }
            self.parties = {
                reader: Party(
                    name=reader,
                    folder=self.world.reader_folder(reader, self.where),
                    books=self.where / f"books-{reader}",
                    log=self.where / f"reader-{reader}.log",
                )
                for reader in READERS
            }
            self._hears = Parties(self.parties)
            await self._hears.open()
            stack.push_async_callback(self._hears.close)
            council = self.world.council
            self.desk = Desk(f"http://127.0.0.1:{self.links['desk'].port}", council.token, council.cards)
            stack.push_async_callback(self.desk.close)
            stack.push_async_callback(self._end)
            await self._start("service")
            for reader in READERS:
                await self._start(reader)
            at: Step | None = None
            try:
                for at in self.plan:
                    await self._do(at)
                at = None
                problems = await self._peace()
            except TimeoutError:
                problems = [f"something never came at {at or 'the end'}: {await self._standing()}"]
        if problems:
            raise FaultError(self.seed, self.plan, problems, self.where)
        shutil.rmtree(self.where)
        self._count(time.monotonic() - began)
        return self.happened

    # -- the steps --

    async def _do(self, step: Step) -> None:
        self.happened[type(step).__name__.lower()] += 1
        if isinstance(step, steps.Issue):
            self.desk.issue(step.card, self.world.council.people[step.person])
        elif isinstance(step, steps.Change):
            self.desk.change(step.card, step.event)
        elif isinstance(step, steps.Taps):
            await self._tap(step)
        elif isinstance(step, steps.Told):
            await self._told(step.reader)
        elif isinstance(step, steps.KillReader):
            await self._kill_reader(step)
        elif isinstance(step, steps.Kill):
            await self._kill(step)
        elif isinstance(step, steps.Start):
            await self._start(step.part)
        elif isinstance(step, steps.Disturb):
            self.happened[f"network: {step.harm}"] += 1
            self.links[step.link].disturb(step.harm, octets=step.octets, upwards=step.upwards)
        elif isinstance(step, steps.Heal):
            self.links[step.link].heal()
        await asyncio.sleep(0)

    async def _tap(self, step: steps.Taps) -> None:
        party = self.parties[step.reader]
        # A card whose issue was not answered yet is in nobody's hand.
        held = [
            (lane, self.desk.cards[card])
            for lane, card in zip(LANES, step.cards, strict=False)
            if card in self.desk.cards
        ]
        await asyncio.gather(*(party.present(lane, card["token"]) for lane, card in held))

    async def _told(self, reader: str) -> None:
        party = self.parties[reader]
        async with asyncio.timeout(PATIENCE):
            await self.desk.done()
        await party.until(lambda: all(party.told.get(feed, 0) >= n for feed, n in self.desk.answered.items()))

    async def _kill_reader(self, step: steps.KillReader) -> None:
        party = self.parties[step.reader]
        if step.card in self.desk.cards:
            before = party.count(step.when)
            party.hold_up(LANES[0], self.desk.cards[step.card]["token"])
            if step.when != "sent":
                await party.said(step.when, before)
        self.happened[f"reader: {step.how}"] += 1
        self._down.add(step.reader)
        await party.end(self.world.nursery, step.how, random.Random(step.harm))

    async def _kill(self, step: steps.Kill) -> None:
        links = list(self.links.values())
        upto = sum(link.passed for link in links) + step.octets
        try:
            async with asyncio.timeout(KILL_SECONDS):
                while sum(link.passed for link in links) < upto:
                    moved = [asyncio.create_task(link.next_octets()) for link in links]
                    try:
                        await asyncio.wait(moved, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for task in moved:
                            task.cancel()
        except TimeoutError:
            pass
        self._down.add(step.part)
        self.happened[f"killed: {step.part}"] += 1
        if step.part == "service":
            await self.world.nursery.kill(self._service_pid)
        elif step.part == "postgres":
            self.world.postgres.kill()
        else:
            self.world.valkey.kill()

    async def _start(self, part: str) -> None:
        self._down.discard(part)
        if part == "service":
            self._service_pid = await self.world.start_service(self._settings, self.where / "service.log")
        elif part == "postgres":
            await asyncio.to_thread(self.world.postgres.start)
        elif part == "valkey":
            await asyncio.to_thread(self.world.valkey.start)
        else:
            await self.parties[part].start(
                self.world.nursery,
                service=f"http://127.0.0.1:{self.links[part].port}",
                port=self._hears.port,
                lanes=LANES,
                broken=self.broken,
            )

    # -- peace --

    async def _peace(self) -> list[str]:
        """Everything up and the network well: wait until nothing is under way, then see whether it adds up."""
        for link in self.links.values():
            link.heal()
        for part in ("postgres", "valkey", "service", *READERS):
            if part in self._down:
                await self._start(part)
        async with asyncio.timeout(PATIENCE):
            await self.desk.done()
            while True:
                # The database after the readers: what they have handed over by then is in it.
                states = {name: await party.state({}) for name, party in self.parties.items()}
                truth = await Truth.read(self._url)
                if all(not state["waiting"] and state["numbers"] == truth.heads for state in states.values()):
                    break
                await asyncio.sleep(REST_SECONDS)
        return [*self.desk.problems, *truth.problems(list(self.parties.values())), *await self._caches(truth)]

    async def _caches(self, truth: Truth) -> list[str]:
        problems = []
        units = {feed: sum(f"wcc/{entry['area']}" == feed for entry in truth.entries) for feed in FEEDS}
        for name, party in self.parties.items():
            state = await party.state({feed: [list(row) for row in rows] for feed, rows in truth.rows.items()})
            problems += [f"reader {name}: {differs}" for differs in state["differs"]]
            if state["units"] != units:
                problems.append(f"reader {name} counts the units {state['units']}, the ledger {units}")
            if state["lost"] or state["parked"]:
                problems.append(f"reader {name} has lost {state['lost']} and parked {state['parked']} taps")
            if state["aside"] and not party.rotten:
                problems.append(f"reader {name} found its own files damaged: {state['aside']}")
        return problems

    async def _standing(self) -> dict[str, Any]:
        """Where everything stands, for who looks at a run that never came to rest."""
        told: dict[str, Any] = {"down": sorted(self._down), "answered": self.desk.answered, "desk": self.desk.problems}
        for name, party in self.parties.items():
            told[name] = {"told": party.told, "up": party.up, "problems": party.problems}
            if party.up:
                try:
                    told[name]["state"] = await asyncio.wait_for(party.state({}), 1)
                except TimeoutError:
                    told[name]["state"] = "no answer"
        return told

    async def _end(self) -> None:
        """Leave nothing behind, and the shared servers up."""
        await self.desk.close()
        for party in self.parties.values():
            if party.pid is not None:
                await self.world.nursery.kill(party.pid)
        if "service" not in self._down and self._service_pid:
            await self.world.nursery.kill(self._service_pid)
        for part in ("postgres", "valkey"):
            if part in self._down:
                await self._start(part)

    def _count(self, seconds: float) -> None:
        taps = [seen.tap for party in self.parties.values() for seen in party.seen.values()]
        kept = [kept for party in self.parties.values() for kept in party.kept.values()]
        self.happened["runs"] += 1
        self.happened["taps decided"] += len(taps)
        self.happened["taps allowed"] += sum(tap["outcome"] == "allow" for tap in taps)
        self.happened["refused for the card's state"] += sum(tap["reason"].startswith("card_") for tap in taps)
        self.happened["items that a power cut might take"] += sum(each.excused for each in kept)
        self.happened["octets through the bad network"] += sum(link.passed for link in self.links.values())
        self.happened["requests of the desk sent again"] += self.desk.repeats
        self.happened["milliseconds"] += round(seconds * 1000)
