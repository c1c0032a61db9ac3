"""Keys change while people walk in: nobody is refused, no tap is lost, and what a stolen key signed opens nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import jwt

from cardservice.app import PLATFORM
from entitlements.credential.jwt import claims_from_wire, sign_card
from entitlements.credential.keys import SigningKey
from readers.daemon import Daemon
from tests.support.feed import document, publish
from tests.support.keys import grown_up, rotated, until_key
from tests.support.reader import add_site
from tests.support.service import Service
from tests.support.state import get, post, resident
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.site import ready, running, site_settings, until

VISITORS = 2
AFTER = 2
"""Rounds that end after the change: the last lies after it as a whole."""


class Gate:
    """A lane with people before it."""

    def __init__(self, daemon: Daemon, devices: Devices) -> None:
        self.daemon = daemon
        self.devices = devices
        self.tried = 0

    async def present(self, token: str) -> str:
        """Hold a card to the lane and tell the reason when all is over."""
        lane = self.daemon.lanes[0]
        self.tried += 1
        self.devices.sources["qr:1"].present(token.encode())
        await until(lambda: lane.counts["tried"] >= self.tried and lane.state == "idle")
        return str(lane.recent[0]["reason"])


async def _code(service: Service) -> str:
    await add_site(service)
    body = {"site": "porchester", "name": "gates", "feeds": ["wcc/leisure"]}
    return str((await post(service, "/v1/readers/codes", body))["code"])


def _kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def test_a_key_is_rotated_while_people_walk_in_and_nobody_is_refused(service: Service, tmp_path: Path) -> None:
    await publish(service, document())
    cards = [await resident(service) for _ in range(VISITORS)]
    old = _kid(cards[0]["token"])
    devices = Devices()
    settings = site_settings(service.url, tmp_path, ("1",), poll_seconds=3600.0)
    seen: list[tuple[str, str]] = []
    async with running(settings, devices, code=await _code(service)) as daemon:
        await ready(daemon)
        gate = Gate(daemon, devices)
        stop = asyncio.Event()

        async def people() -> None:
            after = 0
            while after < AFTER:
                for card in cards:
                    fresh = (await get(service, f"/v1/cards/{card['card_id']}/code"))["token"]
                    for token in (card["token"], fresh):
                        seen.append((_kid(token), await gate.present(token)))
                after += stop.is_set()

        walking = asyncio.create_task(people())
        key = await rotated(service)
        await until(lambda: len(seen) >= VISITORS)
        assert {kid for kid, _ in seen} == {old}, "it does not sign before it is known"
        await until_key(service, key["kid"], lambda found: not found["awaited"])
        await grown_up(service, key["kid"])
        service.app[PLATFORM].rotations.wake()
        await until_key(service, key["kid"], lambda found: found["state"] == "active")
        newcomer = await resident(service)
        assert _kid(newcomer["token"]) == key["kid"]
        stop.set()
        await walking
        assert await gate.present(newcomer["token"]) == "ok"
        await until(lambda: daemon.outbox.waiting == 0)
    assert {reason for _, reason in seen} == {"ok"}
    assert {kid for kid, _ in seen} == {old, key["kid"]}
    taps = await _taps(service)
    assert len(taps) == len(seen) + 1
    assert {tap["outcome"] for tap in taps} == {"allow"}


async def _taps(service: Service) -> list[dict[str, Any]]:
    """Every tap, each once."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await get(service, f"/v1/taps?limit=500{cursor}", roles="operator")
        found += page["items"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len({tap["tap_id"] for tap in found}) == len(found)
    return found


async def test_what_a_stolen_key_signed_opens_nothing_from_its_revocation_on(service: Service, tmp_path: Path) -> None:
    await publish(service, document())
    card, neighbour = await resident(service), await resident(service)
    platform = service.app[PLATFORM]
    async with platform.db.transaction("wcc") as conn:
        stolen: SigningKey = await platform.keys.signer(conn, "wcc", "card")
    devices = Devices()
    settings = site_settings(service.url, tmp_path, ("1",), poll_seconds=3600.0)
    async with running(settings, devices, code=await _code(service)) as daemon:
        await ready(daemon)
        gate = Gate(daemon, devices)
        claims = claims_from_wire(jwt.decode(neighbour["token"], options={"verify_signature": False}))
        forged = sign_card(claims, stolen)  # the thief makes a card of somebody who has a right
        for token in (card["token"], forged):
            assert await gate.present(token) == "ok", "the gate remembers it as good"
        new = await rotated(service, force=True, reason="the key was stolen")
        revoked = await post(service, f"/v1/keys/{stolen.kid}/revoke", {"reason": "the key was stolen"}, wanted=200)
        assert revoked["cards"]["issued"] == 2
        number = (await get(service, "/v1/areas"))["items"][0]["number"]
        await until(lambda: daemon.feeds["wcc/leisure"].cache.number >= number)  # type: ignore[union-attr]
        for token in (forged, card["token"]):
            assert await gate.present(token) == "bad_signature"
        fresh = (await get(service, f"/v1/cards/{card['card_id']}/code"))["token"]
        assert _kid(fresh) == new["kid"]
        assert await gate.present(fresh) == "ok"
        await until(lambda: daemon.outbox.waiting == 0)
    assert sorted(tap["reason"] for tap in await _taps(service)) == ["bad_signature"] * 2 + ["ok"] * 3
