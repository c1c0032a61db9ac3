"""What was shown at a till, and by whom: nobody pays with a copy where the service asks for more than a copy."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from cardservice.app import PLATFORM
from entitlements.credential import card_text, live_message, live_text
from entitlements.credential.base45 import b45_decode, b45_encode
from entitlements.credential.encoding import b64url_decode
from entitlements.credential.es256 import ORDER, sign_message
from tests.integration.test_spends import WALLET, books, holder, spend, top_up, wallet
from tests.support.feed import publish
from tests.support.phone import FakePhone, link_for
from tests.support.service import Service
from tests.support.state import fact, get, post, resident

LIVE_OR_CHIP = [{"presentation": ["live", "chip"]}]


async def payer(service: Service, *, asks: list[dict[str, Any]] | None = None) -> tuple[dict[str, Any], FakePhone]:
    """A holder with money and a card on the phone beside the one on paper; the wallet asks for what is given."""
    card = await holder(service)
    if asks is not None:
        await publish(service, wallet() | {"requires": asks})
    phone = FakePhone(service)
    status, answer = await phone.bind(await link_for(service, card["person_id"]))
    assert status == 201, answer
    return card, phone


def now() -> int:
    return int(time.time())


def code(phone: FakePhone, iat: int | None = None) -> str:
    return phone.live_code(now() if iat is None else iat).decode()


async def reason(service: Service, card: dict[str, Any], shown: str, **more: Any) -> str:
    done = await spend(service, card, 100, card=shown, **more)
    assert (done["spend"] is not None) == (done["outcome"] == "allow")
    return str(done["reason"])


async def test_no_copy_of_a_phones_card_pays_where_the_phone_itself_is_asked_for(service: Service) -> None:
    card, phone = await payer(service, asks=LIVE_OR_CHIP)
    cwt = b64url_decode(phone.card["cwt"].encode())
    token = (await get(service, f"/v1/cards/{phone.card['card_id']}/code"))["token"]
    for copy in (card_text(cwt), token, phone.card["card_id"], card["card_id"]):
        assert await reason(service, card, copy) == "presentation_not_accepted", copy
    assert (await books(service))["purse"] == 100_000
    assert await reason(service, card, code(phone)) == "ok"


async def test_no_copy_of_a_delegates_card_pays_where_the_phone_itself_is_asked_for(service: Service) -> None:
    card, _ = await payer(service, asks=LIVE_OR_CHIP)
    helper = await resident(service)
    phone = FakePhone(service)
    await phone.bind(await link_for(service, helper["person_id"]))
    detail = {"person": helper["person_id"], "scopes": ["spend"]}
    await fact(service, card["person_id"], kind="delegate", detail=detail)
    for copy in (phone.card["card_id"], card_text(b64url_decode(phone.card["cwt"].encode()))):
        assert await reason(service, card, card["card_id"], presented_by=copy) == "presentation_not_accepted"
    assert await reason(service, card, card["card_id"], presented_by=code(phone)) == "ok"


async def test_a_chips_card_pays_by_no_words_that_somebody_read_off_it(service: Service) -> None:
    card, _ = await payer(service, asks=LIVE_OR_CHIP)
    chip = await post(service, "/v1/cards", {"person_id": card["person_id"], "channel": "chip"})
    assert await reason(service, card, chip["card_id"]) == "presentation_not_accepted"


async def test_who_asks_for_a_card_is_not_paid_by_its_number_read_out(service: Service) -> None:
    card, _ = await payer(service, asks=[{"presentation": ["static", "live"]}])
    assert await reason(service, card, card["card_id"]) == "presentation_not_accepted"
    token = (await get(service, f"/v1/cards/{card['card_id']}/code"))["token"]
    assert await reason(service, card, token) == "ok"


async def test_a_service_that_asks_for_nothing_is_still_paid_by_number_paper_and_phone(service: Service) -> None:
    card, phone = await payer(service)
    paper = (await get(service, f"/v1/cards/{card['card_id']}/code?form=rp1"))["token"]
    for shown in (card["card_id"], paper, code(phone)):
        assert await reason(service, card, shown) == "ok"
    async with service.app[PLATFORM].db.transaction("wcc", read_only=True) as conn:
        rows = await conn.fetch("SELECT detail FROM audit WHERE action = 'spend.held' ORDER BY audit_id")
    assert [row["detail"]["shown"] for row in rows] == ["number", "static", "live"], "a dispute is about what was shown"


async def test_a_picture_of_a_code_that_paid_pays_nothing_more(service: Service) -> None:
    card, phone = await payer(service, asks=LIVE_OR_CHIP)
    at = now()
    first = code(phone, at)
    assert await reason(service, card, first) == "ok"
    raw = b45_decode(first[4:].encode())
    s = ORDER - int.from_bytes(raw[32:64], "big")
    twin = "RC1:" + b45_encode(raw[:32] + s.to_bytes(32, "big") + raw[64:]).decode()
    assert twin != first
    for again in (first, twin, code(phone, at - 5)):
        assert await reason(service, card, again) == "replayed_code"
    assert await reason(service, card, code(phone, at + 1)) == "ok"
    assert (await books(service))["held"] == 200


async def test_a_code_at_two_tills_at_once_pays_once(service: Service) -> None:
    card, phone = await payer(service, asks=LIVE_OR_CHIP)
    shown = code(phone)
    done = await asyncio.gather(*(reason(service, card, shown) for _ in range(6)))
    assert sorted(done) == ["ok"] + ["replayed_code"] * 5


async def test_a_delegates_code_pays_once_for_all_whom_they_act_for(service: Service) -> None:
    first, _ = await payer(service, asks=LIVE_OR_CHIP)
    second = await resident(service)
    await fact(service, second["person_id"], kind="evidence", name="care_plan")
    await top_up(service, second, 1000)
    helper = await resident(service)
    for one in (first, second):
        detail = {"person": helper["person_id"], "scopes": ["spend"]}
        await fact(service, one["person_id"], kind="delegate", detail=detail)
    phone = FakePhone(service)
    await phone.bind(await link_for(service, helper["person_id"]))
    shown = code(phone)
    done = await asyncio.gather(*(reason(service, one, one["card_id"], presented_by=shown) for one in (first, second)))
    assert sorted(done) == ["ok", "replayed_code"]


async def test_who_is_asked_to_confirm_may_show_the_same_code_again(service: Service) -> None:
    card, phone = await payer(service, asks=LIVE_OR_CHIP)
    shown = code(phone)
    assert (await spend(service, card, 6000, card=shown))["reason"] == "needs_confirmation"
    assert (await spend(service, card, 6000, card=shown, item="whisky"))["reason"] == "item_not_in_plan"
    assert (await spend(service, card, 6000, card=shown, confirmed=True))["reason"] == "ok"
    assert (await spend(service, card, 6000, card=shown, confirmed=True))["reason"] == "replayed_code"


async def test_a_code_of_half_a_minute_ago_or_of_another_phone_pays_nothing(service: Service) -> None:
    card, phone = await payer(service, asks=LIVE_OR_CHIP)
    assert await reason(service, card, code(phone, now() - 40)) == "expired_code"
    assert await reason(service, card, code(phone, now() + 40)) == "expired_code"
    cwt, at, other = b64url_decode(phone.card["cwt"].encode()), now(), FakePhone(service)
    forged = live_text(cwt, at, sign_message(other.key, live_message(cwt, at)))
    assert await reason(service, card, forged) == "bad_signature"


@pytest.mark.parametrize("ending", ["lost", "revoke", "suspend"])
async def test_nobody_spends_for_somebody_whose_own_card_was_stopped(service: Service, ending: str) -> None:
    card = await holder(service)
    helper = await resident(service)
    detail = {"person": helper["person_id"], "scopes": ["spend"]}
    await fact(service, card["person_id"], kind="delegate", detail=detail)
    shown = {"presented_by": helper["card_id"]}
    assert await reason(service, card, card["card_id"], **shown) == "ok"
    await post(service, f"/v1/cards/{card['card_id']}/{ending}", {}, wanted=200)
    stopped = {"lost": "card_lost", "revoke": "card_revoked", "suspend": "card_suspended"}[ending]
    assert await reason(service, card, card["card_id"], **shown) == stopped
    # Another card of the same person that nobody stopped still has their money behind it.
    other = await post(service, "/v1/cards", {"person_id": card["person_id"]})
    assert await reason(service, card, other["card_id"], **shown) == "ok"


async def test_a_spend_that_no_till_could_take_is_not_published(service: Service) -> None:
    await holder(service)
    for kinds in (["chip"], ["chip", "uid", "totp"]):
        made = wallet() | {"requires": [{"presentation": kinds}]}
        status, problem = await service.call("PUT", f"/v1/services/{WALLET}", {"document": made})
        assert (status, problem["code"]) == (422, "rule_kind_not_served")
        assert problem["fields"][0]["at"] == "/document/requires"
        assert "till" in problem["detail"]
