"""A child process that never outlives its parent and is never left half stopped."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from cardservice.errors import EmbeddedServerError

PR_SET_PDEATHSIG: Final = 1
"""Linux prctl(2): the signal a child gets when its parent dies."""
CLONE_NEWUSER: Final = 0x10000000
"""Linux unshare(2): a user namespace of its own."""
STOP_SECONDS: Final = 10.0
"""How long a child may take to stop politely before it is killed."""

PORT_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST_PORT: Final = 10_240
"""Below are ports that people know by heart."""
TRIES: Final = 50
"""Ports tried before the kernel is asked for any; with a few dozen servers up, the first is nearly always free."""

_random = random.SystemRandom()
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago.

    Where there are others, none of those that the kernel gives to outgoing connections: a server that was killed must
    find its port free when it returns, however many connections were opened meanwhile.
    """
    end = _first_ephemeral()
    tries = [_random.randrange(LOWEST_PORT, end) for _ in range(TRIES)] if end > LOWEST_PORT else []
    for port in (*tries, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EmbeddedServerError(server="A server", detail="no TCP port is free on 127.0.0.1")


def _first_ephemeral() -> int:
    """The first port that the kernel gives away; 0 where it does not say (ip(7), ``ip_local_port_range``)."""
    try:
        return int(PORT_RANGE.read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def die_with_parent_unprivileged() -> None:
    """Root outside, 65534 inside: PostgreSQL refuses uid 0, and files keep their owner."""
    uid, gid = os.getuid(), os.getgid()
    if _libc is None or _libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"65534 {gid} 1")
    Path("/proc/self/uid_map").write_text(f"65534 {uid} 1")
    die_with_parent()


class Child:
    """One child process with its output in a log file (or a pipe for what talks by lines).

    It dies with the thread that started it (Linux PR_SET_PDEATHSIG), so start it from the main thread.
    """

    def __init__(
        self, name: str, argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.argv = [str(part) for part in argv]
        self.log = log
        self.env = None if env is None else dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_file: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or ``None`` when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def returncode(self) -> int | None:
        """Exit status once it ended."""
        return None if self._process is None else self._process.poll()

    def start(self, *, as_unprivileged: bool = False) -> None:
        """Start it; with ``as_unprivileged`` and as root, in a user namespace where it is not root.

        Raises:
            OSError: the program could not be started.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log_file = self.log.open("ab")
        before: Callable[[], None] = die_with_parent
        if as_unprivileged and os.getuid() == 0:
            before = die_with_parent_unprivileged
        self._process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=self._log_file,
            stderr=subprocess.STDOUT,
            env=self.env,
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which then stops its children in order
            preexec_fn=before,  # noqa: PLW1509 - the launcher and the fixtures start children before any thread
        )

    def send(self, number: int) -> None:
        """Send a signal if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a power cut would."""
        self.send(signal.SIGKILL)
        self._reap(None)

    def stop(self, how: int = signal.SIGTERM, seconds: float = STOP_SECONDS) -> None:
        """Ask it to stop, and kill it if it does not within ``seconds``."""
        self.send(how)
        try:
            self._reap(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def _reap(self, seconds: float | None) -> None:
        if self._process is not None:
            self._process.wait(seconds)
        if self._log_file is not None:
            self._log_file.close()
            self._log_file = None

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log, to show when it failed."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
