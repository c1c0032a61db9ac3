"""A site of the demonstration: lanes of virtual hardware, and the reader daemon that serves them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Literal, Self

import aiohttp

from cardservice.demo.client import Api, until
from cardservice.demo.stage import Device
from cardservice.embedded.process import Child, free_port
from cardservice.errors import DemoError

Kind = Literal["camera", "nfc_card"]
UP_SECONDS: Final = 30.0

CONFIG: Final = """\
service = "{service}"
data_dir = "{data}"
health_port = {health_port}
log = "console"
"""
LANE_CONFIG: Final = """
[[lanes]]
lane = "{lane}"
sources = ["{source}"]
actuator = "modbus+tcp://127.0.0.1:{board_port}?coil=0&passage=0&fire=1&tamper=2&pulse_register=0"
indicator = "log:"
pulse_seconds = 0.5
passage_timeout_seconds = 3.0
"""


class DemoLane:
    """One lane: a relay board and what cards are shown to."""

    def __init__(self, site: DemoSite, lane: str, kind: Kind) -> None:
        self.site = site
        self.lane = lane
        self.kind = kind
        self.board = Device("hardware.virtual.turnstile", site.folder / f"{lane}.turnstile.log")
        self.device = Device(f"hardware.virtual.{kind}", site.folder / f"{lane}.{kind}.log")
        self._presented = False

    @property
    def source(self) -> str:
        """Device URL of what cards are shown to."""
        port = self.device.port
        return f"mjpeg+http://127.0.0.1:{port}/stream" if self.kind == "camera" else f"nfc+udp:127.0.0.1:{port}"

    async def present(self, do: str, **what: Any) -> None:
        """Put something in front of the reader."""
        await self.device.do(do, **what)
        self._presented = True

    async def clear(self) -> set[str]:
        """Take away what was presented, wait until the lane is idle, and give the taps that are known by then."""
        if self._presented:
            await self.device.do("clear" if self.kind == "camera" else "remove")
            self._presented = False

        async def idle() -> bool | None:
            status = await self.site.status()
            lane = next(lane for lane in status["lanes"] if lane["lane"] == self.lane)
            return None if self.lane in status["presenting"] or lane["state"] != "idle" else True

        await until(f"idle lane {self.lane}", idle)
        return {decision["tap_id"] for decision in await self.decisions()}

    async def decisions(self) -> list[dict[str, Any]]:
        """Its last decisions, newest first."""
        return [decision for decision in (await self.site.status())["decisions"] if decision["lane"] == self.lane]


class DemoSite:
    """A site. Enter it to have its devices; the reader is started by :meth:`start_reader`."""

    def __init__(
        self, *, api: Api, folder: Path, site_id: str, name: str, lanes: Mapping[str, Kind], feeds: list[str]
    ) -> None:
        self.api = api
        self.folder = folder
        self.site_id = site_id
        self.name = name
        self.feeds = feeds
        self.health_port = free_port()
        self.lanes = {lane: DemoLane(self, lane, kind) for lane, kind in lanes.items()}
        self._stack = AsyncExitStack()
        self._reader: Child | None = None

    async def __aenter__(self) -> Self:
        for lane in self.lanes.values():
            await self._stack.enter_async_context(lane.board)
            await self._stack.enter_async_context(lane.device)
            await lane.board.do("person", passes=True, after_ms=150)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.stop()
        await self._stack.aclose()

    @property
    def reader(self) -> Child:
        """The reader's process."""
        if self._reader is None:
            raise DemoError(what=f"reader of {self.name}", detail="it was not started")
        return self._reader

    @property
    def data(self) -> Path:
        """The reader's own folder."""
        return self.folder / "reader"

    @property
    def status_url(self) -> str:
        """The reader's status page on loopback."""
        return f"http://127.0.0.1:{self.health_port}/status"

    async def enrolment_code(self) -> str:
        """A one-time code from the service."""
        body = {"site": self.site_id, "name": f"{self.name} reader", "feeds": self.feeds}
        answer = await self.api.call("POST", "/v1/readers/codes", body, tenant="wcc")
        return str(answer["code"])

    def _write_config(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "reader.toml"
        lanes = [
            LANE_CONFIG.format(lane=lane.lane, source=lane.source, board_port=lane.board.port)
            for lane in self.lanes.values()
        ]
        head = CONFIG.format(service=self.api.url, data=self.data, health_port=self.health_port)
        config.write_text("".join((head, *lanes)))
        return config

    async def start_reader(self) -> None:
        """Start the daemon, enrol it the first time, and return when it is ready to decide."""
        argv: list[str | Path] = [sys.executable, "-m", "readers.cli", "run", "--config", self._write_config()]
        enrolled = self.data / "enrolment.json"
        if not enrolled.exists():
            argv += ["--enrol-code", await self.enrolment_code()]
        elif set(json.loads(enrolled.read_text())["feeds"]) != set(self.feeds):
            raise DemoError(
                what=f"reader of {self.name}", detail="its data are of an older version: start with --fresh"
            )
        self._reader = Child(f"reader of {self.name}", argv, log=self.folder / "reader.log")
        self._reader.start()

        async def ready() -> bool | None:
            if self.reader.returncode is not None:
                raise DemoError(what=f"reader of {self.name}", detail=f"it ended:\n{self.reader.tail()}")
            async with self.api.http.get(f"http://127.0.0.1:{self.health_port}/readyz") as response:
                return True if response.status == 200 else None

        await until(f"reader of {self.name}", ready, UP_SECONDS)

    async def status(self) -> dict[str, Any]:
        """The reader's own account of itself."""
        async with self.api.http.get(self.status_url) as response:
            if response.status != 200:
                raise aiohttp.ClientError(f"status {response.status}")
            answer: dict[str, Any] = await response.json()
            return answer
