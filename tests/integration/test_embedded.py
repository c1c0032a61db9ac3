"""The embedded servers: they keep data over a crash, and nothing of them survives the process that started them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import asyncpg
import pytest

from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.embedded.process import PORT_RANGE, free_port
from cardservice.embedded.valkey import EmbeddedValkey
from cardservice.errors import EmbeddedServerError, MigrationError
from cardservice.migrations import migrate

ROOT = Path(__file__).resolve().parents[2]

LAUNCHER = """
import sys, time
from pathlib import Path
from cardservice.embedded.postgres import EmbeddedPostgres
from cardservice.embedded.valkey import EmbeddedValkey
folder = Path(sys.argv[1])
postgres = EmbeddedPostgres(folder / "postgres", durable=False).start()
valkey = EmbeddedValkey(folder / "valkey").start()
print(postgres._child.pid, valkey._child.pid, flush=True)
time.sleep(600)
"""


def _gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that nobody has reaped yet has ended too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def _value(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def test_no_server_outlives_a_launcher_that_was_killed(tmp_path: Path) -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert launcher.stdout is not None
    pids = [int(pid) for pid in launcher.stdout.readline().split()]
    assert len(pids) == 2
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    launcher.stdout.close()
    deadline = time.monotonic() + 10
    while not all(_gone(pid) for pid in pids):
        assert time.monotonic() < deadline, f"{pids} still run"
        os.sched_yield()


def test_what_was_committed_is_there_after_a_power_cut(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        asyncio.run(_value(server.url(), "CREATE TABLE kept AS SELECT 42 AS answer"))
        server.kill()
        server.start()
        assert asyncio.run(_value(server.url(), "SELECT answer FROM kept")) == 42


def test_a_second_run_uses_the_same_data(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        asyncio.run(_value(server.url(), "CREATE TABLE kept AS SELECT 1 AS one"))
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        assert asyncio.run(_value(server.url(), "SELECT one FROM kept")) == 1


def test_a_stranger_on_the_machine_cannot_log_in_without_the_password(postgres_url: str) -> None:
    if "DATABASE_URL" in os.environ:
        pytest.skip("a server given by DATABASE_URL has its own rules of access")
    credentials, _, address = postgres_url.partition("@")
    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(_value(f"{credentials[: credentials.rindex(':')]}:guess@{address}", "SELECT 1"))


def test_a_taken_port_is_said_plainly(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "one") as first, pytest.raises(EmbeddedServerError, match="did not start"):
        EmbeddedValkey(tmp_path / "two", port=first.port).start()


class TestMigrations:
    """A release is put in once, whole, and never by two processes at the same time."""

    @pytest.fixture
    def empty_database(self, postgres_url: str) -> str:
        name = f"migrations_{os.getpid()}_{time.monotonic_ns()}"
        asyncio.run(_value(postgres_url, f"CREATE DATABASE {name}"))
        return postgres_url.rpartition("/")[0] + f"/{name}"

    def test_two_processes_starting_together_migrate_once(self, empty_database: str) -> None:
        async def both() -> list[str]:
            done = await asyncio.gather(migrate(empty_database), migrate(empty_database))
            return sorted(name for names in done for name in names)

        files = sorted(path.name for path in (ROOT / "sql" / "migrations").glob("*.sql"))
        assert asyncio.run(both()) == files

    def test_a_file_changed_after_it_was_applied_is_refused(self, empty_database: str, tmp_path: Path) -> None:
        file = tmp_path / "0001_one.sql"
        file.write_text("CREATE TABLE one (a int);")
        assert asyncio.run(migrate(empty_database, tmp_path)) == ["0001_one.sql"]
        assert asyncio.run(migrate(empty_database, tmp_path)) == []
        file.write_text("CREATE TABLE one (a bigint);")
        with pytest.raises(MigrationError, match="changed after it was applied"):
            asyncio.run(migrate(empty_database, tmp_path))
        file.unlink()
        with pytest.raises(MigrationError, match="older release"):
            asyncio.run(migrate(empty_database, tmp_path))

    def test_a_file_that_fails_leaves_nothing_behind(self, empty_database: str, tmp_path: Path) -> None:
        (tmp_path / "0001_bad.sql").write_text("CREATE TABLE half (a int); SELECT no_such_function();")
        with pytest.raises(MigrationError, match="no_such_function"):
            asyncio.run(migrate(empty_database, tmp_path))
        assert asyncio.run(_value(empty_database, "SELECT to_regclass('half')")) is None


def test_no_outgoing_connection_can_take_the_port_of_a_server_that_was_killed() -> None:
    low, high = map(int, PORT_RANGE.read_text("ascii").split())
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 10
    assert not any(low <= port <= high for port in ports)


async def test_what_a_test_server_said_is_committed_outlives_its_kill(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        connection = await asyncpg.connect(server.url())
        await connection.execute("CREATE TABLE said (number integer)")
        for number in range(50):
            await connection.execute("INSERT INTO said VALUES ($1)", number)
        server.kill()
        connection.terminate()
        await asyncio.to_thread(server.start)
        assert await _value(server.url(), "SELECT count(*) FROM said") == 50


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_server_whose_folder_is_held_is_tried_again_and_leaves_no_file_open(tmp_path: Path) -> None:
    """Within a second of a kill the old server's processes may hold the folder; a start in that time waits for them."""
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as first:
        second = EmbeddedPostgres(tmp_path / "postgres", durable=False)
        threading.Timer(0.5, first.stop).start()
        try:
            second.start()
        finally:
            second.stop()
        assert (tmp_path / "postgres" / "postgres.log").read_text().count("already exists") >= 1
        gc.collect()
