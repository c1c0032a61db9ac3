"""Real servers for the tests, owned by fixtures: one PostgreSQL and one Valkey a test worker, a database a test."""

from __future__ import annotations

import asyncio
import gc
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest

from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.embedded.valkey import EmbeddedValkey
from cardservice.migrations import migrate
from cardservice.settings import Settings
from tests.support.service import Service, add_tenant, run_service

# A pause of a busy machine says nothing of the example that it came upon.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """What five thousand tests are made of lives as long as the run: a full collection of it takes a fifth of a second,
    longer than some tests leave a server to answer.
    """
    gc.collect()
    gc.freeze()


SECRET = "a test secret of at least thirty-two characters"


def _with_database(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The superuser's URL: DATABASE_URL where it is set, else an embedded server of this worker."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server.url()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """REDIS_URL where it is set, else an embedded Valkey of this worker."""
    given = os.environ.get("REDIS_URL")
    if given:
        yield given
        return
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """Name of a migrated, empty database that tests copy."""
    name = f"rescard_template_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(postgres_url, f"CREATE DATABASE {name}"))
    asyncio.run(migrate(_with_database(postgres_url, name)))
    yield name
    asyncio.run(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """A migrated database of this test alone."""
    name = f"rescard_{uuid.uuid4().hex[:16]}"
    asyncio.run(_execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template_database}"))
    yield _with_database(postgres_url, name)
    asyncio.run(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    """Settings of a service on a free port of 127.0.0.1."""
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        bind="127.0.0.1:0",
        key_encryption_key=SECRET,
        demo_pages=True,
        stream_beat_seconds=0.3,
        poll_seconds=0.1,
        pool_size=6,
    )


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """A running service with the tenants wcc and rbkc, over real HTTP."""
    await add_tenant(settings, "wcc", "Westminster City Council")
    await add_tenant(settings, "rbkc", "Royal Borough of Kensington and Chelsea")
    async with run_service(settings) as running:
        yield running


@pytest.fixture
async def closed(settings: Settings, service: Service) -> AsyncIterator[Service]:
    """A second process of the same service, with the page for staff only."""
    async with run_service(settings.model_copy(update={"demo_pages": False})) as running:
        yield running


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder of this test alone."""
    return tmp_path
