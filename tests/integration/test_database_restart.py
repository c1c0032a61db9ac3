"""The database is killed while people work: a clear answer, nothing half written, and it goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.migrations import migrate
from cardservice.settings import Settings
from tests.support.service import Service, add_tenant, run_service

DESKS = 4
"""Writers at once."""
CARDS_FIRST = 8
"""Cards issued before the lights go out, and again after."""


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of this test alone, which it may kill. Durable: what was committed must survive."""
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        yield server


@pytest.fixture
async def fragile(postgres: EmbeddedPostgres) -> AsyncIterator[Service]:
    """A service on that database, without Valkey."""
    await migrate(postgres.url())
    settings = Settings(
        database_url=postgres.url(),
        bind="127.0.0.1:0",
        key_encryption_key="a test secret of at least thirty-two characters",
        pool_size=6,
        poll_seconds=0.1,
    )
    await add_tenant(settings, "wcc", "Westminster City Council")
    async with run_service(settings) as running:
        await running.token()
        yield running


class _Desk:
    """Registers people and issues cards one after the other; a request that fails is sent again with the same key."""

    def __init__(self, service: Service, number: int) -> None:
        self._service = service
        self._number = number
        self.refusals: list[dict[str, Any]] = []
        self.cards: list[dict[str, Any]] = []
        self.issued = asyncio.Event()

    async def work(self, enough: asyncio.Event) -> None:
        turn = 0
        while not enough.is_set():
            turn += 1
            name = f"{self._number}-{turn}"
            person = await self._do("/v1/people", {"given_name": name, "family_name": "Exampleton"}, f"person {name}")
            card = await self._do("/v1/cards", {"person_id": person["person_id"]}, f"card {name}")
            self.cards.append(card)
            if len(self.cards) % CARDS_FIRST == 0:
                self.issued.set()

    async def _do(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
        while True:
            status, answer = await self._service.call("POST", path, body, key=key)
            if status == 201:
                return dict(answer)
            self.refusals.append({"http": status, **answer})


async def test_a_killed_database_costs_a_retry_and_no_card_is_lost_or_issued_twice(
    postgres: EmbeddedPostgres, fragile: Service
):
    desks = [_Desk(fragile, number) for number in range(DESKS)]
    with capture_logs() as logs:
        await _kill_amid_work(postgres, fragile, desks)
    refusals = [refusal for desk in desks for refusal in desk.refusals]
    assert {(refusal["http"], refusal["code"]) for refusal in refusals} == {(503, "database_away")}
    async with fragile.http.get(f"{fragile.url}/readyz") as response:
        assert response.status == 200
    said = [(line["log_level"], line["event"]) for line in logs]
    assert ("warning", "no hints through the database while it is away") in said
    assert ("warning", "what the answer needs is away") in said
    await _check_books(postgres.url(), [card for desk in desks for card in desk.cards])


async def _kill_amid_work(postgres: EmbeddedPostgres, fragile: Service, desks: list[_Desk]) -> None:
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for desk in desks:
            group.create_task(desk.work(enough))
        await asyncio.gather(*(desk.issued.wait() for desk in desks))
        postgres.kill()
        headers = {"Authorization": f"Bearer {await fragile.token()}"}
        async with fragile.http.get(f"{fragile.url}/v1/people", headers=headers) as response:
            problem = await response.json()
            assert (response.status, problem["code"]) == (503, "database_away")
            assert response.headers["Retry-After"] == "1"
            assert "postgres" not in problem["detail"].lower()
        async with fragile.http.get(f"{fragile.url}/readyz") as response:
            assert response.status == 503
            assert (await response.json())["parts"]["database"] == "down"
        async with fragile.http.get(f"{fragile.url}/healthz") as response:
            assert response.status == 200, "the process lives: restarting it would not help"
        for desk in desks:
            desk.issued.clear()
        await asyncio.to_thread(postgres.start)
        await asyncio.gather(*(desk.issued.wait() for desk in desks))
        enough.set()


async def _check_books(url: str, cards: list[dict[str, Any]]) -> None:
    """What the desks were told is what the database holds, and every write is whole."""
    conn = await asyncpg.connect(url)
    try:
        assert await conn.fetchval("SELECT count(*) FROM card") == len(cards)
        assert len({card["card_id"] for card in cards}) == len(cards)
        assert await conn.fetchval("SELECT count(*) FROM person") == len(cards)
        assert await conn.fetchval("SELECT count(*) FROM audit WHERE action = 'card.issued'") == len(cards)
        assert await conn.fetchval("SELECT count(*) FROM idempotency WHERE status = 0") == 0
        numbered, last = await conn.fetchrow("SELECT cards_numbered, issue_number FROM tenant")
        assert (numbered, last) == (len(cards), len(cards))
        numbers = [row["issue_number"] for row in await conn.fetch("SELECT issue_number FROM card ORDER BY 1")]
        assert numbers == list(range(1, len(cards) + 1)), "gapless"
    finally:
        await conn.close()
