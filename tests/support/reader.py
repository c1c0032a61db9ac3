"""An enrolled reader without gates: its own key, a fresh assertion for each request."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential.assertion import sign_assertion
from entitlements.credential.es256 import generate_private_key, public_key_to_jwk, thumbprint
from tests.support.service import Service

ANSWER = tuple[int, Any]


@dataclass
class FakeReader:
    """Signs what it is told to send. Status and JSON come back; nothing is raised for a refusal."""

    service: Service
    key: ec.EllipticCurvePrivateKey
    reader_id: str = ""
    tenant: str = ""
    site: str = ""

    def assertion(self, method: str, path: str, **changes: Any) -> str:
        """An assertion for one request; ``changes`` are arguments of ``sign_assertion``."""
        arguments: dict[str, Any] = {
            "reader_id": self.reader_id or thumbprint(self.key.public_key()),
            "key": self.key,
            "method": method,
            "path": path,
            "audience": "rescard",
            "now": int(time.time()),
        }
        return sign_assertion(**(arguments | changes))

    async def call(
        self, method: str, path: str, body: Any = None, *, assertion: str | None = None, data: bytes | None = None
    ) -> ANSWER:
        """One signed call. ``data`` is sent as it is, in place of ``body``."""
        signed = self.assertion(method, path.partition("?")[0]) if assertion is None else assertion
        headers = {"Authorization": f"Reader {signed}"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        url = self.service.url + path
        sent = io.BytesIO(data) if data is not None else None
        async with self.service.http.request(method, url, json=body, data=sent, headers=headers) as response:
            if response.content_type in ("application/json", "application/problem+json"):
                return response.status, await response.json()
            return response.status, await response.read()

    async def enrol(self, code: str, **changes: Any) -> ANSWER:
        """Enrol with a code; the fake takes the identity that it is given."""
        body = {"code": code, "public_key": public_key_to_jwk(self.key.public_key())}
        path = "/v1/readers/enrol"
        status, answer = await self.call("POST", path, body, assertion=self.assertion("POST", path, **changes))
        if status == 201:
            self.reader_id, self.tenant, self.site = answer["reader_id"], answer["tenant"], answer["site"]["site"]
        return status, answer

    def status(self, *, feeds: dict[str, tuple[str, int]] | None = None, **changes: Any) -> dict[str, Any]:
        """A ``ReaderStatus`` of a healthy reader; ``feeds`` are ``{name: (epoch, number)}``."""
        now = int(time.time() * 1000)
        marks = {"applied_at": now, "confirmed_at": now, "cards": 2000}
        lane = {"lane": "1", "name": "Lane 1", "direction": "entry", "state": "idle", "light": "red"}
        return {
            "version": "0.1.0",
            "site": self.site,
            "sent_at": now,
            "started_at": now - 60_000,
            "feeds": {name: {"epoch": epoch, "number": n, **marks} for name, (epoch, n) in (feeds or {}).items()},
            "lanes": [lane | {"headline": "Hold your card to the reader", "source_up": True, "gate_up": True}],
            "clock_offset_ms": 12,
            "clock_trusted": True,
            "outbox_waiting": 0,
            "outbox_parked": 0,
        } | changes

    def tap(self, **changes: Any) -> dict[str, Any]:
        """A ``Tap`` of this reader's site, allowed just now."""
        return {
            "t": "tap",
            "tap_id": str(uuid4()),
            "site": self.site,
            "lane": "1",
            "direction": "entry",
            "at": int(time.time() * 1000),
            "outcome": "allow",
            "reason": "ok",
            "media": "qr",
            "online": True,
            "clock_trusted": True,
            "clock_offset_ms": 12,
            "card_tenant": self.tenant,
            "card": "AQIDBAUGBwg",
            "service": "wcc.leisure.gym",
            "service_version": 1,
            "feed": f"{self.tenant}/leisure",
            "feed_number": 1,
        } | changes

    async def upload(self, *items: dict[str, Any]) -> ANSWER:
        """``POST /v1/taps``."""
        return await self.call("POST", "/v1/taps", {"items": list(items)})


async def add_site(
    service: Service, *, tenant: str = "wcc", site: str = "porchester", name: str = "Porchester"
) -> None:
    """A site with two lanes, put straight into the database."""
    from cardservice.app import PLATFORM

    lanes = [
        {"lane": "1", "name": "Lane 1", "zone": "gym", "direction": "entry", "areas": ["leisure"], "services": None},
        {"lane": "2", "name": "Lane 2", "zone": "gym", "direction": "exit", "areas": ["leisure"], "services": None},
    ]
    async with service.app[PLATFORM].db.transaction(tenant) as conn:
        await conn.execute(
            "INSERT INTO site (tenant, site_id, name, lanes) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            tenant,
            site,
            name,
            lanes,
        )


async def enrolled_reader(
    service: Service, *, tenant: str = "wcc", site: str = "porchester", feeds: tuple[str, ...] = ("wcc/leisure",)
) -> FakeReader:
    """A reader with its own key at a site, which is made where there is none."""
    await add_site(service, tenant=tenant, site=site, name=site.title())
    body = {"site": site, "name": f"{site} daemon", "feeds": list(feeds)}
    status, answer = await service.call("POST", "/v1/readers/codes", body, tenant=tenant)
    assert status == 201, answer
    reader = FakeReader(service=service, key=generate_private_key())
    status, enrolled = await reader.enrol(answer["code"])
    assert status == 201, enrolled
    return reader
