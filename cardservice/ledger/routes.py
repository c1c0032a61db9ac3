"""The ledger of units, staff's corrections to it, leases, and flags for what did not add up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.models import Page, encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.api.server import audit
from cardservice.catalogue.loading import load_catalogue
from cardservice.db import queries
from cardservice.errors import conflict, not_found
from cardservice.ledger.accounts import quotas
from cardservice.ledger.adjustments import adjust
from cardservice.ledger.holdings import AccountsReply, accounts_of
from cardservice.ledger.models import (
    Adjustment,
    EntryReply,
    FlagList,
    FlagReply,
    FlagsPage,
    LeaseList,
    LeaseReply,
    LedgerList,
    LedgerPage,
    Resolution,
)

routes = Routes(tag="ledger")

LOOKERS: Final = ("desk", "manager", "auditor")
LATELY: Final = timedelta(days=30)


@routes.add(
    "GET", "/v1/people/{person_id}/accounts", "What is left to a person, and when it resets", roles=("desk", "auditor")
)
async def get_accounts(call: Call) -> AccountsReply:
    """Not paged: one for each account of the services in force, however much was spent of it."""
    return await accounts_of(call, call.path_uuid("person_id", "person"))


@routes.add("GET", "/v1/ledger", "List the entries of the ledger of units", roles=LOOKERS)
async def list_entries(call: Call, query: LedgerPage) -> LedgerList:
    before_at, before_id, before_account = read_cursor(query.cursor, datetime.fromisoformat, UUID, str)
    rows = queries().ledger.page(
        call.conn,
        tenant=call.tenant,
        person_id=query.person_id,
        account=query.account,
        service=query.service,
        site=query.site,
        since=query.since,
        until=query.until,
        before_at=before_at,
        before_id=before_id,
        before_account=before_account,
        limit=query.limit + 1,
    )
    items = [EntryReply.of(row) async for row in rows]
    shown = items[: query.limit]
    last = shown[-1] if len(items) > len(shown) else None
    more = encode_cursor(last.happened_at.isoformat(), str(last.entry_id), last.account) if last is not None else None
    return LedgerList(items=shown, next=more)


@routes.add("POST", "/v1/ledger/adjustments", "Correct units by an entry", roles=("desk", "manager"), status=201)
async def add_adjustment(call: Call, body: Adjustment) -> EntryReply:
    row = await adjust(call, body)
    call.after_commit.append(call.platform.hub.wake)
    return EntryReply.of(row)


@routes.add("GET", "/v1/leases", "What sites may spend, and spent, while cut off", roles=(*LOOKERS, "operator"))
async def list_leases(call: Call, query: Page) -> LeaseList:
    after = read_cursor(query.cursor, str, str, str)
    catalogue = await load_catalogue(call.conn, call.tenant)
    spent: dict[tuple[str, str], list[tuple[str, int, datetime]]] = {}
    async for row in queries().ledger.spent_offline(call.conn, tenant=call.tenant, since=call.now - LATELY):
        of_site = (row["site_id"], row["units"], row["last"])
        spent.setdefault((row["service_id"], row["account"]), []).append(of_site)
    items = []
    for service in catalogue.services.values():
        units = {quota.account: quota.unit for quota in quotas(service)}
        for account, lease in service.document.offline.lease:
            for site, taken, last in spent.get((str(service.id), account), [(None, 0, None)]):
                items.append(
                    LeaseReply(
                        service_id=str(service.id),
                        account=account,
                        unit=units[account],
                        units=lease,
                        on_overspend=service.document.offline.on_overspend,
                        site_id=site,
                        spent_offline=taken,
                        last_spent_at=last,
                    )
                )
    # What is in force is in memory, and what was spent is summed up by the database: a page spares the reply alone.
    items = sorted((item for item in items if query.cursor is None or _place(item) > after), key=_place)
    shown = items[: query.limit]
    return LeaseList(items=shown, next=encode_cursor(*_place(shown[-1])) if len(items) > len(shown) else None)


def _place(lease: LeaseReply) -> list[str]:
    return [lease.service_id, lease.account, lease.site_id or ""]


@routes.add("GET", "/v1/flags", "List what did not add up", roles=(*LOOKERS, "operator"))
async def list_flags(call: Call, query: FlagsPage) -> FlagList:
    before_at, before_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    rows = queries().ledger.flags_page(
        call.conn,
        tenant=call.tenant,
        resolved={"open": False, "resolved": True, "all": None}[query.state],
        kind=query.kind,
        person_id=query.person_id,
        before_at=before_at,
        before_id=before_id,
        limit=query.limit + 1,
    )
    items = [FlagReply.of(row) async for row in rows]
    shown = items[: query.limit]
    last = shown[-1] if len(items) > len(shown) else None
    more = encode_cursor(last.raised_at.isoformat(), str(last.flag_id)) if last is not None else None
    return FlagList(items=shown, next=more)


@routes.add("POST", "/v1/flags/{flag_id}/resolve", "Say what was found out about a flag", roles=("desk", "manager"))
async def resolve_flag(call: Call, body: Resolution) -> FlagReply:
    flag_id = call.path_uuid("flag_id", "flag")
    named = {"tenant": call.tenant, "flag_id": flag_id}
    row = await queries().ledger.resolve_flag(
        call.conn, **named, note=body.note, resolved_by=call.actor.name, now=call.now
    )
    if row is None:
        if await queries().ledger.get_flag(call.conn, **named) is None:
            raise not_found("flag", flag_id)
        raise conflict("flag_resolved", "This flag was resolved before.")
    await audit(call, "flag.resolved", f"flag:{flag_id}", note=body.note)
    return FlagReply.of(row)
