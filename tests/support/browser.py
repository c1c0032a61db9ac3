"""A phone for tests: Debian's Chromium with a profile on disk, so that a restart of the browser is a real one."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image
from playwright.async_api import BrowserContext, Page, Playwright, async_playwright, expect

from tests.support.qr import read_qr

BROWSER: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser: Final = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here: tests/install-tools.sh says how to get one"
)
PATIENCE_MS: Final = 30_000
"""Only ends a test that would hang; nothing is measured by it."""
FLAGS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
expect.set_options(timeout=PATIENCE_MS)
LOST_CLOCK: Final = "{ const now = Date.now.bind(Date); Date.now = () => now() + %d; }"


@dataclass
class Phone:
    """A phone with its own storage. ``problems`` are errors of scripts and of the page's policy."""

    folder: Path
    driver: Playwright
    options: dict[str, Any]
    context: BrowserContext | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def page(self) -> Page:
        """The one tab."""
        assert self.context is not None
        return self.context.pages[0]

    async def start(self, **changes: Any) -> None:
        """Start the browser on the same storage as before; ``changes`` are options of the context."""
        assert BROWSER is not None
        self.context = await self.driver.chromium.launch_persistent_context(
            self.folder,
            executable_path=BROWSER,
            ignore_default_args=["--headless"],
            args=list(FLAGS),
            **(self.options | changes),
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)

    async def stop(self) -> None:
        """End the browser; its storage stays."""
        if self.context is not None:
            await self.context.close()
            self.context = None

    async def restart(self, *, clock_ms: int = 0, offline: bool = False) -> None:
        """End and start the browser; ``clock_ms`` puts the phone's clock forward (or back) from then on."""
        await self.stop()
        await self.start()
        assert self.context is not None
        if clock_ms:
            await self.context.add_init_script(LOST_CLOCK % clock_ms)
        await self.context.set_offline(offline)

    async def open(self, url: str) -> None:
        """Go to an address."""
        await self.page.goto(url, wait_until="domcontentloaded")

    async def see(self, view: str) -> None:
        """Wait until the page shows this view."""
        await self.page.locator(f'[data-view="{view}"]').wait_for()

    async def ready_for_no_network(self) -> None:
        """Wait until the service worker keeps the page and its files."""
        await self.page.evaluate("navigator.serviceWorker.ready.then(() => true)")

    async def bind(self, url: str) -> None:
        """Open a link and put the card on this phone."""
        await self.open(url)
        await self.page.locator("#bind").click()
        await self.see("card")
        await self.ready_for_no_network()

    async def screenshot(self) -> bytes:
        """The screen as PNG, once a code stands on it."""
        await self.page.locator("#code[data-iat]").wait_for()
        return await self.page.screenshot()

    async def held_up(self) -> bytes:
        """What a camera before the screen has in view: the code and its white border, cut from the screen's pixels."""
        screen = await self.screenshot()
        box = await self.page.locator("#code").bounding_box()
        assert box is not None
        with Image.open(io.BytesIO(screen)) as picture:
            density = picture.width / await self.page.evaluate("innerWidth")
            edges = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
            cut = picture.crop(tuple(round(edge * density) for edge in edges))
        file = io.BytesIO()
        cut.save(file, "PNG")
        return file.getvalue()

    async def code(self) -> bytes:
        """What a camera reads from the screen's pixels."""
        return read_pixels(await self.screenshot())


def read_pixels(png: bytes) -> bytes:
    """The one QR code of a picture, with error correction M."""
    with Image.open(io.BytesIO(png)) as picture:
        found = read_qr(picture.convert("L"))
    assert found.ec_level == "M"
    return bytes(found.bytes)


@asynccontextmanager
async def phone(folder: Path, **options: Any) -> AsyncIterator[Phone]:
    """A phone of 390 x 844 points, until the block ends. Errors of its scripts fail the test."""
    settings = {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "locale": "en-GB",
        "timezone_id": "Europe/London",
    }
    async with async_playwright() as driver:
        made = Phone(folder, driver, settings | options)
        await made.start()
        try:
            yield made
        finally:
            await asyncio.shield(made.stop())
