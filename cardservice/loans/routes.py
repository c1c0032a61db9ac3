"""Loans, for the desk."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.models import encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.catalogue.loading import load_catalogue
from cardservice.db import queries
from cardservice.loans import desk
from cardservice.loans.models import LoanList, LoanReply, LoansPage

routes = Routes(tag="loans")


@routes.add("GET", "/v1/loans", "List loans", roles=("desk", "manager", "auditor"))
async def list_loans(call: Call, query: LoansPage) -> LoanList:
    before_at, before_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    rows = queries().loans.page(
        call.conn,
        tenant=call.tenant,
        **query.model_dump(exclude={"cursor", "limit"}),
        today=(await load_catalogue(call.conn, call.tenant)).today(call.now),
        before_at=before_at,
        before_id=before_id,
        limit=query.limit + 1,
    )
    items = [LoanReply.of(row) async for row in rows]
    shown = items[: query.limit]
    last = shown[-1] if len(items) > len(shown) else None
    more = encode_cursor(last.lent_at.isoformat(), str(last.loan_id)) if last is not None else None
    return LoanList(items=shown, next=more)


@routes.add("POST", "/v1/loans/{loan_id}/return", "An item came back", roles=("desk", "operator"))
async def return_loan(call: Call) -> LoanReply:
    row = await desk.give_back(call, call.path_uuid("loan_id", "loan"))
    call.after_commit.append(call.platform.hub.wake)
    return LoanReply.of(row)


@routes.add("POST", "/v1/loans/{loan_id}/renew", "Lend an item for another period", roles=("desk",))
async def renew_loan(call: Call) -> LoanReply:
    row = await desk.renew(call, call.path_uuid("loan_id", "loan"))
    call.after_commit.append(call.platform.hub.wake)
    return LoanReply.of(row)
