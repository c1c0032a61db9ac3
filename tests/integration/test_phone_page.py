"""The card page in a real browser: whether a resident has the card when it is needed, and a finder does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from cardservice.app import PLATFORM
from cardservice.phone import pages
from entitlements.credential import VerifiedCard, verify_presentation
from entitlements.credential.base45 import b45_encode
from entitlements.credential.claims import Channel, UnverifiedPresentation
from tests.support.browser import PATIENCE_MS, Phone, needs_browser, phone, read_pixels
from tests.support.feed import document, publish
from tests.support.phone import card_keys, link_for, link_in_place_of
from tests.support.service import Service
from tests.support.state import post, resident

pytestmark = needs_browser

AWAKE = """
    window.locks = [];
    Object.defineProperty(navigator, "wakeLock", { value: { request: async (kind) => {
      const lock = { kind, released: false, release: async () => { lock.released = true; } };
      window.locks.push(lock);
      return lock;
    } } });
"""
NO_STORAGE = "indexedDB.open = () => { throw new DOMException('no', 'InvalidStateError'); };"
NO_CRYPTO = "Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined });"
KEPT = """
    async () => {
      const open = indexedDB.open("rescard");
      await new Promise((done) => { open.onsuccess = done; });
      const all = open.result.transaction("cards").objectStore("cards").getAll();
      await new Promise((done) => { all.onsuccess = done; });
      return Promise.all(all.result.map(async ({ keys, ...card }) => ({
        ...card,
        extractable: keys.privateKey.extractable,
        usages: keys.privateKey.usages,
        point: [...new Uint8Array(await crypto.subtle.exportKey("raw", keys.publicKey))],
        exports: await Promise.all(["pkcs8", "jwk", "raw"].map((form) =>
          crypto.subtle.exportKey(form, keys.privateKey).then(() => "exported", (error) => error.name))),
      })));
    }
"""
"""What IndexedDB holds, and what becomes of an attempt to take the private key out."""


@pytest.fixture
async def mobile(tmp_path: Path) -> AsyncIterator[Phone]:
    """A phone whose page made no mistake that the browser's console tells of."""
    async with phone(tmp_path / "profile") as made:
        yield made
        # A network that is off, and a refusal, are errors in the console and none of the page's.
        assert [said for said in made.problems if not said.startswith("Failed to load resource")] == []


async def link_url(service: Service, person: str | None = None, **more: Any) -> str:
    """A link to a card, for a new resident unless given one."""
    person = person or (await resident(service, card=False, **more))["person_id"]
    return f"{service.url}/card/l/{await link_for(service, person)}"


async def shown(service: Service, mobile: Phone) -> VerifiedCard:
    """The card that a camera sees on the screen now."""
    keys, code = await card_keys(service), await mobile.code()
    card = verify_presentation(UnverifiedPresentation(data=code, media="qr"), keys, int(time.time()))
    assert isinstance(card, VerifiedCard), card
    return card


async def asked(mobile: Phone, times: int = 1) -> None:
    """Wait until the page has asked the council so often since it was loaded."""
    await expect(mobile.page.locator("html")).to_have_attribute("data-asked", str(times))


async def test_the_key_never_leaves_the_phone_and_outlives_the_browser(service: Service, mobile: Phone) -> None:
    await mobile.bind(await link_url(service))
    assert mobile.page.url == f"{service.url}/card/"  # the used link is gone from the address bar
    first = await shown(service, mobile)
    assert first.presentation is Channel.LIVE
    (before,) = await mobile.page.evaluate(KEPT)
    assert (before["extractable"], before["usages"]) == (False, ["sign"])
    assert before["exports"] == ["InvalidAccessError"] * 3
    await mobile.restart()
    await mobile.open(f"{service.url}/card/")
    await mobile.see("card")
    (after,) = await mobile.page.evaluate(KEPT)
    assert after["point"] == before["point"]
    assert (await shown(service, mobile)).claims == first.claims


async def test_the_card_works_with_the_network_off_after_a_restart(service: Service, mobile: Phone) -> None:
    await publish(service, document())
    await mobile.bind(await link_url(service))
    await mobile.restart(offline=True)
    await mobile.open(f"{service.url}/card/")
    assert (await shown(service, mobile)).presentation is Channel.LIVE
    seen = mobile.page.locator('[data-view="card"] .seen')
    await expect(seen).to_contain_text("There is no connection just now. Your card works without it.")
    await expect(seen).to_contain_text("Last checked with Westminster City Council today at")
    await mobile.page.get_by_text("Gym").click()
    await expect(mobile.page.get_by_text("At every site that has a gate for this service.")).to_be_visible()
    await asked(mobile, 1)
    await mobile.page.get_by_role("button", name="Check again").click()
    await asked(mobile, 2)
    await expect(seen).to_contain_text("There is no connection just now.")
    assert mobile.context is not None
    await mobile.context.set_offline(False)  # it notices by itself, and the button goes
    await expect(seen).not_to_contain_text("no connection")


async def test_a_card_on_hold_or_over_shows_no_code_with_the_network_off_either(
    service: Service, mobile: Phone
) -> None:
    await mobile.bind(await link_url(service))
    (kept,) = await mobile.page.evaluate(KEPT)
    path = f"/v1/cards/{kept['card_id']}"
    await post(service, f"{path}/suspend", wanted=200)
    await mobile.page.reload()
    await mobile.see("stopped")
    await expect(mobile.page.get_by_role("heading", name="Your card is on hold")).to_be_visible()
    await expect(mobile.page.locator("#news")).to_have_text("Your card is on hold")
    await mobile.restart(offline=True)
    await mobile.open(f"{service.url}/card/")
    await mobile.see("stopped")
    assert await mobile.page.locator("#code").is_hidden()
    (on_hold,) = await mobile.page.evaluate(KEPT)
    assert on_hold["cwt"] is None
    assert mobile.context is not None
    await mobile.context.set_offline(False)
    await asked(mobile, 2)  # at its opening, and of its own accord when it noticed the network
    await post(service, f"{path}/resume", wanted=200)
    await mobile.page.get_by_role("button", name="Check again").click()
    await mobile.see("card")
    # Three years on, without any connection.
    await mobile.restart(offline=True, clock_ms=3 * 366 * 86_400_000)
    await mobile.open(f"{service.url}/card/")
    await expect(mobile.page.get_by_role("heading", name="Your card has ended")).to_be_visible()


async def test_a_link_that_is_no_good_says_so_and_ones_own_leads_to_the_card(
    service: Service, mobile: Phone, tmp_path: Path
) -> None:
    link = await link_url(service)
    await mobile.bind(link)
    await mobile.open(link)  # from a message, or a home screen
    await mobile.see("card")
    assert mobile.page.url == f"{service.url}/card/"
    async with phone(tmp_path / "second") as second:
        await second.open(link)
        await second.see("gone")
        await second.open(f"{service.url}/card/l/{'x' * 22}")
        await second.see("gone")
        await second.open(f"{service.url}/card/")
        await second.see("none")
        # The link was good when the page was opened, and used by another phone before the button was pressed.
        link = await link_url(service)
        await second.open(link)
        await second.see("setup")
        await mobile.bind(link)
        await second.page.locator("#bind").click()
        await second.see("gone")


async def test_cleared_storage_costs_a_new_link_and_nothing_else(service: Service, mobile: Phone) -> None:
    person = (await resident(service, card=False))["person_id"]
    await mobile.bind(await link_url(service, person))
    old = await shown(service, mobile)
    await mobile.page.evaluate(
        "indexedDB.databases().then((all) => all.forEach(({ name }) => indexedDB.deleteDatabase(name)))"
    )
    await mobile.restart()
    await mobile.open(f"{service.url}/card/")
    await mobile.see("none")
    await expect(mobile.page.get_by_role("heading", name="If you had a card here before")).to_be_visible()
    (card,) = (await service.call("GET", f"/v1/cards?person_id={person}"))[1]["items"]
    await mobile.bind(f"{service.url}/card/l/{await link_in_place_of(service, card['card_id'])}")
    new = await shown(service, mobile)
    assert new.claims.device_key != old.claims.device_key
    assert (await service.call("GET", f"/v1/cards/{card['card_id']}"))[1]["state"] == "replaced"


@pytest.mark.parametrize("missing", [NO_STORAGE, NO_CRYPTO, None])
async def test_a_browser_that_cannot_keep_a_key_gets_a_picture(
    service: Service, tmp_path: Path, missing: str | None
) -> None:
    async with phone(tmp_path / "profile", java_script_enabled=missing is not None) as mobile:
        assert mobile.context is not None
        if missing is not None:
            await mobile.context.add_init_script(missing)
        await mobile.open(await link_url(service))
        await mobile.page.get_by_role("button", name="Get the picture").click()
        await mobile.page.wait_for_url("**/card/picture")
        await mobile.page.get_by_role("img", name="The code of your card").wait_for()
        card = await shown_picture(service, mobile)
        assert (card.presentation, card.claims.channel) == (Channel.STATIC, Channel.STATIC)


async def shown_picture(service: Service, mobile: Phone) -> VerifiedCard:
    code = read_pixels(await mobile.page.screenshot())
    card = verify_presentation(
        UnverifiedPresentation(data=code, media="qr"), await card_keys(service), int(time.time())
    )
    assert isinstance(card, VerifiedCard), card
    return card


async def test_a_wrong_clock_makes_no_wrong_code(service: Service, mobile: Phone) -> None:
    await mobile.restart(clock_ms=7_200_000)
    await mobile.bind(await link_url(service))
    await expect(mobile.page.locator("#clock")).to_contain_text("This phone’s clock is 120 minutes fast.")
    assert (await shown(service, mobile)).sequence == pytest.approx(time.time(), abs=9)
    await mobile.restart(clock_ms=7_200_000, offline=True)
    await mobile.open(f"{service.url}/card/")
    assert (await shown(service, mobile)).sequence == pytest.approx(time.time(), abs=9)


async def test_the_code_turns_every_15_seconds_quietly_and_keeps_the_screen_awake(
    service: Service, mobile: Phone
) -> None:
    page = mobile.page
    await page.add_init_script(AWAKE)
    await page.clock.install()
    await mobile.open(await link_url(service))
    await page.locator("#bind").click()
    code = page.locator("#code")
    await page.locator("#code[data-iat]").wait_for()
    await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))

    async def turned(seconds: int) -> int:
        """The second of the code that comes within so many seconds from now."""
        before = str(await code.get_attribute("data-iat"))
        await page.clock.run_for(seconds * 1000)
        await expect(code).not_to_have_attribute("data-iat", before)
        return int(str(await code.get_attribute("data-iat")))

    turns = [await turned(16), await turned(15), await turned(15)]
    assert [later - earlier for earlier, later in pairwise(turns)] == [15, 15]
    assert int(str(await code.get_attribute("data-modules"))) <= 65  # version 12
    # A number that changes every second is nothing to be read out.
    assert await page.locator(".turn").get_attribute("aria-hidden") == "true"
    live = await page.evaluate(
        "[...document.querySelectorAll('[aria-live], [role=status], [role=alert]')].map((e) => e.id)"
    )
    assert sorted(live) == ["news", "setup-problem"]
    assert await page.locator("#news").text_content() == "The card is on this phone."
    assert await page.evaluate("locks.map(({ kind, released }) => [kind, released])") == [["screen", False]]
    # The browser takes the lock back whenever the page is left.
    await page.evaluate("""() => {
      locks[0].released = true;
      document.dispatchEvent(new Event("visibilitychange"));
    }""")
    assert await page.evaluate("locks.length") == 2
    await page.emulate_media(reduced_motion="reduce")
    told = set()
    for _ in range(15):
        await page.clock.run_for(1_000)
        told.add(await page.locator("#turn-text").text_content())
    assert told == {f"New code within {seconds} seconds" for seconds in (5, 10, 15)}
    assert await page.locator("#turn-bar").evaluate("(bar) => getComputedStyle(bar).transitionDuration") == "0s"


async def test_a_parent_holds_several_cards_and_removes_one(service: Service, mobile: Phone) -> None:
    await mobile.bind(await link_url(service))
    first = await shown(service, mobile)
    await mobile.bind(await link_url(service, given_name="Rowan"))
    page = mobile.page
    await expect(page.get_by_role("heading", name="Rowan’s card", exact=True)).to_be_visible()
    second = await shown(service, mobile)
    assert first.claims.card_id != second.claims.card_id
    card = await page.locator("#code").get_attribute("data-card")
    await page.get_by_role("button", name="Show Juniper’s card").click()
    await expect(page.get_by_role("heading", name="Juniper’s card", exact=True)).to_be_focused()
    await expect(page.locator("#code")).not_to_have_attribute("data-card", str(card))
    assert (await shown(service, mobile)).claims == first.claims
    await page.get_by_text("Remove this card from this phone").click()
    await page.get_by_role("button", name="Remove the card").click()
    await expect(page.locator("#others")).to_be_hidden()
    assert [card["holder"] for card in await page.evaluate(KEPT)] == ["Rowan"]


async def test_the_page_writes_codes_and_times_as_gates_and_people_read_them(service: Service, mobile: Phone) -> None:
    samples = [bytes(range(256))[start:] for start in (0, 1, 129, 254, 255)] + [b"", bytes(7), b"\xff" * 8]
    await mobile.open(f"{service.url}/card/")
    base = str(await mobile.page.locator("script[type=module]").get_attribute("src")).rpartition("/")[0]
    words = await mobile.page.evaluate(
        "async ([base, times]) => { const { seenWords } = await import(`${base}/words.js`);"
        " const card = { council: 'X', timezone: 'Europe/London' }, now = Date.parse(times[0]);"
        " return times.map((seenAt) => seenWords({ ...card, seenAt: Date.parse(seenAt) }, now, true)); }",
        [base, ["2026-07-01T12:00:00Z", "2026-06-30T23:05:00Z", "2026-06-30T22:59:00Z", "2025-12-31T00:00:00Z"]],
    )
    assert words == [
        "Last checked with X today at 1:00pm.",
        "Last checked with X today at 12:05am.",
        "Last checked with X on 30 June 2026 at 11:59pm.",
        "Last checked with X on 31 December 2025 at 12:00am.",
    ]
    written = await mobile.page.evaluate(
        "async ([base, samples]) => { const { encode } = await import(`${base}/base45.js`); "
        "return samples.map((bytes) => encode(Uint8Array.from(bytes))); }",
        [base, [list(sample) for sample in samples]],
    )
    assert [text.encode() for text in written] == [b45_encode(sample) for sample in samples]


async def test_a_service_that_is_away_is_told_and_the_card_comes_at_the_next_press(
    service: Service, mobile: Phone
) -> None:
    assert mobile.context is not None
    await mobile.open(await link_url(service))
    await mobile.see("setup")
    await mobile.ready_for_no_network()
    lost = asyncio.Event()

    async def lose(route: Any) -> None:
        """The request arrives, the answer does not."""
        await route.fetch()
        await route.abort()
        lost.set()

    await mobile.context.route("**/v1/phone/bind", lose, times=1)
    await mobile.page.locator("#bind").click()
    await expect(mobile.page.locator("#setup-problem")).to_contain_text("The council could not be reached.")
    assert lost.is_set()
    # The link is used by now, and the same key gets the card that it brought: also from a page opened anew.
    await mobile.page.reload()
    await mobile.page.locator("#bind").click()
    assert (await shown(service, mobile)).presentation is Channel.LIVE


async def test_a_new_release_reaches_the_phone_and_leaves_its_card_there(
    service: Service, mobile: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mobile.bind(await link_url(service))
    card = await shown(service, mobile)
    monkeypatch.setattr(pages, "version", lambda: "newrelease00")
    pages.worker_script.cache_clear()
    try:
        await mobile.page.reload()
        # The page that was kept is shown at once; beside it the browser gets the new worker, and that the new page.
        async with asyncio.timeout(PATIENCE_MS / 1000):
            # This page has a worker already, so no event of it tells of the next one's end.
            while await mobile.page.evaluate("caches.keys()") != ["card-newrelease00"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await mobile.restart(offline=True)
        await mobile.open(f"{service.url}/card/")
        assert (await shown(service, mobile)).claims == card.claims
        source = await mobile.page.locator("script[type=module]").get_attribute("src")
        assert source == "/card/assets/newrelease00/card.js"
    finally:
        pages.worker_script.cache_clear()


async def test_a_card_that_the_council_does_not_know_shows_no_code(service: Service, mobile: Phone) -> None:
    await mobile.bind(await link_url(service))
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE card SET device_key = NULL")
    await mobile.page.reload()
    await expect(mobile.page.get_by_role("heading", name="The council does not know this card")).to_be_visible()
    assert await mobile.page.locator("#code").is_hidden()
