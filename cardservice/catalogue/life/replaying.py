"""Replays in a process of their own: minutes of arithmetic would hold up every request of the service.

``python -m cardservice.catalogue.life.replaying`` reads an order from its standard input, reads the taps from the
database itself, and writes the result to its standard output.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from cardservice.background.aside import obey, run_aside
from cardservice.catalogue.documents import read_document
from cardservice.catalogue.life.hindsight import ASSUMPTIONS
from cardservice.catalogue.life.history import History, Wanted, load_history
from cardservice.catalogue.life.vocabulary import load_vocabulary
from cardservice.catalogue.loading import load_catalogue
from cardservice.db import Database
from entitlements.compile import CompiledService, compile_service
from entitlements.model import Decision, Instant, Outcome
from entitlements.sentences import describe
from entitlements.service import ServiceDocument
from entitlements.simulate import Change, Simulation, Treatment, simulate, typical_residents, what_if

REPLAY_SECONDS: Final = 300.0
"""Five times the minute that a month of a borough may take."""
RESIDENTS_TOLD: Final = 20
"""Example residents who would be treated differently that are told; of more the number."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to replay. Times in seconds since the epoch; documents as JSON, whole."""

    database_url: str
    tenant: str
    old: dict[str, Any] | None
    new: dict[str, Any]
    since: float
    until: float
    examples: int


class Replays:
    """Replays of this process, one at a time: each takes a core for itself. Made by ``cardservice.app``."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, order: Order) -> dict[str, Any]:
        """The result of a replay.

        Raises:
            AsideError: it ended without one.
        """
        async with self._turn:
            return await run_aside(__name__, order, seconds=REPLAY_SECONDS)


async def replay(order: Order) -> dict[str, Any]:
    """Load and replay, here."""
    since, until = (datetime.fromtimestamp(moment, UTC) for moment in (order.since, order.until))
    database = Database(order.database_url, pool_size=1)
    await database.open()
    try:
        async with database.transaction(order.tenant, read_only=True) as conn:
            catalogue = await load_catalogue(conn, order.tenant)
            titles = (await load_vocabulary(conn, order.tenant, until)).titles
            documents = [None if value is None else read_document(value) for value in (order.old, order.new)]
            old, new = (None if one is None else compile_service(one, catalogue.world) for one in documents)
            if new is None:
                raise ValueError("an order has a draft")
            wanted = Wanted(tenant=order.tenant, old=old, new=new, since=since, until=until)
            history = await load_history(conn, catalogue, wanted)
    finally:
        await database.close()
    found = simulate(old, new, history.taps, start=history.start, examples=order.examples)
    residents = typical_residents(
        [one for one in documents if isinstance(one, ServiceDocument)], catalogue.today(until), titles=titles
    )
    outlooks = what_if(old, new, catalogue.world, residents, Instant(int(order.until)))
    different = [str(one) for one in outlooks if not one.same]
    return {
        **_counts(found, history, new),
        "residents": {
            "looked_at": len(outlooks),
            "different": len(different),
            "told": different[:RESIDENTS_TOLD],
        },
        "assumptions": list(ASSUMPTIONS),
    }


def _counts(found: Simulation, history: History, service: CompiledService) -> dict[str, Any]:
    people: dict[str, str] = {}
    return {
        "service": found.service,
        "new_service": found.new_service,
        "sentences": found.sentences(),
        "taps": found.taps,
        "exits": found.exits,
        "left_out": history.left_out,
        "now_allowed": found.now_allowed,
        "now_refused": found.now_refused,
        "people_gaining": found.people_gaining,
        "people_losing": found.people_losing,
        "prices": msgspec.to_builtins(found.prices),
        "compared": found.compared,
        "agreed": found.agreed,
        "changes": [_change(change, people, service) for change in found.changes],
    }


def _change(change: Change, people: dict[str, str], service: CompiledService) -> dict[str, Any]:
    return {
        "before": _treatment(change.before),
        "after": _treatment(change.after),
        "same": change.same,
        "taps": change.taps,
        "people": change.people,
        "examples": [
            {
                # Nobody's name or id: a manager asks what happens to people, not to whom.
                "resident": people.setdefault(one.person, f"Resident {len(people) + 1}"),
                "at": service.time.datetime(one.at).isoformat(timespec="minutes"),
                "site": one.site,
            }
            for one in change.examples
        ],
    }


def _treatment(treatment: Treatment) -> dict[str, str] | None:
    if not treatment.outcome:
        return None
    decision = Decision(outcome=Outcome(treatment.outcome), reason=treatment.reason)
    told = describe(decision, at=Instant(0), timezone="UTC").staff
    return {"outcome": treatment.outcome, "reason": treatment.reason, "told": told}


if __name__ == "__main__":
    obey(Order, replay)
