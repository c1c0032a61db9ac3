"""Corrections by staff: a further entry with a reason, told to the gates like any other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.catalogue.loading import load_catalogue
from cardservice.db import queries
from cardservice.errors import not_found
from cardservice.feed.writer import lock_tenant
from cardservice.ledger.accounts import facts_at, holder_of, household_moves, instant, quotas
from cardservice.ledger.entries import Entry, post
from cardservice.ledger.keys import keyring
from cardservice.ledger.models import Adjustment
from cardservice.ledger.people import facts_of
from cardservice.ledger.problems import wrong_value

BACK: Final = timedelta(days=3 * 366)
AHEAD: Final = timedelta(days=366)
"""Nobody corrects what lies further away; the year is mistyped."""


async def adjust(call: Call, wish: Adjustment) -> Any:
    """Post a correction.

    Raises:
        ApiProblem: 404 for an unknown person or service, 422 for an account that the service does not have, no units,
            or a time far away.
    """
    issue_number = await lock_tenant(call.conn, call.tenant)
    at = wish.at or call.now
    if wish.units == 0:
        raise wrong_value("/units", "it corrects nothing")
    if not call.now - BACK <= at <= call.now + AHEAD:
        raise wrong_value("/at", "it lies years away")
    catalogue = await load_catalogue(call.conn, call.tenant)
    service = catalogue.service(wish.service)
    if service is None:
        raise not_found("service", wish.service[:80])
    quota = next((quota for quota in quotas(service) if quota.account == wish.account), None)
    if quota is None:
        raise wrong_value("/account", f"{service.document.title} counts no such units")
    facts = await facts_of(call.conn, call.tenant, wish.person_id, today=catalogue.today(call.now))
    if facts is None:
        raise not_found("person", wish.person_id)
    moves = await household_moves(call.conn, call.tenant, [wish.person_id])
    scope, holder = holder_of(facts_at(facts, moves.get(wish.person_id, ()), at), service, quota.scope, instant(at))
    entry = Entry(
        entry_id=uuid4(),
        origin=call.tenant,
        area=str(service.area),
        account=quota.account,
        scope=scope,
        holder=holder,
        units=wish.units,
        at=at,
        kind="adjustment",
        service_id=str(service.id),
        person_id=wish.person_id,
        actor=call.actor.name,
        reason=wish.reason,
    )
    ring = await keyring(call.conn, call.tenant)
    await post(call.conn, call.tenant, [entry], keyring=ring, issue_number=issue_number, now=call.now)
    await audit(
        call,
        "ledger.adjusted",
        f"person:{wish.person_id}",
        entry=str(entry.entry_id),
        account=quota.account,
        units=wish.units,
        reason=wish.reason,
    )
    return await queries().ledger.get_entry(call.conn, tenant=call.tenant, entry_id=entry.entry_id)
