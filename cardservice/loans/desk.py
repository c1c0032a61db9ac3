"""Returning and renewing what somebody has out."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.catalogue.loading import Catalogue, load_catalogue
from cardservice.db import queries
from cardservice.errors import conflict, not_found
from cardservice.feed.telling import tell_all
from cardservice.feed.writer import lock_tenant
from cardservice.ledger.keys import keyring
from cardservice.loans.lending import due_day
from cardservice.loans.telling import loan_rules, tellings
from entitlements.model import Reason


async def give_back(call: Call, loan_id: UUID) -> Any:
    """An item came back.

    Raises:
        ApiProblem: 404, or 409 where it came back before.
    """
    issue_number = await lock_tenant(call.conn, call.tenant)
    await _out(call, loan_id)
    row = await queries().loans.give_back(
        call.conn, tenant=call.tenant, loan_id=loan_id, now=call.now, returned_by=call.actor.name
    )
    await _tell(call, row, issue_number, await load_catalogue(call.conn, call.tenant))
    await audit(call, "loan.returned", f"loan:{loan_id}", person=str(row["person_id"]))
    return row


async def renew(call: Call, loan_id: UUID) -> Any:
    """Lend an item for another period from today.

    Raises:
        ApiProblem: 404; 409 where it came back, was renewed as often as the service lets it, or is long overdue.
    """
    issue_number = await lock_tenant(call.conn, call.tenant)
    before = await _out(call, loan_id)
    catalogue = await load_catalogue(call.conn, call.tenant)
    service = catalogue.service(before["service_id"])
    rules = [] if service is None else [rule for rule in loan_rules(service) if rule.pool == before["pool"]]
    if service is None or not rules:
        raise conflict("service_not_published", "The service that lent this is no longer in force.")
    (rule,) = rules
    if before["renewed"] >= rule.renewals:
        raise conflict("renewals_used", f"This was renewed {before['renewed']} times, and cannot be renewed again.")
    today = catalogue.today(call.now)
    if rule.overdue_days is not None and (today - before["due"]).days >= max(rule.overdue_days, 1):
        raise conflict(Reason.OVERDUE_BLOCK, "This is long overdue: it has to come back first.")
    due = max(before["due"], due_day(service, rule, call.now))
    row = await queries().loans.renew(call.conn, tenant=call.tenant, loan_id=loan_id, due=due)
    await _tell(call, row, issue_number, catalogue)
    await audit(call, "loan.renewed", f"loan:{loan_id}", person=str(row["person_id"]), due=due.isoformat())
    return row


async def _out(call: Call, loan_id: UUID) -> Any:
    row = await queries().loans.get(call.conn, tenant=call.tenant, loan_id=loan_id)
    if row is None:
        raise not_found("loan", loan_id)
    if row["returned_at"] is not None:
        raise conflict("loan_returned", "This came back before.")
    return row


async def _tell(call: Call, row: Any, issue_number: int, catalogue: Catalogue) -> None:
    wanted = tellings(row, catalogue, await keyring(call.conn, call.tenant))
    await tell_all(call.conn, call.tenant, wanted, issue_number=issue_number, now=call.now)
