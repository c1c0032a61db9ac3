"""Links and bindings: whether a resident gets the card onto the phone, and nobody else gets it anywhere."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from cardservice.app import PLATFORM
from entitlements.credential import VerifiedCard, verify_presentation
from entitlements.credential.claims import Channel, UnverifiedPresentation
from entitlements.credential.encoding import b64url_encode
from tests.support.feed import document, publish
from tests.support.phone import FakePhone, card_keys, link_for, link_in_place_of, now_ms, sha256
from tests.support.registry import add_person, issue_card
from tests.support.service import Service
from tests.support.state import get, post, resident


async def bound(service: Service, **more: Any) -> tuple[str, FakePhone]:
    """A resident and their phone with a card."""
    person = (await resident(service, card=False, **more))["person_id"]
    phone = FakePhone(service)
    status, answer = await phone.bind(await link_for(service, person))
    assert status == 201, answer
    return person, phone


async def state_of(service: Service, card_id: str) -> str:
    return str((await get(service, f"/v1/cards/{card_id}"))["state"])


async def test_a_link_brings_a_live_card_that_opens_gates_with_the_phones_key_and_only_with_it(service: Service):
    await publish(service, document())
    person, phone = await bound(service)
    kept = await get(service, f"/v1/cards/{phone.card['card_id']}")
    assert (kept["person_id"], kept["channel"], kept["state"]) == (person, "live", "active")
    assert (phone.card["state"], phone.card["holder"], phone.card["council"]) == (
        "active", "Juniper", "Westminster City Council",
    )  # fmt: skip
    assert [opening["service"] for opening in phone.card["opens"]] == ["wcc.leisure.gym"]
    keys, now = await card_keys(service), int(time.time())
    shown = verify_presentation(UnverifiedPresentation(data=phone.live_code(now), media="qr"), keys, now)
    assert isinstance(shown, VerifiedCard)
    assert (shown.presentation, shown.sequence, shown.claims.device_key) == (Channel.LIVE, now, phone.point)
    thief = FakePhone(service, card=phone.card)
    stolen = verify_presentation(UnverifiedPresentation(data=thief.live_code(now), media="qr"), keys, now)
    assert not isinstance(stolen, VerifiedCard)


async def test_the_link_is_kept_as_a_hash_and_shown_as_a_code_to_scan(service: Service) -> None:
    person = await add_person(service)
    reply = await post(service, f"/v1/people/{person}/phone-links", {"minutes": 10}, roles="desk")
    assert reply["url"].startswith(f"{service.settings.public_url}/card/l/")
    assert "<svg" in reply["qr_svg"]
    ends = datetime.fromisoformat(reply["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=9) < ends <= timedelta(minutes=10)
    link = reply["url"].rpartition("/")[2]
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        (row,) = await conn.fetch("SELECT * FROM phone_link")
        audit = await conn.fetch("SELECT detail::text FROM audit WHERE action = 'phone.link'")
    assert row["link_sha256"] == sha256(link)
    assert not any(link in str(value) for value in (*row.values(), *(str(each) for each in audit)))
    assert len(audit) == 1


async def test_only_the_desk_makes_links(service: Service) -> None:
    card, roles = await issue_card(service), "manager,operator,auditor"
    for path in (f"/v1/people/{card['person_id']}/phone-links", f"/v1/cards/{card['card_id']}/phone-link"):
        assert (await service.call("POST", path, roles=roles))[0] == 403


async def test_nobody_is_flooded_with_links(service: Service) -> None:
    person, other = await add_person(service), await add_person(service)
    for _ in range(10):
        await link_for(service, person)
    status, problem = await service.call("POST", f"/v1/people/{person}/phone-links")
    assert (status, problem["code"]) == (429, "too_many_links")
    await link_for(service, other)


async def test_a_link_works_once_and_of_two_phones_that_open_it_together_one_gets_a_card(service: Service) -> None:
    person = await add_person(service)
    link = await link_for(service, person)
    phones = [FakePhone(service) for _ in range(4)]
    answers = await asyncio.gather(*(phone.bind(link) for phone in phones))
    assert sorted(status for status, _ in answers) == [201, 403, 403, 403]
    assert {answer["code"] for status, answer in answers if status == 403} == {"link_refused"}
    assert len((await get(service, f"/v1/cards?person_id={person}"))["items"]) == 1


async def test_a_reply_lost_on_the_way_costs_no_card(service: Service) -> None:
    link = await link_for(service, await add_person(service))
    phone = FakePhone(service)
    first, again = (await phone.bind(link))[1], (await phone.bind(link))[1]
    assert (again["card_id"], again["cwt"]) == (first["card_id"], first["cwt"])
    # Too late for a repetition as well: a link is over when it is over.
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE phone_link SET expires_at = now()")
    assert (await phone.bind(link))[0] == 403


async def test_a_link_that_is_old_or_that_nobody_made_opens_nothing(service: Service) -> None:
    for wrong in ("x", "A" * 22, "é", "' OR true --"):
        status, answer = await FakePhone(service).bind(wrong)
        assert (status, answer["code"]) == (403, "link_refused")
    link = await link_for(service, await add_person(service))
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE phone_link SET expires_at = now()")
    assert (await FakePhone(service).bind(link))[1]["code"] == "link_refused"


async def test_whoever_tries_links_is_stopped_and_the_neighbour_behind_the_same_address_is_not(
    service: Service,
) -> None:
    good = await link_for(service, await add_person(service))
    phone = FakePhone(service)
    codes = [(await phone.bind(f"guess-{count}"))[1]["code"] for count in range(21)]
    assert codes == ["link_refused"] * 20 + ["too_many_attempts"]
    assert (await phone.bind(good))[0] == 201


async def test_a_key_that_is_not_held_gets_no_card_and_uses_no_link_up(service: Service) -> None:
    link = await link_for(service, await add_person(service))
    phone, other = FakePhone(service), FakePhone(service)
    assert (await phone.bind(link, signature=other.binding(link)["signature"]))[1]["code"] == "proof_refused"
    assert (await phone.bind(link, public_key=other.binding(link)["public_key"]))[1]["code"] == "proof_refused"
    assert (await phone.bind(link, signature="A" * 86))[1]["code"] == "proof_refused"
    assert (await phone.bind(link, public_key=b64url_encode(b"\x05" + bytes(32)).decode()))[0] == 422
    # Signed for another link.
    assert (await phone.bind(link, signature=phone.binding("another")["signature"]))[0] == 401
    for off in (-61_000, 61_000):
        assert (await phone.bind(link, at=now_ms() + off))[1]["code"] == "proof_out_of_time"
    assert (await phone.bind(link))[0] == 201


async def test_a_link_of_one_council_is_no_link_of_the_other(service: Service) -> None:
    there = await add_person(service, tenant="rbkc")
    link = await link_for(service, there, tenant="rbkc")
    phone = FakePhone(service)
    assert (await phone.bind(link))[1]["tenant"] == "rbkc"
    assert (await service.call("POST", f"/v1/people/{there}/phone-links"))[0] == 404
    assert (await service.call("POST", f"/v1/cards/{phone.card['card_id']}/phone-link"))[0] == 404
    for tenant in ("wcc", "*", "x'", "nowhere"):
        assert (await phone.ask(tenant=tenant))[1]["code"] == "proof_refused"
    assert (await phone.ask())[0] == 200


async def test_a_lost_phones_card_stays_lost_and_its_successor_is_another_phones(service: Service) -> None:
    person, lost = await bound(service)
    card = lost.card["card_id"]
    await post(service, f"/v1/cards/{card}/lost", wanted=200)
    fresh = FakePhone(service)
    assert (await fresh.bind(await link_in_place_of(service, card)))[0] == 201
    kept = await get(service, f"/v1/cards/{fresh.card['card_id']}")
    assert (kept["replaces"], kept["person_id"]) == (card, person)
    status, answer = await lost.ask()
    assert (status, answer["state"], answer["cwt"], answer["opens"]) == (200, "replaced", None, [])
    assert answer["card_id"] == card  # a finder is not led to the new card
    # A card is replaced once; the second phone gets a link of its own.
    status, answer = await service.call("POST", f"/v1/cards/{card}/phone-link")
    assert (status, answer["code"]) == (409, "card_state")


async def test_an_unused_link_ends_no_card_and_a_used_one_ends_the_old_card_at_once(service: Service) -> None:
    _, phone = await bound(service)
    link = await link_in_place_of(service, phone.card["card_id"])
    assert (await phone.ask())[1]["state"] == "active"
    assert (await FakePhone(service).bind(link))[0] == 201
    assert (await phone.ask())[1]["state"] == "replaced"


async def test_a_hold_cannot_be_walked_round_by_a_link_made_before_it(service: Service) -> None:
    _, phone = await bound(service)
    card = phone.card["card_id"]
    link = await link_in_place_of(service, card)
    await post(service, f"/v1/cards/{card}/suspend", wanted=200)
    status, answer = await FakePhone(service).bind(link)
    assert (status, answer["code"]) == (409, "card_state")
    assert (await service.call("POST", f"/v1/cards/{card}/phone-link"))[1]["code"] == "card_state"
    await post(service, f"/v1/cards/{card}/resume", wanted=200)
    assert (await FakePhone(service).bind(link))[0] == 201  # the refusal did not use it up


async def test_two_phones_of_one_person_stand_side_by_side(service: Service) -> None:
    person, first = await bound(service)
    second = FakePhone(service)
    assert (await second.bind(await link_for(service, person)))[0] == 201
    await post(service, f"/v1/cards/{first.card['card_id']}/lost", wanted=200)
    assert ((await first.ask())[1]["state"], (await second.ask())[1]["state"]) == ("lost", "active")


async def test_a_phone_is_told_what_became_of_its_card_and_given_no_code(service: Service) -> None:
    for event, state in (("suspend", "suspended"), ("lost", "lost"), ("revoke", "revoked")):
        _, phone = await bound(service)
        await post(service, f"/v1/cards/{phone.card['card_id']}/{event}", wanted=200)
        _, answer = await phone.ask()
        assert (answer["state"], answer["cwt"]) == (state, None)


async def test_a_request_of_a_phone_that_somebody_kept_is_answered_once(service: Service) -> None:
    _, phone = await bound(service)
    kept = phone.asking()
    assert (await phone.send("/v1/phone/card", kept))[0] == 200
    assert (await phone.send("/v1/phone/card", kept))[1]["code"] == "proof_used"
    older = phone.asking(at=kept["at"] - 1)
    assert (await phone.send("/v1/phone/card", older))[1]["code"] == "proof_used"
    for off in (-61_000, 61_000):
        assert (await phone.ask(at=now_ms() + off))[1]["code"] == "proof_out_of_time"
    assert (await FakePhone(service, card=phone.card).ask())[1]["code"] == "proof_refused"
    assert (await phone.ask(card_id="AAAAAAAAAAA"))[1]["code"] == "proof_refused"
    paper = await issue_card(service)
    assert (await phone.ask(card_id=paper["card_id"]))[1]["code"] == "proof_refused"
    assert (await phone.ask())[0] == 200


async def test_a_phone_renews_a_card_whose_end_is_near_once_and_keeps_its_key(service: Service) -> None:
    _, phone = await bound(service)
    old = phone.card["card_id"]
    assert (await phone.ask())[1]["card_id"] == old
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE card SET expires_at = now() + interval '29 days'")
    asked = [phone.asking() for _ in range(3)]
    answers = [await phone.send("/v1/phone/card", body) for body in asked]
    assert [status for status, _ in answers] == [200] * 3
    (fresh,) = {answer["card_id"] for _, answer in answers}
    assert fresh != old
    assert await state_of(service, old) == "replaced"
    assert answers[0][1]["expires_at"] - time.time() > 700 * 86_400
    phone.card = answers[0][1]
    assert (await phone.ask())[1]["card_id"] == fresh
    keys, now = await card_keys(service), int(time.time())
    shown = verify_presentation(UnverifiedPresentation(data=phone.live_code(now), media="qr"), keys, now)
    assert isinstance(shown, VerifiedCard)


async def test_a_card_renewed_at_the_desk_comes_to_its_phone_and_a_replaced_one_does_not(service: Service) -> None:
    _, phone = await bound(service)
    fresh = await post(service, f"/v1/cards/{phone.card['card_id']}/renew")
    assert (await phone.ask())[1]["card_id"] == fresh["card_id"]
    phone.card |= {"card_id": fresh["card_id"]}
    await post(service, f"/v1/cards/{fresh['card_id']}/replace", {"cause": "stolen"})
    _, answer = await phone.ask()
    assert (answer["card_id"], answer["state"], answer["cwt"]) == (fresh["card_id"], "lost", None)


async def test_a_phone_gets_its_card_signed_anew_with_the_key_that_signs_now(service: Service) -> None:
    _, phone = await bound(service)
    before = phone.card["cwt"]
    key = await post(service, "/v1/keys", {"purpose": "card"})
    forced = {"force": True, "reason": "the old one is out"}
    await post(service, f"/v1/keys/{key['kid']}/activate", forced, wanted=200)
    phone.card = (await phone.ask())[1]
    assert phone.card["cwt"] != before
    now = int(time.time())
    shown = verify_presentation(
        UnverifiedPresentation(data=phone.live_code(now), media="qr"), await card_keys(service), now
    )
    assert isinstance(shown, VerifiedCard)
    assert shown.kid == key["kid"]


async def test_a_resident_reads_in_plain_words_what_the_card_opens(service: Service) -> None:
    await publish(service, document(requires=[{"factor": "pin"}, {"presentation": ["live", "chip"]}]))
    await publish(service, document("wcc.leisure.pool", title="Pool", requires=[{"presentation": ["static"]}]))
    await publish(service, document("wcc.leisure.none", title="Not theirs", who={"evidence": "unicorn"}))
    person, phone = await bound(service)
    gym, pool = phone.card["opens"]
    assert (gym["title"], gym["live"], gym["static"]) == ("Gym", True, False)
    assert (pool["title"], pool["live"], pool["static"]) == ("Pool", False, True)
    assert "You need your PIN." in gym["lines"]
    assert gym["lines"][0] == "At every site that has a gate for this service."
    blocked = {"kind": "block", "name": "wcc.leisure.pool"}
    await post(service, f"/v1/people/{person}/facts", blocked)
    assert [opening["title"] for opening in (await phone.ask())[1]["opens"]] == ["Gym"]


async def test_what_a_phone_is_told_holds_no_more_of_a_person_than_a_first_name(service: Service) -> None:
    _, phone = await bound(service, email="juniper@example.org", phone="07700900123")
    text = msgspec.json.encode(phone.card).decode()
    for private in ("Exampleton", "1990", "juniper@", "07700"):
        assert private not in text
