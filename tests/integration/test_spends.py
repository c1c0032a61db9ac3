"""Budgets: nobody overdraws, nobody pays twice, and no penny appears or goes."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.app import PLATFORM
from cardservice.db import Database
from cardservice.ops.upkeep import do_round
from cardservice.spends.purses import ROUTES, TransferKind, open_purse
from tests.support.feed import document, publish
from tests.support.reader import add_site
from tests.support.service import Service
from tests.support.state import fact, get, post, resident

WALLET = "wcc.care.wallet"


def wallet(**more: Any) -> dict[str, Any]:
    """The care wallet: at most 400 pounds a week, above 50 pounds only when confirmed."""
    balance = {
        "account": "care_budget",
        "confirm": {"over_pence": 5000, "by": ["holder", "delegate:manage"]},
        "hold": "P7D",
        "per_period": {"period": "week", "max_pence": 40_000},
    }
    made = document(
        WALLET,
        kind="spend",
        title="Care wallet",
        who={"all": [{"evidence": "care_plan"}]},
        where={"sites": ["chemist"]},
        allow_only_items=["bandage", "walker"],
        delegation={"acts_for": {"scopes": ["manage", "spend"], "max_pence_per_action": 10_000}},
        offline={"spend": "deny"},
    )
    return made | {"limits": [{"balance": balance | more}]}


async def holder(service: Service, pence: int = 100_000, **more: Any) -> dict[str, Any]:
    """Somebody with a care plan, a card and money; the wallet is in force."""
    await add_site(service, site="chemist")
    await publish(service, wallet(**more))
    card = await resident(service)
    await fact(service, card["person_id"], kind="evidence", name="care_plan")
    if pence:
        await top_up(service, card, pence)
    return card


async def top_up(service: Service, card: dict[str, Any], pence: int) -> dict[str, Any]:
    body = {"service": WALLET, "person_id": card["person_id"], "amount_pence": pence, "reason": "Care plan of May"}
    return await post(service, "/v1/topups", body, roles="manager")


async def spend(service: Service, holder: dict[str, Any], pence: int, **more: Any) -> dict[str, Any]:
    body = {"service": WALLET, "card": holder["card_id"], "site": "chemist", "item": "bandage", "amount_pence": pence}
    return await post(service, "/v1/spends", body | more, wanted=200, roles="operator")


async def account(service: Service, card: dict[str, Any]) -> dict[str, Any]:
    (item,) = (await get(service, f"/v1/people/{card['person_id']}/accounts", roles="desk"))["items"]
    return dict(item)


async def books(service: Service) -> dict[str, int]:
    """What every book of the council holds, in the database."""
    async with service.app[PLATFORM].db.transaction("wcc", read_only=True) as conn:
        rows = await conn.fetch("SELECT book, sum(pence)::bigint AS pence FROM money_posting GROUP BY book")
    return {row["book"]: row["pence"] for row in rows}


async def test_money_is_held_and_then_paid(service: Service) -> None:
    card = await holder(service)
    done = await spend(service, card, 2000)
    assert (done["outcome"], done["reason"], done["spend"]["state"]) == ("allow", "ok", "held")
    until = datetime.fromisoformat(done["spend"]["held_until"]) - datetime.fromisoformat(done["spend"]["created_at"])
    assert until == timedelta(days=7)
    seen = await account(service, card)
    assert (seen["balance_pence"], seen["held_pence"], seen["used"], seen["left"]) == (98_000, 2000, 2000, 38_000)
    path = f"/v1/spends/{done['spend']['spend_id']}"
    assert (await post(service, f"{path}/confirm", wanted=200, roles="operator"))["state"] == "confirmed"
    assert await books(service) == {"council": -100_000, "purse": 98_000, "held": 0, "provider": 2000}
    for again in ("confirm", "release"):
        status, problem = await service.call("POST", f"{path}/{again}")
        assert (status, problem["code"], problem["state"]) == (409, "spend_state", "confirmed")
    transfers = (await get(service, "/v1/transfers", roles="auditor"))["items"]
    assert [transfer["kind"] for transfer in transfers] == ["confirm", "hold", "topup"]
    assert all(sum(transfer["postings"].values()) == 0 for transfer in transfers)


async def test_what_is_not_needed_is_given_back(service: Service) -> None:
    card = await holder(service)
    done = await spend(service, card, 2000)
    await post(service, f"/v1/spends/{done['spend']['spend_id']}/release", wanted=200)
    seen = await account(service, card)
    assert (seen["balance_pence"], seen["held_pence"], seen["used"]) == (100_000, 0, 0)


async def test_spends_at_once_never_overdraw(service: Service) -> None:
    card = await holder(service, pence=5000)
    done = await asyncio.gather(*(spend(service, card, 900) for _ in range(12)))
    reasons = [one["reason"] for one in done]
    assert (reasons.count("ok"), reasons.count("insufficient")) == (5, 7)
    assert await books(service) == {"council": -5000, "purse": 500, "held": 4500}


async def test_the_same_request_twice_spends_once(service: Service) -> None:
    card = await holder(service)
    body = {"service": WALLET, "card": card["card_id"], "site": "chemist", "item": "bandage", "amount_pence": 700}
    answers = await asyncio.gather(*(service.call("POST", "/v1/spends", body, key="till-1-0001") for _ in range(4)))
    assert len({answer["spend"]["spend_id"] for status, answer in answers if status == 200}) == 1
    assert (await account(service, card))["held_pence"] == 700


async def test_above_the_threshold_somebody_confirms(service: Service) -> None:
    card = await holder(service)
    asked = await spend(service, card, 5001)
    assert (asked["outcome"], asked["reason"], asked["spend"]) == ("confirm", "needs_confirmation", None)
    assert (await spend(service, card, 5000))["outcome"] == "allow"
    assert (await spend(service, card, 5001, confirmed=True))["outcome"] == "allow"
    assert (await account(service, card))["held_pence"] == 10_001


async def test_the_cap_of_the_week_holds_across_spends(service: Service) -> None:
    card = await holder(service)
    for _ in range(4):
        first = await spend(service, card, 10_000, confirmed=True)
        assert first["outcome"] == "allow"
    assert (await spend(service, card, 1))["reason"] == "weekly_limit"
    await post(service, f"/v1/spends/{first['spend']['spend_id']}/release", wanted=200)
    assert (await spend(service, card, 10_000, confirmed=True))["outcome"] == "allow"


async def test_a_delegate_spends_within_their_caps_and_no_further(service: Service) -> None:
    card = await holder(service)
    helper, stranger = await resident(service), await resident(service)
    detail = {"person": helper["person_id"], "scopes": ["spend"], "max_pence": 3000}
    await fact(service, card["person_id"], kind="delegate", detail=detail)
    done = await spend(service, card, 3000, presented_by=helper["card_id"])
    assert (done["outcome"], done["spend"]["presented_by"]) == ("allow", helper["card_id"])
    assert (await spend(service, card, 3001, presented_by=helper["card_id"]))["reason"] == "delegate_limit"
    assert (await spend(service, card, 100, presented_by=stranger["card_id"]))["reason"] == "not_delegate"
    manager = await resident(service)
    detail = {"person": manager["person_id"], "scopes": ["manage"]}
    await fact(service, card["person_id"], kind="delegate", detail=detail)
    shown = {"presented_by": manager["card_id"], "confirmed": True}
    assert (await spend(service, card, 10_001, **shown))["reason"] == "delegate_limit"
    assert (await spend(service, card, 6000, **shown))["outcome"] == "allow"
    await post(service, f"/v1/cards/{manager['card_id']}/suspend", {}, wanted=200)
    assert (await spend(service, card, 100, **shown))["reason"] == "card_suspended"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"item": "whisky"}, "item_not_in_plan"),
        ({"item": None}, "item_not_in_plan"),
        ({"site": "porchester"}, "wrong_site"),
        ({"card": "AQIDBAUGBwg"}, "unknown_card"),
        ({"card": "AQIDBAUGBw_"}, "unknown_card"),
        ({"card": "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"}, "bad_signature"),
    ],
)
async def test_a_spend_that_the_rules_refuse_moves_nothing(
    service: Service, changes: dict[str, Any], reason: str
) -> None:
    card = await holder(service)
    done = await spend(service, card, 100, **changes)
    assert (done["outcome"], done["reason"], done["spend"]) == ("deny", reason, None)
    assert done["sentence"]
    assert await books(service) == {"council": -100_000, "purse": 100_000}


async def test_the_code_of_a_card_pays_until_it_is_blocked(service: Service) -> None:
    card = await holder(service)
    token = (await get(service, f"/v1/cards/{card['card_id']}/code"))["token"]
    assert (await spend(service, card, 100, card=token))["outcome"] == "allow"
    head, payload, signature = token.split(".")
    forged = f"{head}.{payload}.{'A' * len(signature)}"
    assert (await spend(service, card, 100, card=forged))["reason"] == "bad_signature"
    paper = (await get(service, f"/v1/cards/{card['card_id']}/code?form=rp1"))["token"]
    assert (await spend(service, card, 100, card=paper))["outcome"] == "allow"
    await post(service, f"/v1/cards/{card['card_id']}/lost", {}, wanted=200)
    assert (await spend(service, card, 100, card=token))["reason"] == "card_lost"


async def test_a_renewed_card_spends_from_the_same_budget(service: Service) -> None:
    card = await holder(service, pence=1000)
    await spend(service, card, 800)
    new = await post(service, f"/v1/cards/{card['card_id']}/renew", {})
    assert (await spend(service, new, 800))["reason"] == "insufficient"
    assert (await spend(service, new, 200))["outcome"] == "allow"


async def _overdue(service: Service) -> None:
    conn = await asyncpg.connect(service.settings.database_url)
    await conn.execute("UPDATE spend SET held_until = now() - interval '1 second'")
    await conn.close()


async def test_a_hold_that_nobody_confirms_ends_by_itself(service: Service) -> None:
    card = await holder(service, pence=1000)
    done = await spend(service, card, 800)
    await _overdue(service)
    await do_round(service.app[PLATFORM], datetime.now(UTC))
    await do_round(service.app[PLATFORM], datetime.now(UTC))
    spent = await get(service, f"/v1/spends/{done['spend']['spend_id']}")
    assert (spent["state"], spent["closed_by"]) == ("expired", "upkeep")
    assert await books(service) == {"council": -1000, "purse": 1000, "held": 0}


async def test_nobody_waits_for_the_round_to_spend_what_is_free_again(service: Service) -> None:
    card = await holder(service, pence=1000)
    done = await spend(service, card, 800)
    await _overdue(service)
    assert (await spend(service, card, 1000))["outcome"] == "allow"
    status, problem = await service.call("POST", f"/v1/spends/{done['spend']['spend_id']}/confirm")
    assert (status, problem["state"]) == (409, "expired")


async def test_a_service_without_holds_pays_at_once(service: Service) -> None:
    await add_site(service, site="chemist")
    made = wallet()
    del made["limits"][0]["balance"]["hold"]
    await publish(service, made)
    card = await resident(service)
    await fact(service, card["person_id"], kind="evidence", name="care_plan")
    await top_up(service, card, 1000)
    assert (await spend(service, card, 300))["spend"]["state"] == "confirmed"
    assert await books(service) == {"council": -1000, "purse": 700, "held": 0, "provider": 300}


async def test_the_council_takes_back_only_what_is_not_spent(service: Service) -> None:
    card = await holder(service, pence=1000)
    await spend(service, card, 400)
    body = {"service": WALLET, "person_id": card["person_id"], "reason": "The plan ended."}
    for pence, wanted in ((-601, 409), (0, 422), (10_000_001, 422)):
        assert (await service.call("POST", "/v1/topups", body | {"amount_pence": pence}))[0] == wanted
    left = await post(service, "/v1/topups", body | {"amount_pence": -600})
    assert (left["balance_pence"], left["held_pence"]) == (0, 400)
    assert (await service.call("POST", "/v1/topups", body | {"amount_pence": 5}, roles="desk"))[0] == 403
    for wrong in ({"person_id": str(uuid4())}, {"service": "wcc.none"}):
        assert (await service.call("POST", "/v1/topups", body | {"amount_pence": 5} | wrong))[0] == 404


async def test_a_budget_beside_other_limits_is_not_published(service: Service) -> None:
    await add_site(service, site="chemist")
    made = wallet()
    made["limits"].append({"quota": {"id": "visits", "period": "day", "max": 1}})
    status, problem = await service.call("PUT", f"/v1/services/{WALLET}", {"document": made})
    assert (status, problem["code"]) == (422, "rule_kind_not_served")


async def test_spends_are_listed_by_person_and_state(service: Service) -> None:
    card = await holder(service)
    ids = [(await spend(service, card, 100))["spend"]["spend_id"] for _ in range(5)]
    await post(service, f"/v1/spends/{ids[0]}/release", wanted=200)
    leafed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await get(service, f"/v1/spends?limit=2{cursor and '&cursor=' + cursor}")
        leafed += [item["spend_id"] for item in page["items"]]
        cursor = page["next"]
    assert leafed == ids[::-1]
    held = await get(service, f"/v1/spends?state=held&person_id={card['person_id']}")
    assert [item["spend_id"] for item in held["items"]] == ids[:0:-1]
    assert (await service.call("GET", f"/v1/spends/{uuid4()}"))[0] == 404


async def _move(url: str, moves: list[tuple[TransferKind, int]]) -> None:
    """Moves of one new purse that its books allow, each checked against arithmetic."""
    database = Database(url, pool_size=1)
    await database.open()
    try:
        model = {"council": 0, "purse": 0, "held": 0, "provider": 0}
        who = str(uuid4())
        for kind, pence in moves:
            debit, credit = ROUTES[kind]
            if debit != "council" and model[debit] < pence:
                continue
            async with database.transaction("wcc") as conn:
                purse = await open_purse(conn, "wcc", "care_budget", "person", who)
                await purse.move(kind, pence, now=datetime.now(UTC), actor="test", spend=None)
                kept = await purse.books()
            model[debit] -= pence
            model[credit] += pence
            assert kept == model
            assert sum(kept.values()) == 0
    finally:
        await database.close()


def test_whatever_is_moved_every_penny_is_in_one_book(database_url: str) -> None:
    @hypothesis.settings(max_examples=15, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(sorted(ROUTES)), st.integers(1, 1000)), max_size=25))
    def property_of_books(moves: list[tuple[TransferKind, int]]) -> None:
        asyncio.run(_move(database_url, moves))

    property_of_books()


@pytest.mark.parametrize("seed", range(4))
async def test_any_series_of_dealings_keeps_the_books_and_agrees_with_arithmetic(service: Service, seed: int) -> None:
    """Dealings in any order against a model that only adds and subtracts."""
    chance = random.Random(seed)
    card = await holder(service, pence=0, per_period={"period": "week", "max_pence": 1_000_000})
    purse, held, paid, council = 0, 0, 0, 0
    open_spends: list[tuple[str, int]] = []
    for _ in range(25):
        what, pence = chance.choice(["topup", "take", "spend", "spend", "confirm", "release"]), chance.randint(1, 900)
        if what == "topup":
            await top_up(service, card, pence)
            purse, council = purse + pence, council - pence
        elif what == "take":
            body = {"service": WALLET, "person_id": card["person_id"], "amount_pence": -pence, "reason": "Back"}
            status, _ = await service.call("POST", "/v1/topups", body)
            assert (status == 201) == (pence <= purse)
            if status == 201:
                purse, council = purse - pence, council + pence
        elif what == "spend":
            done = await spend(service, card, pence)
            assert (done["outcome"] == "allow") == (pence <= purse)
            if done["spend"]:
                open_spends.append((done["spend"]["spend_id"], pence))
                purse, held = purse - pence, held + pence
        elif open_spends:
            spend_id, pence = open_spends.pop(chance.randrange(len(open_spends)))
            await post(service, f"/v1/spends/{spend_id}/{what}", wanted=200)
            held -= pence
            if what == "confirm":
                paid += pence
            else:
                purse += pence
        kept = await books(service)
        assert sum(kept.values()) == 0
        named = {"purse": purse, "held": held, "provider": paid, "council": council}
        assert {name: kept.get(name, 0) for name in named} == named
        assert min(purse, held, paid) >= 0


async def test_no_transfer_can_be_written_that_does_not_balance_or_be_changed_afterwards(service: Service) -> None:
    await holder(service)
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        purse = await conn.fetchval("SELECT purse_id FROM purse")
        for debit, credit, pence in (
            ("purse", "purse", 5),
            ("purse", "held", 0),
            ("purse", "held", -5),
            ("x", "held", 5),
        ):
            with pytest.raises(asyncpg.CheckViolationError):
                async with conn.transaction():
                    await conn.execute(
                        "INSERT INTO money_transfer (tenant, kind, purse_id, debit, credit, pence, actor) "
                        "VALUES ('wcc', 'hold', $1, $2, $3, $4, 'x')",
                        purse,
                        debit,
                        credit,
                        pence,
                    )
        for table in ("money_transfer", "ledger_entry"):
            for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET tenant = tenant"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with conn.transaction():
                        await conn.execute(statement)
