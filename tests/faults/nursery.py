"""Processes that start in milliseconds: one that has everything imported and forks those that a run kills.

The nursery runs ``python -m tests.faults.nursery`` and takes lines of JSON: ``{"run": "service" | "reader", "log":
path, "with": {...}}`` forks and answers ``{"pid": n}``; ``{"reap": pid}`` waits for one that was killed or ended.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cardservice.embedded.process import die_with_parent


class Nursery:
    """The client's side. Its children end with it, however it ends."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.nursery",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    async def run(self, what: str, log: Path, **arguments: Any) -> int:
        """Fork a process; gives its id."""
        return int((await self._ask({"run": what, "log": str(log), "with": arguments}))["pid"])

    async def kill(self, pid: int) -> None:
        """SIGKILL, and wait until it is gone."""
        os.kill(pid, signal.SIGKILL)
        await self.reap(pid)

    async def stop(self, pid: int) -> int:
        """SIGTERM, and wait until it is gone; gives its status."""
        os.kill(pid, signal.SIGTERM)
        return await self.reap(pid)

    async def reap(self, pid: int) -> int:
        """Wait until a process has ended; gives its status as of ``os.waitstatus_to_exitcode``."""
        return int((await self._ask({"reap": pid}))["status"])

    async def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._turn:
            process.stdin.write(json.dumps(what).encode() + b"\n")
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the nursery has ended")
        return dict(json.loads(line))


def _fork(what: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        die_with_parent()
        log = os.open(what["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, descriptor in ((0, nothing), (1, log), (2, log)):
            os.dup2(descriptor, number)
        sys.stdin = open(0)  # noqa: SIM115 -- for the life of the process
        _children()[what["run"]](**what["with"])
        status = 0
    except BaseException:  # noqa: BLE001 -- and told whole to the log
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _children() -> dict[str, Any]:
    from cardservice.serving import serve
    from cardservice.settings import Settings
    from tests.faults.reader import run_reader
    from tests.faults.sabotage import sabotage

    def run_service(*, broken: str | None, **values: Any) -> None:
        if broken is not None:
            sabotage(broken)
        serve(Settings(**values))

    return {"service": run_service, "reader": run_reader}


def main() -> None:
    """Serve until the end of the input."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started us
    _children()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        what = json.loads(line)
        if "reap" in what:
            answer = {"status": os.waitstatus_to_exitcode(os.waitpid(what["reap"], 0)[1])}
        else:
            answer = {"pid": _fork(what)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
