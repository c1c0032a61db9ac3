"""Other clients and other carriers of the feed: what the page on its protocol promises to whoever relies on it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from cardservice.app import PLATFORM
from cardservice.feed.writer import recompile_tenant
from entitlements.wire.feed import AnyChange, Beat, Manifest, decode_change
from readers.daemon import Daemon
from tests.support.feed import document, number_of, publish
from tests.support.reader import add_site, enrolled_reader
from tests.support.service import Service
from tests.support.state import fact, post, resident, swims, upload, visit
from tests.support.tinyfeed import TinyFeed
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.site import ready, running, site_settings, until

FEED = "wcc/leisure"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocols" / "feed.md"
_EXAMPLES = re.compile(r"^```json (\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@asynccontextmanager
async def a_reader(service: Service, folder: Path, url: str | None = None) -> AsyncIterator[Daemon]:
    """A whole reader of the site, which keeps up by its stream."""
    await add_site(service)
    body = {"site": "porchester", "name": "gates", "feeds": [FEED]}
    code = str((await post(service, "/v1/readers/codes", body))["code"])
    folder.mkdir()
    async with running(site_settings(url or service.url, folder, ("1",)), Devices(), code=code) as daemon:
        yield daemon


def rows(daemon: Daemon, tiny: TinyFeed) -> dict[int, Any]:
    """What the reader has of each card that the other client knows, in that one's form."""
    found = {index: daemon.feeds[FEED].lookup(index, tag) for index, (tag, _, _) in tiny.rows.items()}
    return {
        index: None if one is None else (tiny.rows[index][0], str(one[0]), one[1].to_wire())
        for index, one in found.items()
    }


async def test_a_client_written_after_the_page_ends_with_the_readers_rows(service: Service, tmp_path: Path) -> None:
    await publish(service, document(**swims(3)))
    cards = [await resident(service) for _ in range(4)]
    fake = await enrolled_reader(service)
    async with a_reader(service, tmp_path / "reader") as daemon:
        await ready(daemon)
        tiny = TinyFeed(service.http, service.url, FEED, fake.reader_id, fake.key)
        await tiny.snapshot()
        await post(service, f"/v1/cards/{cards[0]['card_id']}/revoke", {"reason": "lost"}, wanted=200)
        await tiny.pull()
        for card in cards[1:3]:
            await post(service, f"/v1/cards/{card['card_id']}/suspend", {"reason": "asked"}, wanted=200)
        await fact(service, cards[3]["person_id"], kind="residency", name="rbkc")
        assert await upload(fake, visit(fake, cards[3])) == ["stored"]
        cards.append(await resident(service))
        await publish(service, document("wcc.leisure.pool", title="Pool"))
        head = await number_of(service, FEED)
        await tiny.follow(head)
        await until(lambda: daemon.feeds[FEED].cache is not None and daemon.feeds[FEED].cache.number == head)  # type: ignore[union-attr]
        assert tiny.number == head
        assert rows(daemon, tiny) == tiny.rows
        assert sorted(state for _, state, _ in tiny.rows.values()) == ["active"] * 2 + ["revoked"] + ["suspended"] * 2
        cache = daemon.feeds[FEED].cache
        assert cache is not None
        assert sum(key[0] == "units" for key in tiny.state) == cache.contents.holdings.units.count == 1
        assert tiny.services.keys() == {"wcc.leisure.gym", "wcc.leisure.pool"}
        # A copy that was current and one that was kept back end the same.
        late = TinyFeed(service.http, service.url, FEED, fake.reader_id, fake.key)
        await late.snapshot()
        await late.pull()
        assert (late.rows, late.services, late.state, late.one) == (tiny.rows, tiny.services, tiny.state, tiny.one)


async def test_that_client_begins_anew_after_the_database_went_back(service: Service) -> None:
    await publish(service, document())
    await resident(service)
    fake = await enrolled_reader(service)
    tiny = TinyFeed(service.http, service.url, FEED, fake.reader_id, fake.key)
    await tiny.snapshot()
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await recompile_tenant(conn, "wcc", emit_changes=False)
    with pytest.raises(LookupError):
        await tiny.pull()
    await tiny.snapshot()
    await tiny.pull()
    assert len(tiny.rows) == 1


@dataclass
class Carrier:
    """A caching proxy that knows nothing of feeds: what says it is immutable is kept for ever and given to anybody."""

    origin: str
    http: aiohttp.ClientSession
    kept: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    given: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        if request.path in self.kept:
            self.given += 1
            body, headers = self.kept[request.path]
            return web.Response(body=body, headers=headers)
        if request.path == "/v1/stream":
            return web.Response(status=503)  # it carries files; a reader that has no stream polls
        sent = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        url, body = self.origin + request.path_qs, await request.read()
        async with self.http.request(request.method, url, data=body or None, headers=sent) as reply:
            octets = await reply.read()
            names = ("Content-Type", "ETag", "Cache-Control", "Rescard-Time")
            headers = {name: reply.headers[name] for name in names if name in reply.headers}
            if reply.status == 200 and "immutable" in headers.get("Cache-Control", ""):
                self.fetched.append(request.path)
                self.kept[request.path] = (octets, headers)
            return web.Response(status=reply.status, body=octets, headers=headers)


@asynccontextmanager
async def carrier(service: Service) -> AsyncIterator[tuple[str, Carrier]]:
    made = Carrier(service.url, service.http)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", made
    finally:
        await runner.cleanup()


async def test_a_cache_in_between_carries_snapshots_and_cannot_change_one(service: Service, tmp_path: Path) -> None:
    await publish(service, document())
    card = await resident(service)
    index, tag = card["index"], int.from_bytes(_card_id(card), "big")
    async with carrier(service) as (url, between):
        for name in ("first", "second"):
            async with a_reader(service, tmp_path / name, url) as daemon:
                await ready(daemon)
                assert daemon.feeds[FEED].lookup(index, tag) is not None
        assert len(between.fetched) == 2, "each part left the service once"
        assert between.given >= 2, "and was given to the second reader"
        good, before = dict(between.kept), between.given
        for path, (octets, headers) in good.items():
            between.kept[path] = (bytes([octets[0] ^ 1]) + octets[1:], headers)
        async with a_reader(service, tmp_path / "third", url) as daemon:
            await until(lambda: between.given >= before + 2)  # it asked, was given it, and asked again
            assert daemon.feeds[FEED].lookup(index, tag) is None
            between.kept.update(good)
            await until(lambda: daemon.feeds[FEED].lookup(index, tag) is not None)


def _card_id(card: dict[str, Any]) -> bytes:
    from entitlements.credential.encoding import b64url_decode

    return b64url_decode(card["card_id"].encode())[:4]


def test_every_example_of_the_page_is_what_the_code_reads() -> None:
    import msgspec

    seen = set()
    for kind, text in _EXAMPLES.findall(PAGE.read_text("utf-8")):
        if kind == "change":
            seen.add(type(decode_change(text)))
        else:
            msgspec.json.decode(text, type={"manifest": Manifest, "beat": Beat}[kind])
    assert seen == set(AnyChange.__args__), "and no kind of change is left out"
