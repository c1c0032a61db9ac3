"""A small client of the feed: takes a snapshot, applies changes, follows the stream; and documents to publish."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from cardservice.app import PLATFORM
from entitlements.credential.jws import verify_compact
from entitlements.credential.keys import KeySet
from entitlements.model import CardState, TenantId
from entitlements.wire.feed import (
    MANIFEST_TYP,
    AnyChange,
    CardChange,
    ChangesPage,
    FeedWorld,
    Manifest,
    Meta,
    ServiceChange,
    ServiceWithdrawn,
    WorldChange,
    decode_change,
)
from entitlements.wire.rows import unpack_row
from tests.support.reader import FakeReader
from tests.support.service import Service

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PATIENCE = 20.0
"""Seconds after which something that should have come will not come any more."""
JOB_PATIENCE = 60.0
"""The same for work in processes of their own, on a busy machine."""


def document(service_id: str = "wcc.leisure.gym", tenant: str = "wcc", **more: Any) -> dict[str, Any]:
    """A service for residents of its tenant; ``None`` takes a member away."""
    made = {
        "schema": "rescard.service/1",
        "id": service_id,
        "tenant": tenant,
        "kind": "access",
        "title": "Gym",
        "who": {"all": [{"resident_of": [tenant]}]},
        "offline": {"max_stale": "PT24H"},
    }
    return {name: value for name, value in (made | more).items() if value is not None}


async def publish(
    service: Service, made: dict[str, Any], *, shared_with: tuple[str, ...] = (), tenant: str | None = None
) -> dict[str, Any]:
    """Publish a document as its tenant; among many residents, wait for the work in the background."""
    status, answer = await service.call(
        "PUT",
        f"/v1/services/{made['id']}",
        {"document": made, "shared_with": list(shared_with)},
        tenant=tenant or made["tenant"],
        roles="admin",
    )
    assert status == 200, answer
    if answer["job_id"] is not None:
        await job_done(service, answer["job_id"], tenant=tenant or made["tenant"])
    return dict(answer)


async def job_done(service: Service, job: str, *, tenant: str = "wcc") -> dict[str, Any]:
    """Work in the background once it is over, which must have gone well."""
    async with asyncio.timeout(JOB_PATIENCE):
        while True:
            status, answer = await service.call("GET", f"/v1/jobs/{job}", tenant=tenant, roles="manager")
            assert status == 200, answer
            if answer["state"] in ("done", "failed"):
                assert answer["state"] == "done", answer
                return dict(answer)


@dataclass
class Mirror:
    """What a reader knows of a feed: state and profile (as JSON text) by card index, and the documents in force."""

    feed: str
    epoch: str
    number: int
    manifest: Manifest
    meta: Meta
    cards: dict[int, tuple[int, CardState, str]] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    world: FeedWorld = field(init=False)

    def __post_init__(self) -> None:
        self.world = self.meta.world

    def apply(self, change: AnyChange) -> None:
        """One change, which must be the next."""
        assert change.n == self.number + 1, f"change {change.n} came after {self.number}"
        self.number = change.n
        if isinstance(change, CardChange):
            self.cards[change.index] = (change.tag, change.state, json.dumps(change.profile))
        elif isinstance(change, ServiceChange):
            self.services[change.document["id"]] = change.document
        elif isinstance(change, ServiceWithdrawn):
            self.services.pop(change.service, None)
        elif isinstance(change, WorldChange):
            self.world = change.world


async def take_snapshot(reader: FakeReader, feed: str) -> Mirror:
    """Fetch, verify and unpack a snapshot."""
    status, answer = await reader.call("GET", f"/v1/feeds/{feed}/snapshot")
    assert status == 200, answer
    manifest = msgspec.json.decode(await verified_manifest(reader.service, feed, answer["manifest"]), type=Manifest)
    parts = {}
    for name, part in (("rows", manifest.rows), ("meta", manifest.meta)):
        status, octets = await reader.call("GET", f"/v1/feeds/{feed}/parts/{part.sha256}")
        assert status == 200
        assert (len(octets), hashlib.sha256(octets).hexdigest()) == (part.size, part.sha256)
        parts[name] = octets if part.zstd is None else zstd.decompress(octets)
        content = (len(parts[name]), hashlib.sha256(parts[name]).hexdigest())
        assert content == (part.content.size, part.content.sha256)
    meta = msgspec.json.decode(parts["meta"], type=Meta)
    mirror = Mirror(feed=feed, epoch=manifest.epoch, number=manifest.number, manifest=manifest, meta=meta)
    mirror.services = {entry.document["id"]: entry.document for entry in meta.services}
    for index, row in enumerate(memoryview(parts["rows"]).cast("Q")):
        tag, profile, state = unpack_row(row)
        if state is not None:
            mirror.cards[index] = (tag, state, json.dumps(meta.profiles[profile]))
    return mirror


async def verified_manifest(service: Service, feed: str, manifest: str) -> bytes:
    """The payload of a manifest that the feed's tenant signed."""
    tenant = feed.partition("/")[0]
    platform = service.app[PLATFORM]
    async with platform.db.transaction(tenant, read_only=True) as conn:
        jwks = await platform.keys.jwks(conn, tenant, "feed")
    return verify_compact(manifest, KeySet.from_jwks(TenantId(tenant), jwks), MANIFEST_TYP, TenantId(tenant))


async def pull(reader: FakeReader, mirror: Mirror, limit: int = 1000) -> Mirror:
    """Bring a mirror up to the head by pulling pages."""
    while True:
        path = f"/v1/feeds/{mirror.feed}/changes?epoch={mirror.epoch}&after={mirror.number}&limit={limit}"
        status, answer = await reader.call("GET", path)
        assert status == 200, answer
        page = msgspec.convert(answer, ChangesPage)
        for change in page.changes:
            mirror.apply(change)
        if mirror.number == page.head.number:
            return mirror


@dataclass
class Event:
    """One server-sent event."""

    name: str
    data: dict[str, Any]

    @property
    def change(self) -> AnyChange:
        """The change that it carries."""
        return decode_change(json.dumps(self.data["change"]))


async def read_events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Events of an open stream until it ends."""
    waiting = b""
    async for chunk in response.content.iter_any():
        *whole, waiting = (waiting + chunk).split(b"\n\n")
        for text in whole:
            name, data = text.split(b"\n")
            yield Event(name.removeprefix(b"event: ").decode(), json.loads(data.removeprefix(b"data: ")))


@asynccontextmanager
async def open_stream(
    reader: FakeReader, *mirrors: Mirror, buffer: int = 1 << 22
) -> AsyncIterator[AsyncIterator[Event]]:
    """The stream of these feeds from where the mirrors are. ``buffer`` bytes are taken in before they are asked for."""
    feeds = "&".join(f"feed={mirror.feed}:{mirror.epoch}:{mirror.number}" for mirror in mirrors)
    headers = {"Authorization": f"Reader {reader.assertion('GET', '/v1/stream')}"}
    timeout = aiohttp.ClientTimeout(total=None)

    def small_socket(address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        return made

    async with (
        aiohttp.ClientSession(read_bufsize=buffer, connector=aiohttp.TCPConnector(socket_factory=small_socket)) as http,
        http.get(f"{reader.service.url}/v1/stream?{feeds}", headers=headers, timeout=timeout) as response,
    ):
        assert response.status == 200, await response.text()
        yield read_events(response)


async def follow(events: AsyncIterator[Event], mirror: Mirror, until: int, *, pulled: bool = False) -> list[Event]:
    """Apply the stream's changes of a feed until a number is reached; every event that came on the way.

    Every change must be the next one; only who has pulled may get again what it has.
    """
    seen = []
    async with asyncio.timeout(PATIENCE):
        while mirror.number < until:
            event = await anext(events)
            seen.append(event)
            if event.name == "change" and event.data["feed"] == mirror.feed:
                if pulled and event.change.n <= mirror.number:
                    continue
                mirror.apply(event.change)
    return seen


async def next_event(events: AsyncIterator[Event], name: str) -> Event:
    """The next event of this name."""
    async with asyncio.timeout(PATIENCE):
        async for event in events:
            if event.name == name:
                return event
    raise AssertionError(f"the stream ended before an event {name}")


async def truth(service: Service, feed: str) -> dict[int, tuple[int, CardState, str]]:
    """What the database holds of a feed's cards, from the card's own row where it has it."""
    tenant, _, area = feed.partition("/")
    async with service.app[PLATFORM].db.transaction(tenant, read_only=True) as conn:
        rows = await conn.fetch(
            "SELECT c.card_index, c.card_id, c.state, p.body FROM card c "
            "JOIN card_row r USING (tenant, card_index) JOIN profile p USING (tenant, area, profile_id) "
            "WHERE c.tenant = $1 AND r.area = $2",
            tenant,
            area,
        )
    return {
        row["card_index"]: (
            int.from_bytes(row["card_id"][:4], "big"),
            CardState(row["state"]),
            json.dumps(json.loads(row["body"])),
        )
        for row in rows
    }


async def number_of(service: Service, feed: str) -> int:
    """The head of a feed."""
    tenant, _, area = feed.partition("/")
    async with service.app[PLATFORM].db.transaction(tenant, read_only=True) as conn:
        return int(await conn.fetchval("SELECT number FROM feed WHERE tenant = $1 AND area = $2", tenant, area))
