"""A card on a phone from the desk's link to the turnstile: real browser, real reader process, a camera between them."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from cardservice.settings import Settings
from tests.support.browser import Phone, needs_browser, phone, read_pixels
from tests.support.feed import document, publish
from tests.support.hardware import PATIENCE_SECONDS, VirtualDevice, virtual
from tests.support.phone import link_for, link_in_place_of
from tests.support.reader import add_site
from tests.support.service import Service, add_tenant, run_service
from tests.support.state import post, resident

pytestmark = needs_browser

CONFIG = """
service = "{service}"
data_dir = "{folder}/data"
health_port = 0
log = "console"
beat_seconds = 1.0
[[lanes]]
lane = "1"
sources = ["mjpeg+http://127.0.0.1:{camera}/stream"]
actuator = "modbus+tcp://127.0.0.1:{board}?coil=0&passage=0&fire=1&tamper=2&pulse_register=0"
indicator = "log:"
passage_timeout_seconds = 1.0
"""
LIVE_ONLY: dict[str, Any] = {"requires": [{"presentation": ["live", "chip"]}]}
OLD_MS = 40_000
"""The age of the screenshot in the story; codes are good for 30 seconds."""


class Gate:
    """A lane with a camera and a turnstile, and the reader process that serves it."""

    def __init__(self, folder: Path, camera: VirtualDevice, board: VirtualDevice, http: aiohttp.ClientSession) -> None:
        self.folder, self.camera, self.board, self.http = folder, camera, board, http

    async def get(self, path: str) -> Any:
        port = (self.folder / "data" / "health.port").read_text().strip()
        async with self.http.get(f"http://127.0.0.1:{port}{path}") as response:
            return await response.json() if response.status == 200 else None

    async def until(self, condition: Any) -> Any:
        """Ask until there is an answer: a process has no event that its health page could wait for."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    answer = await condition()
                except OSError:
                    answer = None
                if answer is not None:
                    return answer
                await asyncio.sleep(0.02)

    async def show(self, picture: bytes) -> str:
        """Hold a picture before the camera, take it away when the lane has decided; the reason."""

        async def status_when_clear() -> Any:
            status = await self.get("/status")
            return status if status is not None and "1" not in status["presenting"] else None

        before = {each["tap_id"] for each in (await self.until(status_when_clear))["decisions"]}

        async def decided() -> str | None:
            status = await self.get("/status")
            new = [each for each in status["decisions"] if each["tap_id"] not in before]
            return str(new[0]["reason"]) if new and status["lanes"][0]["state"] == "idle" else None

        shown = {"base64": base64.b64encode(picture).decode(), "tilt": 15, "blur": 0.8, "noise": 6}
        await self.camera.do("show", **shown)
        reason: str = await self.until(decided)
        await self.camera.do("clear")
        return reason


@asynccontextmanager
async def gate(service: Service, folder: Path) -> AsyncIterator[Gate]:
    await add_site(service)
    body = {"site": "porchester", "name": "gates", "feeds": ["wcc/leisure"]}
    code = (await post(service, "/v1/readers/codes", body))["code"]
    async with virtual("camera") as camera, virtual("turnstile") as board, aiohttp.ClientSession() as http:
        await board.do("person", passes=True, after_ms=20)
        config = folder / "reader.toml"
        config.write_text(
            CONFIG.format(service=service.url, folder=folder, camera=camera.port, board=board.port), "utf-8"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "readers.cli", "run", "--config", str(config), "--enrol-code", code,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            made = Gate(folder, camera, board, http)
            await made.until(lambda: made.get("/readyz"))
            yield made
        finally:
            process.terminate()
            await process.wait()


async def applied(service: Service, card: str) -> bool | None:
    """Whether every gate knows how the card stands."""
    status, answer = await service.call("GET", f"/v1/cards/{card}/propagation")
    assert status == 200, answer
    return True if answer["effective"] == answer["gates"] else None


async def card_of(mobile: Phone) -> str:
    """The id of the card on the screen."""
    await mobile.page.locator("#code[data-card]").wait_for()
    return str(await mobile.page.locator("#code").get_attribute("data-card")).partition(":")[2]


async def test_a_resident_is_let_in_with_every_network_off_and_a_picture_of_the_code_is_not(
    settings: Settings, tmp_path: Path
) -> None:
    await add_tenant(settings, "wcc", "Westminster City Council")
    async with AsyncExitStack() as council, phone(tmp_path / "phone") as mobile:
        service = await council.enter_async_context(run_service(settings))
        await publish(service, document(**LIVE_ONLY))
        person = (await resident(service, card=False))["person_id"]
        page = f"{service.url}/card/"
        await mobile.bind(f"{page}l/{await link_for(service, person)}")
        card = await card_of(mobile)
        async with gate(service, tmp_path) as way_in:
            await way_in.until(lambda: applied(service, card))
            await council.aclose()  # the service is gone, for the phone and for the gate

            await mobile.restart(offline=True)
            await mobile.open(page)
            picture = await mobile.held_up()
            assert read_pixels(picture).startswith(b"RC1:")
            assert await way_in.show(picture) == "ok"
            await way_in.board.event("released")
            # Somebody took a picture of it over the shoulder.
            assert await way_in.show(picture) == "replayed_code"
            # Somebody has an unused code that the phone showed 40 seconds ago.
            await mobile.restart(offline=True, clock_ms=-OLD_MS)
            await mobile.open(page)
            assert await way_in.show(await mobile.held_up()) == "expired_code"
            # The phone itself, a moment later, is still welcome.
            await mobile.restart(offline=True)
            await mobile.open(page)
            assert await way_in.show(await mobile.held_up()) == "ok"
            assert len(way_in.board.all("released")) == 2


async def test_a_lost_phone_opens_nothing_while_the_other_does_and_a_new_one_takes_its_place(
    service: Service, tmp_path: Path
) -> None:
    await publish(service, document(**LIVE_ONLY))
    person = (await resident(service, card=False))["person_id"]
    async with phone(tmp_path / "one") as one, phone(tmp_path / "two") as two, gate(service, tmp_path) as way_in:
        for mobile in (one, two):
            await mobile.bind(f"{service.url}/card/l/{await link_for(service, person)}")
        first, second = await card_of(one), await card_of(two)
        await way_in.until(lambda: applied(service, second))
        assert [await way_in.show(await each.held_up()) for each in (one, two)] == ["ok", "ok"]

        await one.restart(offline=True)  # the finder keeps it from hearing anything
        await one.open(f"{service.url}/card/")
        await post(service, f"/v1/cards/{first}/lost", wanted=200)
        await way_in.until(lambda: applied(service, first))
        assert await way_in.show(await one.held_up()) == "card_lost"
        await two.restart()
        await two.open(f"{service.url}/card/")
        assert await way_in.show(await two.held_up()) == "ok"

        async with phone(tmp_path / "three") as three:
            await three.bind(f"{service.url}/card/l/{await link_in_place_of(service, first)}")
            third = await card_of(three)
            await way_in.until(lambda: applied(service, third))
            assert await way_in.show(await three.held_up()) == "ok"
        # As soon as the lost phone hears of the council it shows no code any more.
        await one.restart()
        await one.open(f"{service.url}/card/")
        await one.see("stopped")
        assert await one.page.locator("#code").is_hidden()
        counted = (await service.call("GET", f"/v1/cards?person_id={person}"))[1]["items"]
        assert sorted(card["state"] for card in counted) == ["active", "active", "replaced"]
