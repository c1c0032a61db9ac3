"""The gates page: whether whoever runs the gates sees what they do, at once, and sees no more than they may."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from cardservice.app import PLATFORM
from cardservice.settings import Settings
from tests.support.feed import document, number_of, publish, take_snapshot
from tests.support.reader import FakeReader, add_site, enrolled_reader
from tests.support.registry import issue_card
from tests.support.service import Service, run_service

PATIENCE_SECONDS = 20
"""How long a test waits for an event that a working service sends in a fraction of a second."""


async def read(service: Service, path: str = "/gates", **headers: str) -> tuple[int, str]:
    async with service.http.get(service.url + path, headers=headers) as response:
        return response.status, await response.text()


async def report(
    reader: FakeReader, light: str = "red", headline: str = "This card cannot be used.", **lane: Any
) -> None:
    status = reader.status(feeds={"wcc/leisure": (str(uuid4()), 1)})
    status["lanes"][0] |= {"light": light, "headline": headline} | lane
    assert (await reader.call("POST", "/v1/reader/status", status))[0] == 200


class Watcher:
    """Somebody with the page open: the events of the stream, one after the other."""

    def __init__(self, content: Any) -> None:
        self._content = content

    async def until(self, text: str) -> dict[str, str]:
        """The fragments of the first event in which ``text`` stands."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                line = await self._content.readline()
                assert line, "the stream has ended"
                if line.startswith(b"data: "):
                    fragments: dict[str, str] = json.loads(line[6:])["fragments"]
                    if any(text in html for html in fragments.values()):
                        return fragments

    async def end(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self._content.readline():
                pass


@asynccontextmanager
async def watching(service: Service, **headers: str) -> AsyncIterator[Watcher]:
    async with service.http.get(service.url + "/gates/events", headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        yield Watcher(response.content)


async def test_the_page_says_by_shape_word_and_colour_what_a_gate_does(service: Service) -> None:
    reader = await enrolled_reader(service)
    await report(reader)
    await reader.upload(reader.tap(outcome="deny", reason="card_revoked", card="CAcGBQQDAgE"))
    status, html = await read(service)
    assert status == 200
    assert 'class="light light--deny"' in html
    assert "<path" in html.partition('class="light__lamp">')[2].partition("</span>")[0]
    assert ">Stop</p>" in html
    assert "“This card cannot be used.”" in html
    assert "Card revoked; it cannot be made valid again." in html
    assert "wcc.leisure.gym" in html
    assert ">Ready<" not in html


async def test_the_page_shows_no_more_of_a_card_than_its_last_characters(service: Service) -> None:
    reader = await enrolled_reader(service)
    await reader.upload(reader.tap(card="CAcGBQQDAgE", detail="Ada Example"))
    _, html = await read(service)
    assert "card …AgE" not in html
    assert "card …DAgE" in html
    assert "CAcGBQQDAgE" not in html
    assert "Ada" not in html


@pytest.mark.parametrize(
    ("lane", "words"),
    [
        ({"light": "green"}, "Go"),
        ({"light": "red"}, "Stop"),
        ({"light": "amber"}, "Ask staff"),
        ({"light": "blue"}, "Look here"),
        ({"light": "off"}, "Ready"),
        ({"light": "ultraviolet"}, "Ready"),
        ({"state": "fire", "light": "green", "gate_up": False}, "Fire: gates are open"),
        ({"gate_up": False}, "Gate does not answer"),
        ({"source_up": False}, "Reader does not answer"),
        ({"lane": "9"}, "Not set up"),
    ],
)
async def test_every_state_of_a_lane_has_its_words(service: Service, lane: dict[str, Any], words: str) -> None:
    reader = await enrolled_reader(service)
    await report(reader, **lane)
    assert f'<p class="light__text">{words}</p>' in (await read(service))[1]


async def test_a_gate_that_went_silent_is_shown_so_and_counted(service: Service) -> None:
    reader = await enrolled_reader(service)
    await report(reader, light="green")
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute(
            "UPDATE reader SET last_seen_at = now() - interval '3 days' WHERE reader_id = $1", UUID(reader.reader_id)
        )
    _, html = await read(service)
    assert '<p class="light__text">Offline</p>' in html
    assert ">Go<" not in html
    assert re.search(r"Readers offline</dt>\s*<dd><span class=\"number__value\">1</span>", html)


async def test_a_site_without_reader_and_a_council_without_site_are_no_error(service: Service) -> None:
    assert "No sites yet." in (await read(service))[1]
    await add_site(service)
    _, html = await read(service)
    assert "No reader is enrolled for this site." in html


async def stopped(service: Service, card: dict[str, Any], event: str = "revoke") -> int:
    """Stop a card; the number of its change in the feed."""
    body = {"reason": "found in the street"}
    status, answer = await service.call("POST", f"/v1/cards/{card['card_id']}/{event}", body)
    assert status == 200, answer
    return await number_of(service, "wcc/leisure")


async def test_the_page_says_at_which_gates_a_stopped_card_is_refused_by_now(service: Service) -> None:
    await publish(service, document())
    card, other = await issue_card(service), await issue_card(service)
    assert 'class="told' not in (await read(service))[1], "nothing was stopped yet"
    here, there = await enrolled_reader(service), await enrolled_reader(service, site="queen-mother")
    epoch = (await take_snapshot(here, "wcc/leisure")).epoch
    async with watching(service) as watcher:
        await watcher.until("Gates working")
        number = await stopped(service, card)
        async with service.app[PLATFORM].db.transaction("wcc") as conn:
            await conn.execute(
                "UPDATE reader SET last_seen_at = date_trunc('day', now()) - interval '9 days' + interval '14 hours' "
                "WHERE reader_id = $1",
                UUID(there.reader_id),
            )
        await here.call("POST", "/v1/reader/status", here.status(feeds={"wcc/leisure": (epoch, number)}))
        parts = await watcher.until("Effective at 2 of 4 gates, Lane 1 at Queen-Mother offline since ")
    line = next(html for html in parts.values() if "Effective at" in html)
    assert f"Card …{card['card_id'][-4:]}, revoked at " in line
    assert 'class="told told--alarm"' in line
    assert card["card_id"] not in line
    # Another council's staff see nothing of it, and the next card that is stopped takes its place.
    await there.call("POST", "/v1/reader/status", there.status(feeds={"wcc/leisure": (epoch, number)}))
    assert "Effective at 4 of 4 gates." in (await read(service))[1]
    await stopped(service, other, "suspend")
    html = (await read(service))[1]
    assert f"Card …{other['card_id'][-4:]}, held at " in html
    assert "Effective at 0 of 4 gates, Lane 1 at Porchester not yet, " in html


async def test_a_council_sees_its_own_stopped_cards_only(service: Service, closed: Service) -> None:
    await publish(service, document())
    await enrolled_reader(service)
    await stopped(service, await issue_card(service))
    for tenant, told in (("wcc", True), ("rbkc", False)):
        token = await service.token(tenant, "operator")
        _, html = await read(closed, Authorization=f"Bearer {token}")
        assert ("Effective at 0 of 2 gates" in html) is told


HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"


async def test_a_hostile_name_is_text_and_nothing_more(service: Service) -> None:
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        lanes = [{"lane": '1"><b>', "name": HOSTILE, "direction": "entry", "areas": ["leisure"], "services": None}]
        await conn.execute(
            "INSERT INTO site (tenant, site_id, name, lanes) VALUES ('wcc', 'porchester', $1, $2)", HOSTILE, lanes
        )
        await conn.execute("UPDATE tenant SET brand = $1", {"colour": "red;}*{background:url(//x)}"})
    reader = await enrolled_reader(service)
    await report(reader, lane='1"><b>', name=HOSTILE, headline=HOSTILE)
    await reader.upload(reader.tap(lane='1"><b>', service=HOSTILE))
    _, html = await read(service)
    async with watching(service) as watcher:
        live = "".join((await watcher.until("porchester daemon")).values())
    for text in (html, live):
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "<b>" not in text
        assert text.count("&lt;script&gt;alert(1)") >= 4
    assert "url(" not in (await read(service, "/gates/brand.css"))[1]


async def test_nothing_on_the_page_needs_what_its_policy_forbids(service: Service) -> None:
    async with service.http.get(service.url + "/gates") as response:
        policy = response.headers["Content-Security-Policy"]
        html = await response.text()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", html)
    assert re.search(r'<html lang="en-GB">', html)
    for tag in ("<main", "<header", "<footer", "<h1"):
        assert html.count(tag) == 1
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


async def test_the_page_refreshes_itself_without_javascript_until_told_not_to(service: Service) -> None:
    assert '<noscript><meta http-equiv="refresh"' in (await read(service))[1]
    assert 'http-equiv="refresh"' not in (await read(service, "/gates?refresh=off"))[1]


async def test_style_sheets_are_kept_by_browsers_and_no_other_file_is_served(service: Service) -> None:
    _, html = await read(service)
    [address] = re.findall(r'href="(/static/gates\.css\?v=\w+)"', html)
    async with service.http.get(service.url + address) as response:
        assert (response.status, response.content_type) == (200, "text/css")
        assert "immutable" in response.headers["Cache-Control"]
        tag = response.headers["ETag"]
    async with service.http.get(service.url + address, headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with service.http.get(service.url + "/static/gates.css?v=old") as response:
        assert response.headers["Cache-Control"] == "no-cache"
    for name in ("routes.py", "..%2froutes.py", "%2e%2e%2fpages.py", "none"):
        assert (await read(service, f"/static/{name}"))[0] == 404


async def test_a_watcher_sees_a_tap_and_a_light_as_they_come(service: Service) -> None:
    reader = await enrolled_reader(service)
    await report(reader, light="off")
    async with watching(service) as watcher:
        whole = await watcher.until(">Ready<")
        assert whole.keys() == {"board"}
        await reader.upload(reader.tap(outcome="refer", reason="eligibility_unknown"))
        news = await watcher.until("We need to check something first.")
        assert "board" not in news
        await report(reader, light="green", headline="Welcome")
        await watcher.until(">Go</p>")


async def test_a_watcher_sees_a_new_site_appear(service: Service) -> None:
    async with watching(service) as watcher:
        await watcher.until("No sites yet.")
        reader = await enrolled_reader(service)
        await report(reader)
        assert (await watcher.until("Porchester")).keys() == {"board"}


async def test_what_arrives_at_one_process_is_seen_at_another(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that only a hint through Valkey can bring it within the test's patience.
    monkeypatch.setattr("cardservice.web.board.LOOK_SECONDS", 3600.0)
    reader = await enrolled_reader(service)
    await report(reader, light="off")
    async with run_service(settings) as other, watching(other) as watcher:
        await watcher.until(">Ready<")
        await report(reader, light="green")
        await watcher.until(">Go</p>")


async def test_what_arrives_at_one_process_is_seen_at_another_without_valkey(
    settings: Settings, service: Service
) -> None:
    reader = await enrolled_reader(service)
    await report(reader, light="off")
    async with (
        run_service(settings.model_copy(update={"redis_url": None})) as other,
        watching(other) as watcher,
    ):
        await watcher.until(">Ready<")
        await report(reader, light="green")
        await watcher.until(">Go</p>")


async def test_two_watchers_and_one_that_leaves_disturb_nobody(service: Service) -> None:
    reader = await enrolled_reader(service)
    async with watching(service) as first:
        async with watching(service) as second:
            await asyncio.gather(first.until("Porchester"), second.until("Porchester"))
        await report(reader, light="green")
        await first.until(">Go</p>")


async def test_an_operator_sees_the_gates_of_the_own_council_only(service: Service, closed: Service) -> None:
    here = await enrolled_reader(service)
    there = await enrolled_reader(service, tenant="rbkc", site="chelsea", feeds=("rbkc/leisure",))
    await here.upload(here.tap())
    await there.upload(there.tap(), there.tap())
    for tenant, own, other in (("wcc", "Porchester", "Chelsea<"), ("rbkc", "Chelsea<", "Porchester")):
        token = await closed.token(tenant, "operator")
        status, html = await read(closed, Authorization=f"Bearer {token}")
        assert status == 200
        assert own in html
        assert other not in html
        assert re.search(rf"Allowed today</dt>\s*<dd><span class=\"number__value\">{1 + (tenant == 'rbkc')}<", html)
        async with watching(closed, Authorization=f"Bearer {token}") as watcher:
            assert other not in (await watcher.until(own))["board"]


async def test_a_stream_ends_when_the_service_does(settings: Settings, service: Service) -> None:
    async with run_service(settings) as other:
        response = await service.http.get(other.url + "/gates/events")
        watcher = Watcher(response.content)
        await watcher.until("No sites yet.")
        ending = asyncio.create_task(watcher.end())
    await ending
    response.close()
