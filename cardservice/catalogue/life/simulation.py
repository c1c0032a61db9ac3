"""A draft tried on the taps of the last days; the result is kept with the draft."""

from __future__ import annotations

import time
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


async def simulate(call: Call, draft_id: UUID, wish: ReplayWish) -> SimulationReply:
    """Replay the stored taps of the last days under the draft and under the version in force.

    The handler has no transaction: a replay takes up to a minute, and a row lock or a connection held for so long
    would be in everybody's way.

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
    async with call.platform.db.transaction(call.tenant) as conn:
        errand = Errand(conn=conn, actor=call.actor, now=call.now, request_id=call.request_id)
        kept = await queries().life.add_simulation(
            conn,
            tenant=call.tenant,
            draft_id=draft_id,
            draft_version=row["version"],
            asked_by=call.actor.name,
            since=since,
            until=until,
            result=result,
            seconds=seconds,
        )
        await audit(errand, "draft.simulated", f"draft:{draft_id}", days=wish.days, taps=result["taps"])
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
