"""While the horizon moves, a lost card is refused at once, nobody's change is lost, and a crash leaves what was."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest

from cardservice.app import PLATFORM
from cardservice.db import Database
from cardservice.errors import StaleBasisError
from cardservice.feed.horizon import advance_horizons
from cardservice.feed.moving import move_horizon
from cardservice.feed.recompile import recompile
from cardservice.feed.window import as_horizon, window_of
from cardservice.feed.writer import lock_tenant
from entitlements.profile import Profile
from entitlements.wire.feed import CardChange, HorizonChange, decode_change
from tests.support.feed import document, number_of, publish, pull, take_snapshot, truth
from tests.support.reader import FakeReader, add_site, enrolled_reader
from tests.support.registry import add_person, issue_card
from tests.support.service import Service

FEED = "wcc/leisure"
NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=9)
BEYOND = (window_of(NOW)[1] + timedelta(days=2)).date().isoformat()
"""A day that comes into sight when the horizon moves to :data:`LATER`."""
HELD: Final = 4712
"""An advisory lock of the test's own."""
PATIENCE_SECONDS: Final = 60.0


@dataclass
class Barrier:
    """Stops a move before one of its slices until it is let go."""

    at: int
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    seen: int = 0

    async def wait(self) -> None:
        """Between two slices."""
        self.seen += 1
        if self.seen == self.at:
            self.reached.set()
            await self.open.wait()


def _db(service: Service) -> Database:
    return service.app[PLATFORM].db


async def _state(service: Service, card: dict[str, Any], what: str) -> None:
    status, answer = await service.call("POST", f"/v1/cards/{card['card_id']}/{what}", {"reason": "stolen"})
    assert status == 200, answer


async def _fact(service: Service, person: str, **fact: Any) -> dict[str, Any]:
    status, answer = await service.call("POST", f"/v1/people/{person}/facts", fact)
    assert status == 201, answer
    return dict(answer)


async def _leavers(service: Service, count: int) -> list[dict[str, Any]]:
    """Cards of people whose residency ends on a day that is about to come into sight."""
    cards = [await issue_card(service) for _ in range(count)]
    for card in cards:
        card["fact"] = (await _fact(service, card["person_id"], kind="residency", name="wcc", until=BEYOND))["fact_id"]
    return cards


@asynccontextmanager
async def _moving(service: Service, barrier: Barrier) -> AsyncIterator[asyncio.Task[Any]]:
    """A move that stands at the barrier within the block."""
    move = asyncio.create_task(move_horizon(_db(service), "wcc", now=LATER, rest=barrier.wait, at_once=1))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await barrier.reached.wait()
        yield move
    finally:
        barrier.open.set()
        if not move.done():
            move.cancel()
        with suppress(asyncio.CancelledError, StaleBasisError):
            await move


async def _changes(reader: FakeReader, mirror: Any) -> list[Any]:
    path = f"/v1/feeds/{FEED}/changes?epoch={mirror.epoch}&after={mirror.number}"
    _, answer = await reader.call("GET", path)
    return [decode_change(json.dumps(change)) for change in answer["changes"]]


async def _left_to_compile(service: Service, now: datetime) -> int:
    """How many rows and records would be others if everybody were compiled from scratch, in a transaction undone."""
    async with _db(service).pool.acquire() as conn:
        trial = conn.transaction()
        await trial.start()
        await conn.execute("SELECT set_config('rescard.tenant', 'wcc', true)")
        number = await lock_tenant(conn, "wcc")
        done = await recompile(conn, "wcc", issue_number=number, now=now)
        await trial.rollback()
    return done.rows


async def test_a_stolen_card_is_refused_in_the_middle_of_the_nights_work(service: Service) -> None:
    await publish(service, document())
    cards = await _leavers(service, 4)
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    barrier = Barrier(at=3)
    async with _moving(service, barrier) as move:
        await _state(service, cards[3], "revoke")
        seen = await _changes(reader, mirror)
        # Two of the four were done, then the revocation came; the horizon is not told before all is done.
        assert [type(change) for change in seen] == [CardChange] * 3
        assert seen[-1].index == cards[3]["index"]
        assert seen[-1].state == "revoked"
        assert not move.done()
        snapshot = await take_snapshot(reader, FEED)
        assert snapshot.meta.horizon == mirror.meta.horizon, "a snapshot of now tells the horizon that is complete"
        barrier.open.set()
        (moved,) = await move
    seen = await _changes(reader, mirror)
    assert isinstance(seen[-1], HorizonChange)
    assert sum(isinstance(change, HorizonChange) for change in seen) == 1
    assert seen[-1].horizon.ends == as_horizon(*window_of(LATER)).end
    assert moved == ("leisure", seen[-1].n)
    await pull(reader, mirror)
    assert mirror.cards == await truth(service, FEED)
    assert await _left_to_compile(service, LATER) == 0


async def test_what_changes_meanwhile_is_complete_for_the_new_weeks_too(service: Service) -> None:
    await publish(service, document())
    cards = await _leavers(service, 4)
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    barrier = Barrier(at=3)
    async with _moving(service, barrier) as move:
        for card in cards:  # two who were looked at, and two who were not yet
            path = f"/v1/people/{card['person_id']}/facts"
            assert (await service.call("POST", f"{path}/{card['fact']}/end"))[0] == 200
            await _fact(service, card["person_id"], kind="residency", name="wcc", until=BEYOND)
        (newcomer,) = await _leavers(service, 1)
        barrier.open.set()
        await move
    await pull(reader, mirror)
    for card in [*cards, newcomer]:
        (_, segments), *_ = Profile.from_wire(json.loads(mirror.cards[card["index"]][2])).grants
        assert segments[-1].until is not None, "the last day has come into sight"
    assert mirror.cards == await truth(service, FEED)
    assert await _left_to_compile(service, LATER) == 0


async def test_a_document_published_meanwhile_is_no_reason_to_forget_anybody(service: Service) -> None:
    await publish(service, document())
    cards = await _leavers(service, 3)
    reader = await enrolled_reader(service)
    barrier = Barrier(at=2)
    async with _moving(service, barrier) as move:
        await publish(service, document("wcc.leisure.sauna", who={"age": {"gte": 30}}))
        await publish(service, document("wcc.library.lending", area="library"))
        barrier.open.set()
        moved = await move
    assert {area for area, _ in moved} == {"leisure", "library"}
    mirror = await take_snapshot(reader, FEED)
    assert len(json.loads(mirror.cards[cards[0]["index"]][2])[0]) == 2
    assert await _left_to_compile(service, LATER) == 0


async def test_a_move_that_dies_leaves_the_old_horizon_and_the_next_one_completes_it(service: Service) -> None:
    await publish(service, document())
    await _leavers(service, 4)
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    async with _moving(service, Barrier(at=3)) as move:
        move.cancel()
    again = await pull(reader, await take_snapshot(reader, FEED))
    assert (again.epoch, again.meta.horizon) == (mirror.epoch, mirror.meta.horizon)
    assert again.cards == await truth(service, FEED)
    platform = service.app[PLATFORM]
    day_after = LATER + timedelta(days=1)
    (moved,) = await advance_horizons(platform.db, platform.hub, now=day_after)
    assert moved[0] == "wcc"
    await pull(reader, mirror)
    assert mirror.cards == await truth(service, FEED)
    assert await _left_to_compile(service, day_after) == 0


async def test_a_council_of_many_is_moved_in_a_process_of_its_own_which_may_be_killed(service: Service) -> None:
    platform = service.app[PLATFORM]
    settings = service.settings.model_copy(update={"background_cards": 2})
    await publish(service, document())
    await _leavers(service, 4)
    reader = await enrolled_reader(service)
    mirror = await take_snapshot(reader, FEED)
    told = await number_of(service, FEED)
    conn = await asyncpg.connect(service.settings.database_url)
    try:
        await conn.execute(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN PERFORM pg_advisory_xact_lock({HELD}); RETURN NULL; END $$; "
            "CREATE TRIGGER held BEFORE INSERT ON card_row FOR EACH STATEMENT EXECUTE FUNCTION hold(); "
            f"SELECT pg_advisory_lock({HELD})"
        )
        move = asyncio.create_task(advance_horizons(platform.db, platform.hub, now=LATER, settings=settings))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await conn.fetchval(
                f"SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = {HELD}"
            ):
                assert not move.done(), move.result()
                await conn.execute("SELECT pg_sleep(0.01)")
        move.cancel()  # which kills the process
        with suppress(asyncio.CancelledError):
            await move
        await conn.execute(f"SELECT pg_advisory_unlock({HELD})")
        assert await number_of(service, FEED) == told
        (moved,) = await advance_horizons(platform.db, platform.hub, now=LATER, settings=settings)
    finally:
        await conn.close()
    assert moved == ("wcc", [("leisure", told + 5)])
    await pull(reader, mirror)
    assert mirror.cards == await truth(service, FEED)
    assert await _left_to_compile(service, LATER) == 0


async def test_a_list_that_a_document_names_is_looked_through_for_everybody_at_the_next_move(service: Service) -> None:
    now = datetime.now(UTC)  # the day of the service too, whatever day it was when the run began
    await add_site(service)
    await add_site(service, site="seymour", name="Seymour")
    path = "/v1/lists/site_set/pools"
    assert (await service.call("PUT", path, {"members": ["porchester"]}, roles="manager"))[0] == 200
    made = document(where={"sites": ["@pools"]}, requires=[{"prerequisite": "induction", "scope": "site"}])
    await publish(service, made)
    card = await issue_card(service)
    await _fact(service, card["person_id"], kind="residency", name="wcc")
    await _fact(
        service, card["person_id"], kind="prerequisite", name="induction", detail={"sites": ["porchester", "seymour"]}
    )
    for _ in range(3):  # people for whom no day makes a difference
        await issue_card(service)
    assert (await service.call("PUT", path, {"members": ["porchester", "seymour"]}, roles="manager"))[0] == 200
    assert await _left_to_compile(service, now) == 1
    seen: list[int] = []

    async def count() -> None:
        seen.append(1)

    tomorrow = now + timedelta(days=1)
    await move_horizon(_db(service), "wcc", now=tomorrow, rest=count, at_once=1)
    assert len(seen) == 4
    assert await _left_to_compile(service, tomorrow) == 0
    await move_horizon(_db(service), "wcc", now=tomorrow + timedelta(days=1), rest=count, at_once=1)
    assert len(seen) == 4, "and nobody afterwards"


KINDS: Final = {
    "residency": "wcc",
    "evidence": "carer",
    "member_of": "club",
    "permit": "bay",
    "role": "parent",
    "block": "wcc.leisure.gym",
    "prerequisite": "induction",
}


def _documents() -> list[dict[str, Any]]:
    quota = {"quota": {"id": "visits", "period": "grant", "max": 5, "scope": "permit"}}
    return [
        document(who={"all": [{"resident_of": ["wcc"]}, {"age": {"gte": 16}}]}),
        document(
            "wcc.leisure.swim",
            who={"any": [{"member_of": "club"}, {"evidence": "carer"}, {"age": {"gte": 60}}]},
            price=[
                {"band": "low", "pence": 1, "when": {"age": {"lt": 18}}},
                {"band": "full", "pence": 5, "when": True},
            ],
            delegation={"accompanied_by": {"children_under": 12, "max": 2}},
        ),
        document("wcc.leisure.bay", who={"permit": "bay"}, limits=[quota], offline={"lease": {"visits": 1}}),
        document(
            "wcc.library.room",
            area="library",
            who={"not": {"role": "parent"}},
            requires=[{"prerequisite": "induction", "scope": "once"}],
            delegation={"acts_for": {"scopes": ["collect"]}},
        ),
    ]


async def _population(service: Service, dice: random.Random, count: int) -> None:
    """People with birthdays and statements round both ends of the window."""

    def day() -> str:
        offset = dice.choice([dice.randint(-3, 5), dice.randint(33, 44), dice.randint(-300, 300)])
        return (NOW.date() + timedelta(days=offset)).isoformat()

    people: list[str] = []
    for _ in range(count):
        near = date.fromisoformat(day())
        age = dice.choice([12, 16, 18, 60, 35])
        born = near.replace(year=near.year - age, day=min(near.day, 28)).isoformat()
        if born > NOW.date().isoformat():
            born = "1990-01-01"
        person = await add_person(service, date_of_birth=born)
        for kind, name in dice.sample(sorted(KINDS.items()), dice.randint(0, 4)):
            first, last = sorted((day(), day()))
            more = {"from": first} if dice.random() < 0.6 else {}
            more |= {"until": last} if dice.random() < 0.6 else {}
            if kind == "prerequisite":
                more["detail"] = {"sites": ["porchester"]}  # type: ignore[assignment]
            await _fact(service, person, kind=kind, name=name, **more)
        if people and dice.random() < 0.5:
            detail = {"person": dice.choice(people), "scopes": ["collect"]}
            await _fact(service, person, kind="delegate", detail=detail, until=day())
        people.append(person)
        status, _ = await service.call("POST", "/v1/cards", {"person_id": person})
        assert status == 201


@pytest.mark.parametrize("seed", [1, 2])
async def test_moving_day_by_day_ends_where_compiling_everybody_would(service: Service, seed: int) -> None:
    dice = random.Random(seed)
    await add_site(service)
    await _population(service, dice, 40)
    for made in _documents():
        await publish(service, made)
    today, looked_at = NOW, 0

    async def count() -> None:
        nonlocal looked_at
        looked_at += 1

    for days in (1, 1, 2, 1, 7, 1):
        today += timedelta(days=days)
        await move_horizon(_db(service), "wcc", now=today, rest=count, at_once=1)
        assert await _left_to_compile(service, today) == 0
    assert looked_at < 6 * 40
    reader = await enrolled_reader(service)
    assert (await take_snapshot(reader, FEED)).cards == await truth(service, FEED)
