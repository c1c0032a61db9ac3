"""Whoever gets at a link, a picture or a copied request gets no card of somebody else's by it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from cardservice.phone.links import MAX_FAILURES
from cardservice.phone.proof import WINDOW_MS, bind_message, contact_message
from entitlements.credential.encoding import b64url_decode, b64url_encode
from entitlements.credential.es256 import ORDER, compress, generate_private_key, sign_message
from entitlements.credential.live import live_message
from tests.support.service import Service
from tests.support.state import post, resident

Phone = ec.EllipticCurvePrivateKey


def text(octets: bytes) -> str:
    return b64url_encode(octets).decode()


def now() -> int:
    return time.time_ns() // 1_000_000


async def link_of(service: Service) -> str:
    person = await resident(service, card=False)
    reply = await post(service, f"/v1/people/{person['person_id']}/phone-links")
    return str(reply["url"]).rpartition("/")[2]


async def ask(service: Service, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    async with service.http.post(service.url + path, json=body) as response:
        return response.status, await response.json()


async def bind(
    service: Service, link: str, phone: Phone, *, signer: Phone | None = None, at: int | None = None
) -> tuple[int, Any]:
    """Ask for a card by a link with a phone's key; ``signer`` signs in its place."""
    at, point = now() if at is None else at, compress(phone.public_key())
    signature = sign_message(signer or phone, bind_message(link, point, at))
    body = {"link": link, "public_key": text(point), "at": at, "signature": text(signature)}
    return await ask(service, "/v1/phone/bind", body)


def contact(card: dict[str, Any], phone: Phone, at: int, message: bytes | None = None) -> dict[str, Any]:
    """What a phone sends to hear of its card; ``message`` is signed in place of the right one."""
    right = contact_message(card["tenant"], b64url_decode(card["card_id"].encode()), at)
    signature = sign_message(phone, right if message is None else message)
    return {"tenant": card["tenant"], "card_id": card["card_id"], "at": at, "signature": text(signature)}


async def test_a_link_is_one_phones_and_no_second_phone_gets_a_card_by_it(service: Service) -> None:
    link, phone, thief = await link_of(service), generate_private_key(), generate_private_key()
    assert (await bind(service, link, phone, signer=thief))[1]["code"] == "proof_refused"
    for wrong in (now() - WINDOW_MS - 5_000, now() + WINDOW_MS + 5_000):
        assert (await bind(service, link, phone, at=wrong))[1]["code"] == "proof_out_of_time"
    status, card = await bind(service, link, phone)
    assert status == 201, "what was refused before has not used it up"
    status, refused = await bind(service, link, thief)
    assert (status, refused["code"]) == (403, "link_refused")
    # The phone itself, whose reply was lost, gets the same card; and a link that never was has the same words.
    assert (await bind(service, link, phone))[1]["card_id"] == card["card_id"]
    unknown = (await bind(service, "never-was", thief))[1]
    assert {**unknown, "request_id": ""} == {**refused, "request_id": ""}
    async with service.http.post(f"{service.url}/card/l/{link}", allow_redirects=False) as response:
        assert response.status == 403
        assert "Set-Cookie" not in response.headers


async def test_two_phones_at_the_same_moment_get_one_card_by_a_link(service: Service) -> None:
    link = await link_of(service)
    answers = await asyncio.gather(*(bind(service, link, generate_private_key()) for _ in range(6)))
    assert sorted(status for status, _ in answers) == [201] + [403] * 5


async def test_a_copied_request_and_a_photographed_code_ask_for_nobodys_card(service: Service) -> None:
    phone, thief = generate_private_key(), generate_private_key()
    _, card = await bind(service, await link_of(service), phone)
    _, other = await bind(service, await link_of(service), thief)
    at = now()
    honest = contact(card, phone, at)
    status, told = await ask(service, "/v1/phone/card", honest)
    assert (status, told["card_id"]) == (200, card["card_id"])
    raw = b64url_decode(honest["signature"].encode())
    twin = text(raw[:32] + (ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big"))
    for again in (honest, honest | {"signature": twin}, contact(card, phone, at - 1)):
        assert (await ask(service, "/v1/phone/card", again))[1]["code"] == "proof_used"
    cwt, point = b64url_decode(card["cwt"].encode()), compress(phone.public_key())
    at += 1
    for forged in (
        contact(card, thief, at),
        contact(other, phone, at),
        contact(card | {"tenant": "rbkc"}, phone, at),
        contact(card | {"tenant": "*"}, phone, at),
        contact(card, phone, at, live_message(cwt, at // 1000)),  # cut out of a code that the phone showed
        contact(card, phone, at, bind_message("link", point, at)),
        contact(card, phone, at, hashlib.sha256(cwt).digest()),
        contact({"tenant": "wcc", "card_id": text(bytes(8))}, phone, at),
    ):
        status, problem = await ask(service, "/v1/phone/card", forged)
        assert (status, problem["code"]) == (401, "proof_refused")
        assert problem["detail"] == "No phone with this key has this card."


async def test_another_sites_page_cannot_use_a_link_up_and_a_robot_does_not(service: Service) -> None:
    link = await link_of(service)
    address = f"{service.url}/card/l/{link}"
    async with service.http.get(address) as response:
        assert response.status == 200
        assert response.headers["Referrer-Policy"] == "no-referrer", "the link goes to nobody else from here"
        assert "script-src" in response.headers["Content-Security-Policy"]
        assert "unsafe" not in response.headers["Content-Security-Policy"]
    for foreign in ("cross-site", "same-site"):
        async with service.http.post(address, headers={"Sec-Fetch-Site": foreign}, allow_redirects=False) as response:
            assert (response.status, (await response.json())["code"]) == (403, "cross_site")
    assert (await bind(service, link, generate_private_key()))[0] == 201


async def test_guessing_links_is_stopped(service: Service) -> None:
    answers = [await bind(service, f"guess-{count}", generate_private_key()) for count in range(MAX_FAILURES + 1)]
    assert [status for status, _ in answers] == [403] * MAX_FAILURES + [429]


async def test_a_lost_phone_is_told_no_code_any_more(service: Service) -> None:
    phone = generate_private_key()
    _, card = await bind(service, await link_of(service), phone)
    await post(service, f"/v1/cards/{card['card_id']}/lost", {"reason": "in the park"}, wanted=200)
    status, told = await ask(service, "/v1/phone/card", contact(card, phone, now()))
    assert (status, told["state"], told["cwt"], told["opens"]) == (200, "lost", None, [])
