"""Money into budgets and back to the council; holds that nobody confirmed."""

from __future__ import annotations

from datetime import datetime

import structlog

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.catalogue.loading import load_catalogue
from cardservice.db import ALL_TENANTS, queries
from cardservice.errors import conflict, not_found
from cardservice.ledger.accounts import holder_of, instant
from cardservice.ledger.people import facts_of
from cardservice.ledger.problems import wrong_value
from cardservice.platform import Platform
from cardservice.spends.models import BudgetReply, Topup
from cardservice.spends.purses import Purse, lock_purse, open_purse
from cardservice.spends.till import budget_of

log = structlog.get_logger("spends.budgets")


async def top_up(call: Call, wish: Topup) -> BudgetReply:
    """Put money into a person's budget, or take back what is not spent.

    Raises:
        ApiProblem: 404 for an unknown person or service; 422 for nothing, or a service without a budget; 409 where
            there is less to take back.
    """
    if wish.amount_pence == 0:
        raise wrong_value("/amount_pence", "it moves nothing")
    catalogue = await load_catalogue(call.conn, call.tenant)
    service, balance = budget_of(catalogue, wish.service)
    facts = await facts_of(call.conn, call.tenant, wish.person_id, today=catalogue.today(call.now))
    if facts is None:
        raise not_found("person", wish.person_id)
    scope, holder = holder_of(facts, service, balance.scope, instant(call.now))
    purse = await open_purse(call.conn, call.tenant, balance.account, scope, holder)
    await purse.expire_holds(now=call.now)
    if wish.amount_pence < 0 and -wish.amount_pence > (await purse.books())["purse"]:
        raise conflict("insufficient", "There is less in this budget than shall be taken back.")
    await purse.move(
        "topup" if wish.amount_pence > 0 else "correction",
        abs(wish.amount_pence),
        now=call.now,
        actor=call.actor.name,
        spend=None,
        reason=wish.reason,
    )
    await audit(call, "budget.moved", f"person:{wish.person_id}", account=balance.account, pence=wish.amount_pence)
    return await budget(purse)


async def budget(purse: Purse) -> BudgetReply:
    """A budget as it is now."""
    books = await purse.books()
    return BudgetReply(
        purse_id=purse.purse_id,
        account=purse.account,
        scope=purse.scope,
        holder=purse.holder,
        balance_pence=books["purse"],
        held_pence=books["held"],
    )


async def expire_holds(platform: Platform, now: datetime) -> int:
    """Give back what was set aside and never confirmed, in every council; how many spends it were.

    A spend at the till does the same for its own purse first, so nobody waits for this.
    """
    async with platform.db.transaction(ALL_TENANTS, read_only=True) as conn:
        due = [(row["tenant"], row["purse_id"]) async for row in queries().spends.overdue_purses(conn, now=now)]
    expired = 0
    for tenant, purse_id in due:
        async with platform.db.transaction(tenant) as conn:
            expired += await (await lock_purse(conn, tenant, purse_id)).expire_holds(now=now)
    if expired:
        log.info("holds expired", spends=expired)
    return expired
