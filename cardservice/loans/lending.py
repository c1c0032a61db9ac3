"""A tap that was let in at a lending service takes an item out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cardservice.catalogue.loading import Catalogue
from cardservice.db import Connection, queries
from cardservice.feed.telling import Wanted
from cardservice.ledger.flags import Flag
from cardservice.ledger.keys import AccountKeyring
from cardservice.ledger.visits import Visit
from cardservice.loans.telling import loan_rules, tellings
from entitlements.compile import CompiledService
from entitlements.service import LoanRule

DAY_SECONDS: Final = 86_400
NEVER_DUE: Final = date.max
"""Of a loan without a period."""


def due_day(service: CompiledService, rule: LoanRule, at: datetime) -> date:
    """The last local day of a loan that begins at an instant; a part of a day is a whole one."""
    if rule.period is None:
        return NEVER_DUE
    today = at.astimezone(ZoneInfo(service.time.name)).date()
    return today + timedelta(days=-(-rule.period // DAY_SECONDS))


async def lend(
    conn: Connection,
    tenant: str,
    origin: str,
    visits: Sequence[Visit],
    catalogue: Catalogue,
    ring: AccountKeyring,
) -> tuple[list[Wanted], list[Flag]]:
    """Write the loans of these visits, each tap's once; what gates and people should hear of them."""
    wanted: list[Wanted] = []
    flags = []
    for visit in visits:
        for rule in loan_rules(visit.service)[:1]:  # a tap takes one item
            row = await queries().loans.add(
                conn,
                tenant=tenant,
                origin=origin,
                tap_id=visit.tap.tap_id,
                person_id=visit.person,
                service_id=str(visit.service.id),
                pool=rule.pool,
                item=visit.tap.item,
                lent_at=visit.at,
                due=due_day(visit.service, rule, visit.at),
            )
            if row is None:
                continue
            wanted += tellings(row, catalogue, ring)
            out = await queries().loans.count_out(conn, tenant=tenant, person_id=visit.person, pool=rule.pool)
            if out > rule.max_out:
                flags.append(_over(visit, rule, out))
    return wanted, flags


def _over(visit: Visit, rule: LoanRule, out: int) -> Flag:
    return Flag(
        kind="over_lent",
        sentence=(
            f"A person has {out} items of “{visit.service.document.title}” out, and {rule.max_out} are allowed: the "
            f"last was taken at {visit.tap.site} before that was known there. It stands."
        ),
        at=visit.at,
        service_id=str(visit.service.id),
        area=str(visit.service.area),
        account=rule.pool,
        scope="person",
        holder=str(visit.person),
        person_id=visit.person,
        tap_id=visit.tap.tap_id,
        site_id=visit.tap.site,
        units=out - rule.max_out,
    )
