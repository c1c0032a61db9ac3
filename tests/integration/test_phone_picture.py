"""The card without JavaScript: whether an old browser gets one, and what others could do with the link."""

from __future__ import annotations

import re
import time
from http.cookies import Morsel
from itertools import pairwise
from typing import Any

from PIL import Image, ImageDraw

from cardservice.app import PLATFORM
from entitlements.credential import VerifiedCard, verify_presentation
from entitlements.credential.claims import Channel, UnverifiedPresentation
from tests.support.feed import document, publish
from tests.support.phone import FakePhone, card_keys, link_for, link_in_place_of
from tests.support.qr import read_qr
from tests.support.registry import add_person
from tests.support.service import Service
from tests.support.state import get, post, resident

MODULE = 6
"""Pixels a module when the picture is drawn for the scanner."""


async def take(service: Service, link: str, **headers: str) -> Any:
    """Press the button of the link's page."""
    service.http.cookie_jar.clear()
    return await service.http.post(f"{service.url}/card/l/{link}", headers=headers, allow_redirects=False)


async def look(service: Service, path: str = "/card/picture", cookie: str = "") -> tuple[int, str]:
    service.http.cookie_jar.clear()
    headers = {"Cookie": f"rescard_card={cookie}"} if cookie else {}
    async with service.http.get(service.url + path, headers=headers) as response:
        return response.status, await response.text()


async def taken(service: Service, link: str) -> Morsel[str]:
    """The cookie of a browser that used the link."""
    answer = await take(service, link)
    assert (answer.status, answer.headers["Location"]) == (303, "/card/picture"), await answer.text()
    cookie: Morsel[str] = answer.cookies["rescard_card"]
    return cookie


def scan(svg: str) -> bytes:
    """What a scanner reads from the picture: its path is drawn square by square."""
    squares = [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+),([\d.]+)H", svg)]
    steps = sorted({x for x, _ in squares})
    size = min(after - before for before, after in pairwise(steps))
    far = round(max(max(pair) for pair in squares) / size) + 5
    picture = Image.new("L", (far * MODULE, far * MODULE), 255)
    draw = ImageDraw.Draw(picture)
    for x, y in squares:
        left, top = round(x / size) * MODULE, round(y / size) * MODULE
        draw.rectangle((left, top, left + MODULE - 1, top + MODULE - 1), fill=0)
    return bytes(read_qr(picture).bytes)


async def test_without_javascript_the_link_brings_a_picture_for_services_that_take_one(service: Service) -> None:
    await publish(service, document())
    await publish(service, document("wcc.leisure.pool", title="Pool", requires=[{"presentation": ["live"]}]))
    person = (await resident(service, card=False))["person_id"]
    cookie = await taken(service, await link_for(service, person))
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/card")
    status, html = await look(service, cookie=cookie.value)
    assert status == 200
    opens, needs_more = html.split("What needs more than a picture")
    assert ("Gym" in opens, "Pool" in opens, "Pool" in needs_more) == (True, False, True)
    assert "Last checked with Westminster City Council" in html
    status, svg = await look(service, "/card/picture.svg", cookie.value)
    assert status == 200
    keys = await card_keys(service)
    text = scan(svg)
    assert text.startswith(b"RP1:")
    card = verify_presentation(UnverifiedPresentation(data=text, media="qr"), keys, int(time.time()))
    assert isinstance(card, VerifiedCard)
    assert (card.presentation, card.claims.device_key) == (Channel.STATIC, None)
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        (row,) = await conn.fetch("SELECT * FROM phone")
    assert not any(cookie.value in str(value) for value in row.values())


async def test_a_robot_that_looks_into_messages_uses_no_link_up(service: Service) -> None:
    link = await link_for(service, await add_person(service))
    for _ in range(3):
        status, html = await look(service, f"/card/l/{link}")
        assert status == 200
        assert '<form method="post">' in html
        assert link not in html
    answer = await take(service, link, **{"Sec-Fetch-Site": "cross-site"})
    assert answer.status == 403
    assert (await FakePhone(service).bind(link))[0] == 201
    status, html = await look(service, f"/card/l/{link}")
    assert (status, "This link cannot be used" in html, "<form" in html) == (200, True, False)


async def test_a_link_brings_a_picture_or_a_phone_and_never_both(service: Service) -> None:
    person = await add_person(service)
    link = await link_for(service, person)
    first = await taken(service, link)
    assert (await take(service, link)).status == 403
    assert (await FakePhone(service).bind(link))[0] == 403
    assert (await look(service, cookie=first.value))[0] == 200
    assert len((await get(service, f"/v1/cards?person_id={person}"))["items"]) == 1
    assert (await take(service, "nonsense")).status == 403
    assert (await look(service, "/card/l/nonsense"))[0] == 404


async def test_a_picture_says_what_became_of_its_card_and_shows_no_code(service: Service) -> None:
    person = await add_person(service)
    cookie = (await taken(service, await link_for(service, person))).value
    (card,) = (await get(service, f"/v1/cards?person_id={person}"))["items"]
    path = f"/v1/cards/{card['card_id']}"
    await post(service, f"{path}/suspend", wanted=200)
    assert "Your card is on hold" in (await look(service, cookie=cookie))[1]
    assert (await look(service, "/card/picture.svg", cookie))[0] == 404
    await post(service, f"{path}/resume", wanted=200)
    assert (await look(service, "/card/picture.svg", cookie))[0] == 200
    await post(service, f"{path}/lost", wanted=200)
    assert "This card was reported lost" in (await look(service, cookie=cookie))[1]
    fresh = (await taken(service, await link_in_place_of(service, card["card_id"]))).value
    assert "You have a newer card" in (await look(service, cookie=cookie))[1]
    assert (await look(service, "/card/picture.svg", fresh))[0] == 200


async def test_whoever_has_no_cookie_or_another_sees_no_card(service: Service) -> None:
    await taken(service, await link_for(service, await add_person(service)))
    for cookie in ("", "x", "é", "A" * 43):
        status, html = await look(service, cookie=cookie)
        assert (status, "There is no picture of a card here" in html) == (404, True)
        assert (await look(service, "/card/picture.svg", cookie))[0] == 404


async def test_a_hostile_name_is_text_and_nothing_more(service: Service) -> None:
    hostile = "<script>alert(1)</script>"
    await publish(service, document(title=hostile))
    person = (await resident(service, card=False, given_name=hostile))["person_id"]
    cookie = await taken(service, await link_for(service, person))
    _, html = await look(service, cookie=cookie.value)
    assert html.count("&lt;script&gt;alert(1)") >= 2
    assert "<script>" not in html


async def test_nothing_on_the_pages_needs_what_their_policy_forbids(service: Service) -> None:
    link = await link_for(service, await add_person(service))
    for path in ("/card/", f"/card/l/{link}", "/card/l/nonsense", "/card/picture"):
        async with service.http.get(service.url + path) as response:
            html = await response.text()
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert response.headers["Referrer-Policy"] == "no-referrer"
        assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:|https?://", html)
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html))
        for address in re.findall(r'(?:src|href)="(/card/assets/[^"]+)"', html):
            async with service.http.get(service.url + address) as response:
                assert response.status == 200
                assert "immutable" in response.headers["Cache-Control"]
    async with service.http.get(f"{service.url}/card/assets/older/card.js") as response:
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-cache")
    for wrong in ("worker.js", "nothing.js", "..%2fpages.py"):
        async with service.http.get(f"{service.url}/card/assets/older/{wrong}") as response:
            assert response.status == 404
    async with service.http.get(f"{service.url}/card", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (308, "/card/")
