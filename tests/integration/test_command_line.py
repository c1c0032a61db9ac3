"""The command line: set-up, serving, stopping, and errors that a person can read."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import asyncpg
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.conftest import SECRET

START_SECONDS = 30.0
"""A process that has not said that it serves by then does not start."""


def _environment(database_url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESCARD_", "REDIS_URL"))}
    return kept | {"DATABASE_URL": database_url, "RESCARD_KEY_ENCRYPTION_KEY": SECRET} | more


async def _run(environment: Mapping[str, str], *arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cardservice", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def _serving(
    environment: Mapping[str, str], *arguments: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A service in a process of its own, and its address as it says it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cardservice", "serve", *arguments),
        env={**environment, "RESCARD_LOG_FORMAT": "json"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                line = await process.stderr.readline()
                assert line, "it ended before it served"
                told = json.loads(line)
                if told.get("event") == "serving":
                    break
        yield process, told["address"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_council_is_set_up_and_served_with_four_commands(database_url: str):
    environment = _environment(database_url)
    assert (await _run(environment, "migrate"))[1] == "nothing to apply: the schema is up to date\n"
    code, out, _ = await _run(environment, "tenant", "add", "wcc", "--name", "Westminster City Council")
    assert (code, out) == (0, "added wcc: Westminster City Council\n")
    code, out, err = await _run(environment, "tenant", "add", "wcc", "--name", "Again")
    assert (code, out, err) == (1, "", "Error: Nothing was done: there is a council wcc already\n")
    code, token, _ = await _run(environment, "token", "create", "--tenant", "wcc", "--role", "desk", "--label", "Desk")
    assert (code, bool(re.fullmatch(r"rsc_[\w-]{43}\n", token))) == (0, True)
    conn = await asyncpg.connect(database_url)
    try:
        audit = await conn.fetch("SELECT actor, action FROM audit ORDER BY audit_id")
    finally:
        await conn.close()
    assert [tuple(row) for row in audit] == [("command line", "tenant.added"), ("command line", "token.created")]
    async with _serving(environment, "--bind", "127.0.0.1:0") as (_, url), aiohttp.ClientSession() as http:
        headers = {"Authorization": f"Bearer {token.strip()}"}
        async with http.get(f"{url}/v1/people", headers=headers) as response:
            assert response.status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_service_that_is_asked_to_stop_lets_the_request_in_hand_finish(
    database_url: str, number: signal.Signals
):
    environment = _environment(database_url)
    await _run(environment, "tenant", "add", "wcc", "--name", "Westminster City Council")
    _, token, _ = await _run(environment, "token", "create", "--tenant", "wcc", "--role", "desk", "--label", "Desk")
    blocker = await asyncpg.connect(database_url)
    try:
        async with _serving(environment, "--bind", "127.0.0.1:0") as (process, url), aiohttp.ClientSession() as http:
            lock = blocker.transaction()
            await lock.start()
            await blocker.execute("LOCK TABLE person IN ACCESS EXCLUSIVE MODE")
            headers = {"Authorization": f"Bearer {token.strip()}", "Idempotency-Key": "one"}
            body = {"given_name": "Ada", "family_name": "Exampleton"}
            request = asyncio.create_task(_post(http, f"{url}/v1/people", body, headers))
            await _until_waiting(blocker)
            process.send_signal(number)
            assert process.stderr is not None
            async for line in process.stderr:
                if json.loads(line)["event"].startswith("stopping"):
                    break
            await lock.rollback()
            assert await request == 201
            assert await process.wait() == 0
    finally:
        await blocker.close()


async def _post(http: aiohttp.ClientSession, url: str, body: object, headers: Mapping[str, str]) -> int:
    async with http.post(url, json=body, headers=headers) as response:
        return response.status


async def _until_waiting(conn: asyncpg.Connection) -> None:
    """Until some session waits for the lock that ``conn`` holds."""
    while not await conn.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ):
        await conn.execute("SELECT pg_sleep(0.01)")
        await conn.execute("SELECT pg_stat_clear_snapshot()")


async def test_several_processes_serve_one_address_and_stop_together(database_url: str):
    from cardservice.embedded.process import free_port

    environment = _environment(database_url)
    bind = f"127.0.0.1:{free_port()}"
    async with _serving(environment, "--bind", bind, "--workers", "2") as (process, url):
        async with aiohttp.ClientSession() as http:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    try:
                        async with http.get(f"{url}/readyz") as response:
                            assert response.status == 200
                            break
                    except aiohttp.ClientConnectionError:
                        await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("change", "arguments", "code", "words"),
    [
        ({"RESCARD_WORKERS": "many"}, ["serve"], 1, "RESCARD_WORKERS"),
        ({"RESCARD_COLOUR": "red"}, ["serve"], 1, "RESCARD_COLOUR cannot be used: there is no such setting"),
        ({"RESCARD_KEY_ENCRYPTION_KEY": "short"}, ["serve"], 1, "RESCARD_KEY_ENCRYPTION_KEY"),
        ({"DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, ["migrate"], 1, "127.0.0.1"),
        ({"DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, ["serve"], 1, "127.0.0.1"),
        ({}, ["tenant", "add", "W C C", "--name", "x"], 1, "beginning with a letter"),
        ({}, ["tenant", "add", "wcc", "--name", "x", "--timezone", "Mars/Olympus"], 1, "there is no such zone"),
        ({}, ["token", "create", "--role", "desk", "--label", "x"], 2, "--tenant ID or --platform"),
        ({}, ["token", "create", "--tenant", "nobody", "--role", "desk", "--label", "x"], 1, "no council nobody"),
        ({}, ["token", "create", "--platform", "--role", "king", "--label", "x"], 2, "'king' is not one of"),
        ({}, ["dance"], 2, "No such command 'dance'"),
    ],
)
async def test_a_mistake_is_told_in_a_line_and_not_in_a_traceback(
    database_url: str, change: dict[str, str], arguments: list[str], code: int, words: str
):
    environment = _environment(database_url) | change
    status, out, err = await _run(environment, *arguments)
    assert (status, out) == (code, "")
    assert words in err
    assert "Traceback" not in err


async def test_the_printed_description_of_the_api_is_valid_and_needs_no_database():
    bare = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    code, out, _ = await _run(bare, "openapi", "--server", "https://cards.example")
    assert code == 0
    document = json.loads(out)
    assert document["servers"] == [{"url": "https://cards.example"}]
    assert not list(OpenAPIV31SpecValidator(document).iter_errors())


async def test_help_names_every_command_and_what_it_is_for():
    code, out, _ = await _run(dict(os.environ), "--help")
    assert code == 0
    for word in ("serve", "migrate", "tenant", "token", "openapi", "decide", "demo", "DATABASE_URL"):
        assert word in out
