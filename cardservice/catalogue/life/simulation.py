"""A draft tried on the taps of the last days; the result is kept with the draft."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cardservice.api.call import Call, Errand
from cardservice.api.server import audit
from cardservice.catalogue.life.drafts import Row, find, read
from cardservice.catalogue.life.models import ReplayWish, SimulationReply
from cardservice.catalogue.life.replaying import Order
from cardservice.db import queries
from cardservice.errors import ApiProblem
from entitlements.compile import compile_service
from entitlements.errors import DocumentError


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A replay that is not yet kept."""

    draft_version: int
    since: datetime
    until: datetime
    result: dict[str, Any]
    """As in ``SimulationReply``."""
    seconds: float


async def replay(call: Call, draft_id: UUID, wish: ReplayWish) -> Replayed:
    """Replay the stored taps of the last days under the draft and under the version in force.

    Takes up to a minute: a row lock or a connection held for so long would be in everybody's way, so this comes before
    the transaction of the call.

    Raises:
        ApiProblem: 404; 422 where the text is no document, or names what does not exist.
    """
    since, until = call.now - timedelta(days=wish.days), call.now
    async with call.platform.db.transaction(call.tenant, read_only=True) as conn:
        errand = Errand(conn=conn, actor=call.actor, now=call.now, request_id=call.request_id)
        row = await find(errand, draft_id)
        order = await _order(errand, row, call.platform.settings.database_url, wish.examples, since, until)
    started = time.perf_counter()
    result = await call.platform.replays.run(order)
    seconds = time.perf_counter() - started
    return Replayed(draft_version=row["version"], since=since, until=until, result=result, seconds=seconds)


async def keep(call: Call, draft_id: UUID, wish: ReplayWish) -> SimulationReply:
    """Keep with the draft what :func:`replay` gave."""
    done: Replayed = call.prepared
    kept = await queries().life.add_simulation(
        call.conn, tenant=call.tenant, draft_id=draft_id, asked_by=call.actor.name, **asdict(done)
    )
    await audit(call, "draft.simulated", f"draft:{draft_id}", days=wish.days, taps=done.result["taps"])
    return SimulationReply.of(kept)


async def _order(errand: Errand, row: Row, database_url: str, examples: int, since: datetime, until: datetime) -> Order:
    reading, words = await read(errand, row)
    if reading.document is None or reading.value is None:
        raise _unusable([{"at": f"/text{one.pointer}", "problem": str(one)} for one in reading.errors])
    try:
        compile_service(reading.document, words.world)
    except DocumentError as error:
        raise _unusable([{"at": f"/text{one.pointer}", "problem": str(one)} for one in error.problems]) from None
    newest = await queries().catalogue.newest(errand.conn, tenant=errand.tenant, service_id=row["service_id"])
    old = newest["document"] if newest is not None and newest["state"] == "published" else None
    return Order(
        database_url=database_url,
        tenant=errand.tenant,
        old=old,
        new=reading.value,
        since=since.timestamp(),
        until=until.timestamp(),
        examples=examples,
    )


def _unusable(fields: list[Any]) -> ApiProblem:
    return ApiProblem(
        422, "draft_has_errors", f"The draft cannot be tried as it is: {fields[0]['problem']}", fields=fields
    )
