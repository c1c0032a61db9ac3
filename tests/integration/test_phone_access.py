"""Whether everybody can use the card page: by keyboard, enlarged, by screen reader, with any colours (WCAG 2.2 AA)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import Phone, needs_browser, phone, read_pixels
from tests.support.feed import document, publish
from tests.support.phone import link_for
from tests.support.service import Service
from tests.support.state import post, resident

pytestmark = needs_browser

ORACLE = Path(__file__).parents[1] / "oracles" / "axe"
INSTALL_SECONDS = 120
"""How long npm may take for one package before the registry counts as out of reach."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core, an independent judge of barriers; it is no part of the project and comes from npm."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not on this machine: the independent judge of barriers is an npm package")
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ORACLE / name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--fetch-retries=0"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not answer within {INSTALL_SECONDS} seconds: the package axe-core cannot be had")
    if done.returncode:
        pytest.skip(f"npm could not get the package axe-core: {done.stderr.strip()[:200]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.fixture
async def mobile(tmp_path: Path) -> AsyncIterator[Phone]:
    async with phone(tmp_path / "profile") as made:
        yield made


async def barriers(page: Page, axe: str) -> list[str]:
    """What the judge objects to, in words."""
    await page.evaluate(axe)
    found: dict[str, Any] = await page.evaluate(
        "(tags) => axe.run(document, { runOnly: { type: 'tag', values: tags } })", RULES
    )
    assert len(found["passes"]) > 10
    return [
        f"{broken['id']}: {broken['help']}: {node['html'][:120]}"
        for broken in found["violations"]
        for node in broken["nodes"]
    ]


async def ready_link(service: Service) -> str:
    await publish(service, document())
    await publish(service, document("wcc.leisure.pool", title="Pool", requires=[{"presentation": ["static"]}]))
    person = (await resident(service, card=False))["person_id"]
    return f"{service.url}/card/l/{await link_for(service, person)}"


async def test_an_independent_judge_finds_no_barrier_in_any_state_of_the_page(
    service: Service, mobile: Phone, tmp_path: Path, axe: str
) -> None:
    page, found = mobile.page, {}
    link = await ready_link(service)
    await mobile.open(link)
    await mobile.see("setup")
    found["setup"] = await barriers(page, axe)
    await mobile.bind(link)
    await page.get_by_text("Gym").click()
    found["card"] = await barriers(page, axe)
    card = str(await page.locator("#code").get_attribute("data-card")).partition(":")[2]
    await post(service, f"/v1/cards/{card}/suspend", wanted=200)
    await page.reload()
    await mobile.see("stopped")
    found["stopped"] = await barriers(page, axe)
    async with phone(tmp_path / "second") as second:
        await second.open(link)
        await second.see("gone")
        found["gone"] = await barriers(second.page, axe)
        await second.open(f"{service.url}/card/")
        await second.see("none")
        found["none"] = await barriers(second.page, axe)
    async with phone(tmp_path / "third") as third:
        # The same page as without JavaScript, which the judge itself needs.
        assert third.context is not None
        await third.context.add_init_script("indexedDB.open = () => { throw new Error('no'); };")
        await third.open(await ready_link(service))
        await third.page.get_by_role("button", name="Get the picture").wait_for()
        found["form"] = await barriers(third.page, axe)
        await third.page.get_by_role("button", name="Get the picture").click()
        await third.page.wait_for_url("**/card/picture")
        found["picture"] = await barriers(third.page, axe)
    assert found == {view: [] for view in found}


async def test_everything_can_be_done_with_the_keyboard_and_the_focus_is_seen(service: Service, mobile: Phone) -> None:
    page = mobile.page
    await mobile.open(await ready_link(service))
    await mobile.see("setup")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    button = page.locator("#bind")
    await expect(button).to_be_focused()
    assert await button.evaluate(
        "(it) => getComputedStyle(it).boxShadow !== 'none' || getComputedStyle(it).outlineStyle !== 'none'"
    )
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Your card", exact=True)).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("At every site that has a gate for this service.").first).to_be_visible()
    for _ in range(2):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Remove the card")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="There is no card on this phone")).to_be_focused()


@pytest.mark.parametrize(
    ("look", "options"),
    [
        # 1280 x 844 at 200 % has room for 640 x 422; at 400 % for 320 x 211 (WCAG 1.4.4 and 1.4.10).
        ("200 %", {"viewport": {"width": 640, "height": 422}, "device_scale_factor": 4}),
        ("small and dark", {"viewport": {"width": 320, "height": 568}, "color_scheme": "dark"}),
        ("forced colours", {"forced_colors": "active", "color_scheme": "dark"}),
    ],
)
async def test_the_code_is_whole_white_and_readable_however_the_page_is_looked_at(
    service: Service, tmp_path: Path, look: str, options: dict[str, Any]
) -> None:
    async with phone(tmp_path / "profile", **options) as mobile:
        await mobile.bind(await ready_link(service))
        page = mobile.page
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), look
        await page.locator("#code").scroll_into_view_if_needed()
        await page.locator(".turn").scroll_into_view_if_needed()
        await page.locator("#code").evaluate("(it) => it.scrollIntoView({ block: 'center' })")
        assert read_pixels(await mobile.screenshot()).startswith(b"RC1:")


async def test_at_twice_the_size_of_text_nothing_is_cut_off(service: Service, mobile: Phone) -> None:
    await mobile.bind(await ready_link(service))
    page = mobile.page
    await page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = await page.evaluate(
        "[...document.querySelectorAll('main p, main h1, main h2, main summary, main button')]"
        ".filter((it) => !it.classList.contains('govuk-visually-hidden'))"
        ".filter((it) => it.offsetParent && it.scrollHeight > it.clientHeight + 4).map((it) => it.textContent)"
    )
    assert cut == []
