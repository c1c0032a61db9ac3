"""What is left to a person, and when it begins anew: quotas, budgets and loans of the services they have a right to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from cardservice.api.call import Call
from cardservice.api.models import ApiModel
from cardservice.catalogue.loading import Catalogue, load_catalogue
from cardservice.db import queries
from cardservice.errors import not_found
from cardservice.ledger.accounts import holder_of, instant, moment_of, period_of
from cardservice.ledger.people import facts_of
from cardservice.ledger.rights import right_at
from entitlements.compile import CompiledService
from entitlements.facts import PersonFacts
from entitlements.profile import Verdict
from entitlements.service import Balance, LoanRule, Period, Quota


class AccountReply(ApiModel):
    """One account. Money is in pence; `left` of a budget is what may be spent now, its cap counted in."""

    service_id: str
    title: str
    kind: Literal["quota", "budget", "loan"]
    account: str
    unit: str
    scope: str = Field(description="By whom it is shared: person, household, vehicle or permit.")
    max: int | None
    used: int
    left: int
    period: str | None
    since: datetime | None
    resets_at: datetime | None
    balance_pence: int | None = None
    held_pence: int | None = None


class AccountsReply(ApiModel):
    """Accounts by service."""

    person_id: UUID
    items: list[AccountReply]


async def accounts_of(call: Call, person_id: UUID) -> AccountsReply:
    """The accounts of a person as they are now.

    Raises:
        ApiProblem: 404.
    """
    catalogue = await load_catalogue(call.conn, call.tenant)
    facts = await facts_of(call.conn, call.tenant, person_id, today=catalogue.today(call.now))
    if facts is None:
        raise not_found("person", person_id)
    items = []
    for service in sorted(catalogue.services.values(), key=lambda one: one.id):
        right = right_at(service, facts, catalogue.world, instant(call.now))
        if right is not None and right.verdict is not Verdict.UNKNOWN:
            items += [account async for account in _accounts(call, service, facts, catalogue)]
    return AccountsReply(person_id=person_id, items=items)


async def _accounts(
    call: Call, service: CompiledService, facts: PersonFacts, catalogue: Catalogue
) -> AsyncIterator[AccountReply]:
    for limit in service.document.limits:
        if isinstance(limit, Quota):
            yield await _quota(call, service, limit, facts, catalogue)
        elif isinstance(limit, Balance):
            yield await _budget(call, service, limit, facts, catalogue)
        elif isinstance(limit, LoanRule):
            yield await _loans(call, service, limit, facts)


def _period(
    call: Call, service: CompiledService, period: Period, facts: PersonFacts, catalogue: Catalogue
) -> tuple[datetime | None, datetime | None]:
    since, until = period_of(service, period, instant(call.now), facts, catalogue.world)
    return moment_of(since), moment_of(until)


async def _quota(
    call: Call, service: CompiledService, quota: Quota, facts: PersonFacts, catalogue: Catalogue
) -> AccountReply:
    since, until = _period(call, service, quota.period, facts, catalogue)
    scope, holder = holder_of(facts, service, quota.scope, instant(call.now))
    used = await queries().ledger.used(
        call.conn,
        tenant=call.tenant,
        area=str(service.area),
        account=quota.account,
        scope=scope,
        holder=holder,
        since=since,
        until=until,
    )
    return AccountReply(
        service_id=str(service.id),
        title=service.document.title,
        kind="quota",
        account=quota.account,
        unit=quota.unit,
        scope=scope,
        max=quota.max,
        used=used,
        left=max(0, quota.max - used),
        period=quota.period.name,
        since=since,
        # The days of a rolling period fall out one by one; there is no one moment at which it begins anew.
        resets_at=None if quota.period.name == "rolling" else until,
    )


async def _budget(
    call: Call, service: CompiledService, balance: Balance, facts: PersonFacts, catalogue: Catalogue
) -> AccountReply:
    scope, holder = holder_of(facts, service, balance.scope, instant(call.now))
    named = {"tenant": call.tenant, "account": balance.account, "scope": scope, "holder": holder}
    purse_id = await queries().spends.purse_of(call.conn, **named)
    books: dict[str, int] = {}
    since = until = None
    used = 0
    if purse_id is not None:
        rows = queries().spends.books(call.conn, tenant=call.tenant, purse_id=purse_id)
        books = {row["book"]: int(row["pence"]) async for row in rows}
    left = books.get("purse", 0)
    if balance.cap is not None:
        since, until = _period(call, service, balance.cap.period, facts, catalogue)
        if purse_id is not None:
            spent = queries().spends.spent(call.conn, tenant=call.tenant, purse_id=purse_id, since=since)
            used = sum([row["pence"] async for row in spent])
        left = max(0, min(left, balance.cap.max_pence - used))
    return AccountReply(
        service_id=str(service.id),
        title=service.document.title,
        kind="budget",
        account=balance.account,
        unit=balance.unit,
        scope=scope,
        max=None if balance.cap is None else balance.cap.max_pence,
        used=used,
        left=left,
        period=None if balance.cap is None else balance.cap.period.name,
        since=since,
        resets_at=until,
        balance_pence=books.get("purse", 0),
        held_pence=books.get("held", 0),
    )


async def _loans(call: Call, service: CompiledService, rule: LoanRule, facts: PersonFacts) -> AccountReply:
    out = await queries().loans.count_out(call.conn, tenant=call.tenant, person_id=UUID(facts.id), pool=rule.pool)
    return AccountReply(
        service_id=str(service.id),
        title=service.document.title,
        kind="loan",
        account=rule.pool,
        unit="item",
        scope="person",
        max=rule.max_out,
        used=out,
        left=max(0, rule.max_out - out),
        period=None,
        since=None,
        resets_at=None,
    )
