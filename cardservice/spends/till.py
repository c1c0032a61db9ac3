"""Spending: one decision by the same rules as at a gate, on the balance as it is under the purse's lock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.catalogue.facts import load_facts
from cardservice.catalogue.loading import Catalogue, load_catalogue
from cardservice.db import queries
from cardservice.errors import ApiProblem, not_found
from cardservice.ledger.accounts import holder_of, instant, moment_of, period_of
from cardservice.ledger.problems import wrong_value
from cardservice.ledger.rights import profile_at
from cardservice.spends.cards import ShownCard, find_card, use_up, weaker_state
from cardservice.spends.models import SpendRequest
from cardservice.spends.purses import Purse, lock_purse, open_purse
from entitlements.compile import CompiledService, account_keys, delegate_grants
from entitlements.decide import decide
from entitlements.facts import PersonFacts
from entitlements.ledger import Entries
from entitlements.model import CardState, Decision, Outcome, Reason, SiteId, TenantId
from entitlements.service import Balance
from entitlements.situation import Acting, Moment, State, Subject, TapInput, UpstreamCheck


async def spend(call: Call, wish: SpendRequest) -> tuple[Decision, Any]:
    """Decide a spend, and set the money aside where it is allowed.

    What counts of a card is what was shown now, not what it was issued for. A live code is used up by the spend that it
    allows: who is asked to confirm, or chose something wrong, may show the same code again while it is good.

    Returns:
        The decision, and the spend's row where it is ``allow``.

    Raises:
        ApiProblem: 404 for an unknown service, 422 for one without a budget.
    """
    catalogue = await load_catalogue(call.conn, call.tenant)
    service, balance = budget_of(catalogue, wish.service)
    card = await find_card(call, wish.card)
    presenter = card if wish.presented_by is None else await find_card(call, wish.presented_by)
    if isinstance(card, Reason):
        return _refused(service, card), None
    if isinstance(presenter, Reason):
        return _refused(service, presenter), None
    people = [card.row["person_id"], presenter.row["person_id"]]
    known = await load_facts(call.conn, call.tenant, people, today=catalogue.today(call.now))
    facts = known[card.row["person_id"]]
    scope, holder = holder_of(facts, service, balance.scope, instant(call.now))
    purse = await open_purse(call.conn, call.tenant, balance.account, scope, holder)
    await purse.expire_holds(now=call.now)
    decision = decide(
        service,
        _subject(
            call, service, catalogue, facts, weaker_state(call, card, presenter), known[presenter.row["person_id"]]
        ),
        Moment(at=instant(call.now), site=SiteId(wish.site)),
        TapInput(
            presentation=presenter.presentation(service.document),
            amount_pence=wish.amount_pence,
            item=wish.item,
            confirmed=wish.confirmed,
        ),
        await _state(call, service, catalogue, balance, purse, facts),
    )
    if decision.outcome is not Outcome.ALLOW:
        return decision, None
    if not await use_up(call, card, presenter):
        return _refused(service, Reason.REPLAYED_CODE), None
    row = await _set_aside(call, wish, service, balance, purse, card, presenter)
    return decision, row


async def close(call: Call, spend_id: UUID, *, confirm: bool) -> Any:
    """Pay a spend that is held, or give its money back.

    Raises:
        ApiProblem: 404, or 409 ``spend_state`` where it is not held any more.
    """
    before = await find_spend(call, spend_id)
    purse = await lock_purse(call.conn, call.tenant, before["purse_id"])
    await purse.expire_holds(now=call.now)
    state = "confirmed" if confirm else "released"
    row = await queries().spends.close(
        call.conn, tenant=call.tenant, spend_id=spend_id, state=state, now=call.now, closed_by=call.actor.name
    )
    if row is None:
        present = (await find_spend(call, spend_id))["state"]
        raise ApiProblem(
            409, "spend_state", f"This spend is {present}, so it cannot be {state}.", extra={"state": present}
        )
    await purse.move(
        "confirm" if confirm else "release", row["pence"], now=call.now, actor=call.actor.name, spend=spend_id
    )
    await audit(call, f"spend.{state}", f"spend:{spend_id}", pence=row["pence"])
    return await find_spend(call, spend_id)


async def find_spend(call: Call, spend_id: UUID) -> Any:
    """A spend's row with its account.

    Raises:
        ApiProblem: 404.
    """
    row = await queries().spends.get(call.conn, tenant=call.tenant, spend_id=spend_id)
    if row is None:
        raise not_found("spend", spend_id)
    return row


def budget_of(catalogue: Catalogue, name: str) -> tuple[CompiledService, Balance]:
    """A service in force and the budget that it spends from.

    Raises:
        ApiProblem: 404 or 422.
    """
    service = catalogue.service(name)
    if service is None:
        raise not_found("service", name[:80])
    for limit in service.document.limits:
        if isinstance(limit, Balance):
            return service, limit
    raise wrong_value("/service", f"{service.document.title} spends from no budget")


def _refused(service: CompiledService, reason: Reason) -> Decision:
    return Decision(outcome=Outcome.DENY, reason=reason, service=service.id)


def _subject(
    call: Call,
    service: CompiledService,
    catalogue: Catalogue,
    facts: PersonFacts,
    card: CardState,
    presenter_facts: PersonFacts,
) -> Subject:
    at = instant(call.now)
    acting = None
    if presenter_facts.id != facts.id:
        grants = delegate_grants(facts, catalogue.world.tenants[TenantId(call.tenant)])
        acting = Acting(
            grants=grants.get(presenter_facts.id, ()),
            blocks=profile_at(service, presenter_facts, catalogue.world, at).blocks,
        )
    return Subject(
        card=card,
        profile=profile_at(service, facts, catalogue.world, at),
        keys=account_keys(facts, service, at),
        acting=acting,
    )


async def _state(
    call: Call, service: CompiledService, catalogue: Catalogue, balance: Balance, purse: Purse, facts: PersonFacts
) -> State:
    """The balance, what was spent in the cap's period, and other systems' words."""
    spent: list[tuple[str, str, int, Any]] = []
    if balance.cap is not None:
        since, _ = period_of(service, balance.cap.period, instant(call.now), facts, catalogue.world)
        rows = queries().spends.spent(call.conn, tenant=call.tenant, purse_id=purse.purse_id, since=moment_of(since))
        spent = [(balance.account, purse.holder, row["pence"], instant(row["created_at"])) async for row in rows]
    words = queries().upstreams.of_person(call.conn, tenant=call.tenant, person_id=UUID(facts.id))
    upstream = {
        row["name"]: UpstreamCheck(
            age=max(0, int((call.now - row["said_at"]).total_seconds())), not_blocked=row["not_blocked"]
        )
        async for row in words
    }
    return State(ledger=Entries(spent), balance_pence=(await purse.books())["purse"], upstream=upstream)


async def _set_aside(
    call: Call,
    wish: SpendRequest,
    service: CompiledService,
    balance: Balance,
    purse: Purse,
    card: ShownCard,
    presenter: ShownCard,
) -> Any:
    held = balance.hold is not None
    spend_id = await queries().spends.add(
        call.conn,
        tenant=call.tenant,
        purse_id=purse.purse_id,
        service_id=str(service.id),
        person_id=card.row["person_id"],
        card_id=card.card_id,
        presented_by=presenter.card_id if presenter.card_id != card.card_id else None,
        site_id=wish.site,
        item=wish.item,
        pence=wish.amount_pence,
        state="held" if held else "confirmed",
        held_until=call.now + timedelta(seconds=balance.hold) if balance.hold is not None else None,
        closed_at=None if held else call.now,
        closed_by=None if held else call.actor.name,
        created_by=call.actor.name,
        now=call.now,
    )
    for kind in ("hold",) if held else ("hold", "confirm"):
        await purse.move(kind, wish.amount_pence, now=call.now, actor=call.actor.name, spend=spend_id)  # type: ignore[arg-type]
    await audit(
        call,
        "spend.held" if held else "spend.confirmed",
        f"spend:{spend_id}",
        person=str(card.row["person_id"]),
        pence=wish.amount_pence,
        site=wish.site,
        shown="number" if presenter.proven is None else presenter.proven.value,
    )
    return await find_spend(call, spend_id)
