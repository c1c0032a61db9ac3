"""What the fleet simulator needs around it: servers of its own, a council with cards, enrolled readers, and writers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cardservice.administration import add_token
from cardservice.db import Database
from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.embedded.process import Child, free_port
from cardservice.embedded.valkey import EmbeddedValkey
from cardservice.feed.hub import HINTS
from cardservice.feed.recompile import recompile
from cardservice.feed.writer import next_issue_number, recompile_tenant
from cardservice.migrations import migrate
from cardservice.settings import Settings
from cardservice.shared import Shared
from entitlements.credential.assertion import sign_assertion
from entitlements.credential.es256 import generate_private_key, public_key_to_jwk, thumbprint
from tests.support.service import add_tenant

SECRET: Final = "a benchmark secret of at least thirty-two characters"
AREA: Final = "leisure"
SITE: Final = "fleet-simulator"
BATCHES: Final = 10
"""Transactions a second of the bulk writer: a job that moves thousands of cards writes them in batches."""
START_SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Council:
    """A service, a council in it, and a token of its staff (role admin)."""

    url: str
    tenant: str
    token: str
    pid: int | None = None
    """The service's process, where it is ours."""

    def cpu_seconds(self) -> float:
        """What the service has used so far; 0 where it is not ours. From proc(5), fields utime and stime."""
        if self.pid is None:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Resident octets of the service's process; 0 where it is not ours. From proc(5), second field of statm."""
        if self.pid is None:
            return 0
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def feed(self) -> str:
        """The feed that is measured."""
        return f"{self.tenant}/{AREA}"

    async def call(self, http: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> Any:
        """The reply of one call.

        Raises:
            RuntimeError: the service refused; in its words.
        """
        headers = {"Authorization": f"Bearer {self.token}", "Rescard-Tenant": self.tenant}
        if method != "GET":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        async with http.request(method, self.url + path, json=body, headers=headers) as response:
            answer = await response.json()
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {answer.get('detail', answer)}")
            return answer


@asynccontextmanager
async def own_service(*, with_valkey: bool = True) -> AsyncIterator[tuple[Council, Settings]]:
    """PostgreSQL (durable, as it comes), Valkey and one service process on loopback, which end with the block."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rescard-fleet-")))
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey")) if with_valkey else None
        await migrate(postgres.url())
        settings = Settings(
            database_url=postgres.url(),
            redis_url=None if valkey is None else valkey.url,
            bind=f"127.0.0.1:{free_port()}",
            key_encryption_key=SECRET,
        )
        await add_tenant(settings, "wcc", "Westminster City Council")
        environment = os.environ | {
            "DATABASE_URL": settings.database_url,
            "RESCARD_BIND": settings.bind,
            "RESCARD_KEY_ENCRYPTION_KEY": SECRET,
            "RESCARD_LOG_LEVEL": "warning",
        }
        environment.pop("REDIS_URL", None)
        if settings.redis_url is not None:
            environment["REDIS_URL"] = settings.redis_url
        argv = [sys.executable, "-m", "cardservice", "serve"]
        service = Child("service", argv, log=folder / "service.log", env=environment)
        service.start()
        stack.callback(service.stop)
        url = f"http://{settings.bind}"
        await _answering(url, service)
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        token = await add_token(settings, tenant="wcc", label="fleet", roles=["admin"], expires_at=expires_at)
        yield Council(url=url, tenant="wcc", token=token, pid=service.pid), settings


async def _answering(url: str, service: Child) -> None:
    async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as http:
        while service.returncode is None:
            try:
                async with http.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError(f"the service ended:\n{service.tail()}")


async def prepare(council: Council, http: aiohttp.ClientSession) -> None:
    """A site and a service of the council, so that its feed has something to tell."""
    lane = {"lane": "1", "name": "Lane 1", "zone": "gym", "direction": "entry", "areas": [AREA]}
    await council.call(http, "PUT", f"/v1/sites/{SITE}", {"name": "Fleet simulator", "lanes": [lane]})
    name = f"{council.tenant}.{AREA}.fleet-simulator"
    document = {
        "schema": "rescard.service/1",
        "id": name,
        "tenant": council.tenant,
        "kind": "access",
        "title": "Fleet simulator",
        "who": {"all": [{"resident_of": [council.tenant]}]},
        "offline": {"max_stale": "PT24H"},
    }
    await council.call(http, "PUT", f"/v1/services/{name}", {"document": document})


@asynccontextmanager
async def enrolled(council: Council, http: aiohttp.ClientSession, count: int) -> AsyncIterator[list[dict[str, str]]]:
    """Reader ids with their keys (PKCS#8, PEM), of readers that are revoked when the block ends, however it ends.

    Left enrolled they would count as gates, offline since then, wherever the desk looks for a card.
    """
    identities: list[dict[str, str]] = []
    try:
        for number in range(count):
            identities.append(await _enrol(council, http, number))
        yield identities
    finally:
        for identity in identities:
            try:
                await council.call(http, "POST", f"/v1/readers/{identity['reader_id']}/revoke")
            except (aiohttp.ClientError, OSError, RuntimeError) as error:
                print(f"the simulated reader {identity['reader_id']} is still enrolled: {error}", file=sys.stderr)


async def _enrol(council: Council, http: aiohttp.ClientSession, number: int) -> dict[str, str]:
    wanted = {"site": SITE, "name": f"Simulated reader {number}", "feeds": [council.feed]}
    code = (await council.call(http, "POST", "/v1/readers/codes", wanted))["code"]
    key = generate_private_key()
    path = "/v1/readers/enrol"
    assertion = sign_assertion(
        reader_id=thumbprint(key.public_key()),
        key=key,
        method="POST",
        path=path,
        audience="rescard",
        now=int(time.time()),
    )
    body = {"code": code, "public_key": public_key_to_jwk(key.public_key())}
    async with http.post(council.url + path, json=body, headers={"Authorization": f"Reader {assertion}"}) as reply:
        answer = await reply.json()
        if reply.status != 201:
            raise RuntimeError(f"a reader was not enrolled: {answer}")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {"reader_id": answer["reader_id"], "pem": pem}


async def place_of(council: Council, http: aiohttp.ClientSession) -> tuple[str, int]:
    """Epoch and number of the feed."""
    areas = (await council.call(http, "GET", "/v1/areas"))["items"]
    found = next(area for area in areas if area["area"] == AREA)
    return str(found["epoch"]), int(found["number"])


class DeskWriter:
    """Cards held and released one by one over HTTP, as a desk does it; each is one transaction and one change."""

    def __init__(self, council: Council, http: aiohttp.ClientSession, cards: list[str]) -> None:
        self._council = council
        self._http = http
        self._cards = cards
        self._turn = 0

    @classmethod
    async def make(cls, council: Council, http: aiohttp.ClientSession, cards: int) -> Self:
        """With new cards of invented people."""
        made = []
        for number in range(cards):
            names = {"given_name": "Simulated", "family_name": f"Resident {number}"}
            person = await council.call(http, "POST", "/v1/people", names)
            card = await council.call(http, "POST", "/v1/cards", {"person_id": person["person_id"]})
            made.append(card["card_id"])
        return cls(council, http, made)

    async def write(self, rate: int, seconds: float) -> None:
        """``rate`` changes a second for so long, evenly; a change waits for none before it."""
        async with asyncio.TaskGroup() as group:
            began = time.monotonic()
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                group.create_task(self._next())

    async def _next(self) -> None:
        turn, self._turn = self._turn, self._turn + 1
        event = "suspend" if (turn // len(self._cards)) % 2 == 0 else "resume"
        path = f"/v1/cards/{self._cards[turn % len(self._cards)]}/{event}"
        await self._council.call(self._http, "POST", path, {"reason": "fleet simulator"})


class BulkWriter:
    """Many cards in each transaction, as a job in another service process does it, with its hint through Valkey."""

    def __init__(self, settings: Settings, tenant: str, people: list[tuple[uuid.UUID, bytes]]) -> None:
        self._db = Database(settings.database_url, pool_size=2)
        self._shared = Shared(settings)
        self._tenant = tenant
        self._people = people

    @classmethod
    async def make(cls, settings: Settings, tenant: str, cards: int) -> Self:
        """With new cards of invented residents; their feed begins a new epoch."""
        people = [(uuid.uuid4(), hashlib.sha256(f"fleet {n}".encode()).digest()[:8]) for n in range(cards)]
        ids, card_ids = [person for person, _ in people], [card for _, card in people]
        db = Database(settings.database_url, pool_size=2)
        await db.open()
        async with db.transaction(tenant) as conn:
            await conn.execute(
                "INSERT INTO person (tenant, person_id, given_name, family_name) "
                "SELECT $1, id, 'Simulated', 'Resident' FROM unnest($2::uuid[]) AS id",
                tenant,
                ids,
            )
            await conn.execute(
                "INSERT INTO fact (tenant, person_id, kind, name, until_date) "
                "SELECT $1, id, 'residency', $1, current_date + 3 + (place % 20)::integer "
                "FROM unnest($2::uuid[]) WITH ORDINALITY AS new (id, place)",
                tenant,
                ids,
            )
            await conn.execute(
                "INSERT INTO card (tenant, card_id, card_index, person_id, state, kid, issue_number, issued_at, "
                "expires_at) SELECT $1, new.card, 100000 + place, new.person, 'active', "
                "(SELECT kid FROM signing_key WHERE tenant = $1 AND purpose = 'card' AND state = 'active'), 1, now(), "
                "now() + interval '1 year' "
                "FROM unnest($2::uuid[], $3::bytea[]) WITH ORDINALITY AS new (person, card, place)",
                tenant,
                ids,
                card_ids,
            )
            await recompile_tenant(conn, tenant, emit_changes=False)
        await db.close()
        return cls(settings, tenant, people)

    async def write(self, rate: int, seconds: float) -> None:
        """``rate`` changes a second for so long, in batches."""
        await self._db.open()
        await self._shared.open()
        size, at, state = rate // BATCHES, 0, "revoked"
        try:
            began = time.monotonic()
            for number in range(int(BATCHES * seconds)):
                await asyncio.sleep(max(0.0, began + number / BATCHES - time.monotonic()))
                if at + size > len(self._people):
                    at, state = 0, "active" if state == "revoked" else "revoked"
                await self._batch(self._people[at : at + size], state)
                at += size
        finally:
            await self._shared.close()
            await self._db.close()

    async def _batch(self, people: list[tuple[uuid.UUID, bytes]], state: str) -> None:
        async with self._db.transaction(self._tenant) as conn:
            number = await next_issue_number(conn, self._tenant)
            await conn.execute(
                "UPDATE card SET state = $3 WHERE tenant = $1 AND card_id = ANY ($2)",
                self._tenant,
                [card for _, card in people],
                state,
            )
            ids = [person for person, _ in people]
            await recompile(conn, self._tenant, issue_number=number, now=datetime.now(UTC), people=ids)
        await self._shared.hint(HINTS, "fleet simulator")


async def commit_times(settings: Settings, tenant: str, after: int, folder: Path) -> Path:
    """A file with the time (ms since the epoch) at which each change was written, just before its commit, by number."""
    db = Database(settings.database_url, pool_size=1)
    await db.open()
    async with db.transaction(tenant, read_only=True) as conn:
        rows = await conn.fetch(
            "SELECT number, extract(epoch FROM written_at) * 1000 AS at FROM feed_change "
            "WHERE tenant = $1 AND area = $2 AND number > $3",
            tenant,
            AREA,
            after,
        )
    await db.close()
    file = folder / "written.json"
    file.write_text(json.dumps({row["number"]: float(row["at"]) for row in rows}))
    return file
