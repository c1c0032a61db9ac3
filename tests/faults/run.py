"""One run: a small system, the steps of a seed, and then peace, in which everything must add up."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

from cardservice.embedded.process import free_port
from tests.faults import plan as steps
from tests.faults.clerk import Clerk
from tests.faults.contents import differences, fresh_snapshots
from tests.faults.desk import Desk
from tests.faults.party import PATIENCE, GoneError, Parties, Party
from tests.faults.plan import DESKS, LANES, READERS, SERVICE_BEHIND, SERVICES, Step
from tests.faults.planning import plan
from tests.faults.proxy import Link
from tests.faults.sabotage import FAULTS
from tests.faults.truth import Truth
from tests.faults.world import FEEDS, SERVICES_OF, SITES, World, edition, site

REST_SECONDS: Final = 0.02
"""Between two looks whether everything has come to rest."""
KILL_SECONDS: Final = 0.1
"""A server is killed after so long even if nothing passes."""
BASE_SECONDS: Final = 0.5
"""A reader is killed after so long even if it writes no base: it may have no data to write one of."""
SAID: Final = {
    "bases swapped": "swapped",
    "snapshots taken": "snapshot",
    "gates released": "released",
    "batches of changes by stream": "streamed",
    "batches of taps sent": "sending",
    "feeds taken anew after an epoch": "feed_epoch",
    "feeds taken anew after changes were let go": "feed_pruned",
}
"""What is counted of what readers say."""
OFTEN: Final = (
    "taps allowed",
    "refused for the card's state",
    "gates released",
    "items that a power cut might take",
    "items uploaded again",
    "bases swapped",
    "snapshots taken",
    "batches of changes by stream",
    "requests of the desk sent again",
)
"""What must have happened within ten runs, or they show little."""
SELDOM: Final = (
    "readers killed while they wrote a base",
    "readers killed at a release",
    "batches of changes by stream without Valkey",
    "feeds taken anew after an epoch",
    "feeds taken anew after changes were let go",
)
"""What must have happened within two hundred."""


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
        self._down: set[str] = set()
        self._pids: dict[str, int] = {}

    async def go(self) -> Counter[str]:
        """Do it all. The folder of a run that went well is removed."""
        began = time.monotonic()
        shutil.rmtree(self.where, ignore_errors=True)
        self.where.mkdir()
        name = f"faults_{self.seed}"
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.world.database(name))
            self._settings = {part: self.world.settings(name, free_port()) for part in SERVICES}
            self._url = self.world.postgres.url(name)
            self.links = {
                link: await stack.enter_async_context(
                    Link(self._settings[part].port, random.Random(f"rescard network {self.seed} {link}"))
                )
                for link, part in SERVICE_BEHIND.items()
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
            ways = [f"http://127.0.0.1:{self.links[desk].port}" for desk in DESKS]
            self.desk, self.clerk = Desk(ways, council.token, council.cards), Clerk(self._url)
            stack.push_async_callback(self._end)
            await asyncio.gather(*map(self._start, SERVICES))
            await asyncio.gather(*map(self._start, READERS))
            at: Step | None = None
            try:
                for at in self.plan:
                    await self._do(at)
                at = None
                problems = await self._peace()
            except GoneError as error:
                problems = [str(error)]
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
        if isinstance(step, steps.Taps):
            await self._tap(step)
        elif isinstance(step, steps.Ready):
            party = self.parties[step.reader]
            await party.until(lambda: party.told.keys() >= set(FEEDS))
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
            self.links[step.link].heal(late=step.late)
        elif isinstance(step, steps.Compact):
            self.parties[step.reader].compact()
        elif isinstance(step, steps.Overhaul):
            self.happened[f"overhaul: {step.what}"] += 1
            self.clerk.begin(step)
        else:
            self._wish(step)
        await asyncio.sleep(0)

    def _wish(self, step: Step) -> None:
        desk = self.desk
        if isinstance(step, steps.Issue):
            desk.issue(step.card, self.world.council.people[step.person])
        elif isinstance(step, steps.Change):
            desk.change(step.card, step.event)
        elif isinstance(step, steps.Succeed):
            desk.succeed(step.card, step.event, step.successor)
        elif isinstance(step, steps.Publish):
            service = SERVICES_OF[step.area]
            desk.wish(service, "PUT", f"/v1/services/{service}", {"document": edition(step.area, step.edition)})
        elif isinstance(step, steps.Rename):
            name = SITES[step.reader]
            desk.wish(name, "PUT", f"/v1/sites/{name}", site(step.reader, step.edition))
        elif isinstance(step, steps.Rotate):
            desk.wish("keys", "POST", "/v1/keys/rotate", {"force": True, "reason": "x"})

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
        before, begun, lane = party.count(step.when), party.bases_begun, LANES[0]
        if step.when == "base":
            party.compact()
        if step.card in self.desk.cards:
            party.hold_up(lane, self.desk.cards[step.card]["token"])
            if step.when == "released":
                await party.said(step.when, before, instead=f"done {lane}")  # it may be refused
            elif step.when not in ("sent", "base"):
                await party.said(step.when, before)
        if step.when == "base":
            with suppress(TimeoutError):
                await asyncio.wait_for(party.said(step.when, before), BASE_SECONDS)
        self.happened[f"reader: {step.how}"] += 1
        self._down.add(step.reader)
        await party.end(self.world.nursery, step.how, random.Random(step.harm))
        self.happened["readers killed while they wrote a base"] += party.bases_begun > begun
        self.happened["readers killed at a release"] += step.when == "released" and party.count("released") > before

    async def _kill(self, step: steps.Kill) -> None:
        links = [link for name, link in self.links.items() if step.part in ("postgres", "valkey", SERVICE_BEHIND[name])]
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
        if step.part in SERVICES:
            await self.world.nursery.kill(self._pids.pop(step.part))
        elif step.part == "postgres":
            self.world.postgres.kill()
        else:
            self.world.valkey.kill()
            self._valkey(away=True)

    def _valkey(self, *, away: bool) -> None:
        for party in self.parties.values():
            party.without_valkey = away

    def _broken(self, what: str) -> str | None:
        return self.broken if self.broken is not None and FAULTS[self.broken].at == what else None

    async def _start(self, part: str) -> None:
        self._down.discard(part)
        if part in SERVICES:
            self._pids[part] = await self.world.start_service(
                self._settings[part], self.where / f"{part}.log", broken=self._broken("service")
            )
        elif part == "postgres":
            await asyncio.to_thread(self.world.postgres.start)
        elif part == "valkey":
            await asyncio.to_thread(self.world.valkey.start)
            self._valkey(away=False)
        else:
            await self.parties[part].start(
                self.world.nursery,
                service=f"http://127.0.0.1:{self.links[part].port}",
                port=self._hears.port,
                lanes=LANES,
                broken=self._broken("reader"),
            )

    # -- peace --

    async def _peace(self) -> list[str]:
        """Everything up and the network well: wait until nothing is under way, then see whether it adds up."""
        for link in self.links.values():
            link.heal(late=True)
        for part in ("postgres", "valkey", *SERVICES, *READERS):
            if part in self._down:
                await self._start(part)
        async with asyncio.timeout(PATIENCE):
            await self.desk.done()
            await self.clerk.done()
            while True:
                # The database after the readers: what they have handed over by then is in it.
                seen = {name: await party.state({}) for name, party in self.parties.items()}
                truth = await Truth.read(self._url)
                if all(not state["waiting"] and state["places"] == truth.places for state in seen.values()):
                    break
                await asyncio.sleep(REST_SECONDS)
        for party in self.parties.values():
            party.count_releases()
        return [
            *self.desk.problems,
            *self.clerk.problems,
            *truth.problems(list(self.parties.values()), self.desk, self.plan),
            *await self._caches(truth),
        ]

    async def _caches(self, truth: Truth) -> list[str]:
        problems = []
        snapshots = await fresh_snapshots(self._url, FEEDS)
        units = {feed: sum(f"wcc/{entry['area']}" == feed for entry in truth.entries) for feed in FEEDS}
        for name, party in self.parties.items():
            state = await party.state({feed: [list(row) for row in rows] for feed, rows in truth.rows.items()})
            problems += [f"reader {name}: {differs}" for differs in state["differs"]]
            for feed, contents in state["contents"].items():
                problems += [f"reader {name}, {feed}: {told}" for told in differences(contents, snapshots[feed])]
                if len(contents["units"]) != units[feed]:
                    problems.append(f"reader {name} counts {len(contents['units'])} units in {feed}, not {units[feed]}")
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
        await self.clerk.close()
        for pid in [*(party.pid for party in self.parties.values()), *self._pids.values()]:
            if pid is not None:
                await self.world.nursery.kill(pid)
        for part in ("postgres", "valkey"):
            if part in self._down:
                await self._start(part)

    def _count(self, seconds: float) -> None:
        taps = [seen.tap for party in self.parties.values() for seen in party.seen.values()]
        kept = [kept for party in self.parties.values() for kept in party.kept.values()]
        self.happened["runs"] += 1
        self.happened["taps decided"] += len(taps)
        self.happened.update(f"taps: {tap['outcome']} ({tap['reason']})" for tap in taps)
        self.happened["taps allowed"] += sum(tap["outcome"] == "allow" for tap in taps)
        self.happened["refused for the card's state"] += sum(tap["reason"].startswith("card_") for tap in taps)
        self.happened["items that a power cut might take"] += sum(each.excused for each in kept)
        self.happened["octets through the bad network"] += sum(link.passed for link in self.links.values())
        self.happened["requests of the desk sent again"] += self.desk.repeats
        for party in self.parties.values():
            self.happened += party.happened
            for what, said in SAID.items():
                self.happened[what] += party.count(said)
        self.happened["milliseconds"] += round(seconds * 1000)
