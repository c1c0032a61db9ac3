"""A reader process with cameras, turnstiles and a keypad before it, killed between a code's use and its copy's."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zxingcpp
from PIL import Image

from entitlements.credential.es256 import generate_private_key
from tests.support.hardware import VirtualDevice, virtual
from tests.unit.readers.kit import pins
from tests.unit.readers.kit.council import Card, Council
from tests.unit.readers.kit.service import FakeService

PATIENCE_SECONDS = 60.0
"""Only bounds a hang."""
LANES = ("in-1", "in-2")


def picture(code: bytes) -> str:
    """A code as PNG in base64, large enough for any camera."""
    barcode = zxingcpp.create_barcode(code.decode("ascii"), zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    file = io.BytesIO()
    Image.fromarray(barcode.to_image(scale=6)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


class Site:
    """Devices of two lanes, and a reader process that comes and goes."""

    def __init__(self, service: FakeService, folder: Path, devices: dict[str, VirtualDevice]) -> None:
        self.service = service
        self.devices = devices
        self._config = folder / "reader.toml"
        self._process: asyncio.subprocess.Process | None = None
        lines = [
            f'service = "{service.url}"', f'data_dir = "{folder}/data"', "health_port = 0",
            "poll_seconds = 0.3", "status_seconds = 0.3", "request_timeout_seconds = 2.0",
        ]  # fmt: skip
        for lane in LANES:
            lines += [
                "[[lanes]]", f'lane = "{lane}"',
                f'sources = ["mjpeg+http://127.0.0.1:{devices["camera " + lane].port}/stream"]',
                f'actuator = "modbus+tcp://127.0.0.1:{devices["turnstile " + lane].port}?coil=0&passage=0"',
                "passage_timeout_seconds = 1.0",
            ]  # fmt: skip
            if f"keypad {lane}" in devices:
                lines.append(f'keypad = "keypad+tcp://127.0.0.1:{devices["keypad " + lane].port}"')
        self._config.write_text("\n".join(lines), encoding="utf-8")

    @property
    def now(self) -> int:
        return self.service.now_ms() // 1000

    async def start(self, *, code: str | None = None) -> None:
        """Start the reader and wait until its devices work and it has what it needs to decide."""
        more = [] if code is None else ["--enrol-code", code]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "readers.cli", "run", "--config", str(self._config), *more,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        up: set[str] = set()
        wanted = {f"{kind} {lane}" for lane in LANES for kind in ("source", "gate")}
        wanted |= {name for name in self.devices if name.startswith("keypad")}
        wanted |= {"feed", *(["secrets"] if code is not None and not self.service.secrets.empty else [])}
        while not wanted <= up:
            line = await self.line()
            event = str(line.get("event"))
            for kind in ("source", "gate", "keypad"):
                if event.endswith(f"{kind} works"):
                    up.add(f"{kind} {line['lane']}")
            if event in {"a snapshot was taken", "the reader runs"} and (code is None or "snapshot" in event):
                up.add("feed")
            if event.startswith("the site's secrets were brought"):
                up.add("secrets")

    async def line(self) -> dict[str, Any]:
        """The next line that the reader tells, as JSON."""
        assert self._process is not None
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            while line := await self._process.stderr.readline():
                if line.startswith(b"{"):
                    found: dict[str, Any] = json.loads(line)
                    return found
        raise AssertionError("the reader ended by itself")

    async def told(self, event: str) -> dict[str, Any]:
        """The next line of the log that tells of this."""
        while (line := await self.line()).get("event") != event:
            pass
        return line

    async def displayed(self, headline: str) -> None:
        """Wait until a display shows this."""
        while (await self.line()).get("headline") != headline:
            pass

    async def show(self, code: bytes, lane: str = "in-1") -> None:
        camera = self.devices[f"camera {lane}"]
        await camera.do("clear")
        await camera.do("show", base64=picture(code), tilt=15, blur=0.8, noise=6)

    async def reason(self, code: bytes, lane: str = "in-1") -> str:
        """Show a code and give the reason of its tap."""
        await self.show(code, lane)
        return str((await self.told("tap"))["reason"])

    async def press(self, keys: str, lane: str = "in-1") -> None:
        await self.devices[f"keypad {lane}"].do("press", keys=keys)

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            await self._process.communicate()
            self._process = None
        for lane in LANES:
            await self.devices[f"camera {lane}"].do("clear")


@asynccontextmanager
async def site_of(council: Council, folder: Path, *, secrets: Any = None) -> AsyncIterator[Site]:
    service = FakeService(council)
    if secrets is not None:
        service.secrets = secrets
    async with AsyncExitStack() as stack:
        await service.start()
        stack.push_async_callback(service.stop)
        kinds = ["camera", "turnstile"]
        devices = {
            f"{kind} {lane}": await stack.enter_async_context(virtual(kind))
            for lane in LANES
            for kind in ([*kinds, "keypad"] if secrets is not None and lane == "in-1" else kinds)
        }
        site = Site(service, folder, devices)
        stack.push_async_callback(site.kill)
        yield site


@pytest.fixture
def live_only() -> tuple[Council, Card]:
    """A council whose gym takes live codes and chips only, and a resident with a phone."""
    council = Council()
    entry = council.services[0]
    document = {**entry.document, "requires": [{"presentation": ["live", "chip"]}]}
    council.services = [msgspec.structs.replace(entry, document=document)]
    return council, council.issue(in_snapshot=True, phone=generate_private_key())


async def test_a_code_used_the_instant_before_the_reader_was_killed_opens_nothing_after_it(
    live_only: tuple[Council, Card], tmp_path: Path
) -> None:
    council, card = live_only
    async with site_of(council, tmp_path) as site:
        await site.start(code="code-1")
        assert await site.reason(card.paper) == "presentation_not_accepted", "a photograph is not the phone"
        assert await site.reason(card.live(site.now - 33)) == "expired_code"
        used = site.now + 9  # as late as is accepted, so that it is in its time for long after the restart
        await site.show(card.live(used))
        await site.devices["turnstile in-1"].event("released")
        await site.kill()
        await site.service.stop()
        await site.start()
        assert await site.reason(card.live(used), "in-2") == "replayed_code"
        assert await site.reason(card.twin(used), "in-1") == "replayed_code"
        assert site.devices["turnstile in-2"].all("released") == []
        await site.show(card.live(used + 1), "in-2")
        assert (await site.told("tap"))["outcome"] == "allow", "no honest phone waits after a kill"
        await site.devices["turnstile in-2"].event("released")
        assert len(site.devices["turnstile in-1"].all("released")) == 1


async def test_a_pulled_plug_gives_no_guess_at_a_pin_back_and_paper_with_the_right_one_opens(tmp_path: Path) -> None:
    council = pins.pin_council()
    found, own = council.issue(in_snapshot=True), council.issue(in_snapshot=True)
    page = pins.page(pins.verifier(found), pins.verifier(own))
    async with site_of(council, tmp_path, secrets=page) as site:
        await site.start(code="code-1")
        await site.show(own.paper)
        await site.displayed("Please enter your PIN")
        await site.press(pins.PIN + "#")
        await site.devices["turnstile in-1"].event("passed")
        await site.told("passage")

        await site.show(found.paper)
        await site.displayed("Please enter your PIN")
        for _ in range(2):
            await site.press(pins.WRONG + "#")
            await site.displayed("That PIN is not right")
        await site.kill()
        await site.service.stop()
        await site.start()
        await site.show(found.paper)
        await site.displayed("Please enter your PIN")
        await site.press(pins.WRONG + "#")
        locked = await site.told("tap")
        assert (locked["reason"], "locked" in locked["detail"]) == ("pin_wrong", True)
        await site.kill()
        await site.start()
        assert await site.reason(found.paper) == "pin_wrong"
        assert await site.reason(own.paper, "in-2") == "offline_staff_only", "that lane has no keypad"
        assert len(site.devices["turnstile in-1"].all("released")) == 1
