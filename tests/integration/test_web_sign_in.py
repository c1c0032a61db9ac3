"""Signing in to the gates page: nobody sees it without a token of an operator, and a browser keeps no token."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from cardservice.app import PLATFORM
from tests.integration.test_web_gates import read
from tests.support.service import Service


async def test_without_a_token_the_page_asks_to_sign_in(closed: Service) -> None:
    status, html = await read(closed)
    assert status == 401
    assert 'action="/gates/sign-in"' in html
    assert "Porchester" not in html
    assert (await read(closed, "/gates/events"))[0] == 401
    assert (await read(closed, Authorization="Bearer rsc_wrong"))[0] == 401
    desk = await closed.token(roles="desk")
    assert (await read(closed, Authorization=f"Bearer {desk}"))[0] == 401


async def sign_in(service: Service, token: str, **headers: str) -> Any:
    return await service.http.post(
        service.url + "/gates/sign-in", data={"token": token}, headers=headers, allow_redirects=False
    )


async def test_a_browser_signs_in_with_a_token_until_the_token_ends(closed: Service) -> None:
    token = await closed.token("wcc", "operator")
    answer = await sign_in(closed, token)
    assert (answer.status, answer.headers["Location"]) == (303, "/gates")
    cookie = answer.cookies["rescard_gates"]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"]) == ("Strict", "/gates")
    assert token not in cookie.value
    closed.http.cookie_jar.clear()
    kept = {"Cookie": f"rescard_gates={cookie.value}"}
    assert (await read(closed, **kept))[0] == 200
    changed = cookie.value[:-1] + ("0" if cookie.value[-1] != "0" else "1")
    later = re.sub(r"\.(\d+)\.", lambda found: f".{int(found[1]) + 1}.", cookie.value)
    for wrong in (changed, later, "", "a.b.c", "é"):
        closed.http.cookie_jar.clear()
        assert (await read(closed, Cookie=f"rescard_gates={wrong}"))[0] == 401
    async with closed.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE api_token SET revoked_at = now()")
    assert (await read(closed, **kept))[0] == 401


async def test_a_cookie_ends_with_the_shift(closed: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardservice.web.access.COOKIE_SECONDS", -1)
    answer = await sign_in(closed, await closed.token("wcc", "operator"))
    value = answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    closed.http.cookie_jar.clear()
    assert (await read(closed, Cookie=f"rescard_gates={value}"))[0] == 401


async def test_signing_in_is_refused_to_wrong_tokens_foreign_pages_and_guessers(closed: Service) -> None:
    good = await closed.token("wcc", "operator")
    assert (await sign_in(closed, good, **{"Sec-Fetch-Site": "cross-site"})).status == 403
    assert (await sign_in(closed, await closed.token(roles="desk"))).status == 401
    answer = await sign_in(closed, '"><script>')
    assert "There is a problem" in await answer.text()
    assert [(await sign_in(closed, "rsc_guess")).status for _ in range(20)] == [401] * 18 + [429] * 2
    async with closed.http.post(closed.url + "/gates/sign-in", json={"token": good}) as response:
        assert response.status == 429


@pytest.mark.parametrize(
    ("charset", "body"), [("utf-8", b"token=\xff"), ("nonsense", b"token=x"), ("utf-16", b"token=x")]
)
async def test_a_form_that_is_no_text_is_refused_and_is_no_fault_of_ours(closed: Service, charset: str, body: bytes):
    kind = f"application/x-www-form-urlencoded; charset={charset}"
    async with closed.http.post(
        closed.url + "/gates/sign-in", data=body, headers={"Content-Type": kind}, allow_redirects=False
    ) as response:
        assert (response.status, (await response.json())["code"]) == (400, "not_a_form")


async def test_a_token_that_is_no_text_is_an_unknown_token(closed: Service) -> None:
    # A client of HTTP would not send such bytes, so they are written as they are.
    host, _, port = closed.url.removeprefix("http://").partition(":")
    stream, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /gates HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
    answer = await stream.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 401 ")
