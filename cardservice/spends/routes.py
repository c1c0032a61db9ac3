"""Spends for providers and desks, top-ups for managers, the money ledger for auditors."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.models import encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.cards.signing import card_text
from cardservice.catalogue.loading import load_catalogue
from cardservice.db import queries
from cardservice.ledger.accounts import instant
from cardservice.spends import till
from cardservice.spends.budgets import top_up
from cardservice.spends.models import (
    BudgetReply,
    SpendDecision,
    SpendList,
    SpendReply,
    SpendRequest,
    SpendsPage,
    Topup,
    TransferList,
    TransferReply,
    TransfersPage,
)
from entitlements.sentences import describe

routes = Routes(tag="spends")

TILL = ("desk", "operator")
LOOKERS = ("desk", "operator", "manager", "auditor")


@routes.add("POST", "/v1/spends", "Spend from a budget: decided at once, held until confirmed", roles=TILL)
async def add_spend(call: Call, body: SpendRequest) -> SpendDecision:
    decision, row = await till.spend(call, body)
    service = (await load_catalogue(call.conn, call.tenant)).service(body.service)
    zone = "Europe/London" if service is None else service.time.name
    return SpendDecision(
        outcome=decision.outcome.value,
        reason=str(decision.reason),
        sentence=describe(decision, at=instant(call.now), timezone=zone).public,
        spend=None if row is None else _reply(row),
    )


@routes.add("GET", "/v1/spends", "List spends", roles=LOOKERS)
async def list_spends(call: Call, query: SpendsPage) -> SpendList:
    before_at, before_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    rows = queries().spends.page(
        call.conn,
        tenant=call.tenant,
        **query.model_dump(exclude={"cursor", "limit"}),
        before_at=before_at,
        before_id=before_id,
        limit=query.limit + 1,
    )
    items = [_reply(row) async for row in rows]
    shown = items[: query.limit]
    last = shown[-1] if len(items) > len(shown) else None
    more = encode_cursor(last.created_at.isoformat(), str(last.spend_id)) if last is not None else None
    return SpendList(items=shown, next=more)


@routes.add("GET", "/v1/spends/{spend_id}", "Look up a spend", roles=LOOKERS)
async def get_spend(call: Call) -> SpendReply:
    return _reply(await till.find_spend(call, call.path_uuid("spend_id", "spend")))


@routes.add("POST", "/v1/spends/{spend_id}/confirm", "What was held is delivered: pay it", roles=TILL)
async def confirm_spend(call: Call) -> SpendReply:
    return _reply(await till.close(call, call.path_uuid("spend_id", "spend"), confirm=True))


@routes.add("POST", "/v1/spends/{spend_id}/release", "What was held is not needed: give it back", roles=TILL)
async def release_spend(call: Call) -> SpendReply:
    return _reply(await till.close(call, call.path_uuid("spend_id", "spend"), confirm=False))


@routes.add("POST", "/v1/topups", "Put money into a budget, or take it back", roles=("manager",), status=201)
async def add_topup(call: Call, body: Topup) -> BudgetReply:
    return await top_up(call, body)


@routes.add("GET", "/v1/transfers", "List the money ledger", roles=("manager", "auditor"))
async def list_transfers(call: Call, query: TransfersPage) -> TransferList:
    before_at, before_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    rows = queries().spends.transfers_page(
        call.conn,
        tenant=call.tenant,
        purse_id=query.purse_id,
        before_at=before_at,
        before_id=before_id,
        limit=query.limit + 1,
    )
    items = [TransferReply.from_row(row) async for row in rows]
    shown = items[: query.limit]
    last = shown[-1] if len(items) > len(shown) else None
    more = encode_cursor(last.happened_at.isoformat(), str(last.transfer_id)) if last is not None else None
    return TransferList(items=shown, next=more)


def _reply(row: Any) -> SpendReply:
    presented = row["presented_by"]
    return SpendReply.of(
        row,
        card_id=card_text(bytes(row["card_id"])),
        presented_by=None if presented is None else card_text(bytes(presented)),
    )
