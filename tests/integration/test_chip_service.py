"""Putting cards on chips: what a station is given, and everything that would leave two people with one card."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from cardservice.app import PLATFORM
from cardservice.sitesecrets.masters import Kind
from entitlements.credential import KeySet, UnverifiedPresentation, VerifiedCard, verify_presentation
from entitlements.credential.chip import chip_key
from entitlements.credential.sitesecrets import SiteSecrets
from entitlements.credential.uid import uid_hash
from entitlements.model import TenantId
from entitlements.wire.secrets import SecretsPage, decode_secrets, octets
from hardware.virtual.ntag424 import Chip
from tests.support.chips import tap
from tests.support.feed import PATIENCE, document, number_of, publish
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.registry import issue_card
from tests.support.service import Service
from tests.support.state import get, post, resident

NUMBER = "04DE5F1EACC040"
OTHER = "04DE5F1EACC041"


async def chip_card(service: Service, **more: Any) -> str:
    """The id of a new card for a chip."""
    return str((await issue_card(service, channel="chip", **more))["card_id"])


async def prepare(service: Service, card: str, number: str = NUMBER, *, wanted: int = 200, **more: Any) -> Any:
    return await post(service, f"/v1/cards/{card}/chip", {"uid": number}, wanted=wanted, roles="station", **more)


async def refused(service: Service, path: str, number: str, roles: str = "station", **more: Any) -> tuple[int, str]:
    status, answer = await service.call("POST", path, {"uid": number}, roles=roles, **more)
    return status, answer.get("code", "")


def written(setup: dict[str, Any], number: str = NUMBER) -> Chip:
    """The chip as a station leaves it that does what the reply says, and knows nothing else."""
    return Chip(
        uid=bytes.fromhex(number),
        file=bytes.fromhex(setup["ndef_file"]),
        settings=bytes.fromhex(setup["file_settings"]),
        keys=[bytes.fromhex(key) for key in setup["keys"]],
    )


async def masters(service: Service, kind: Kind = Kind.CHIP, tenant: str = "wcc") -> tuple[bytes, ...]:
    platform = service.app[PLATFORM]
    async with platform.db.transaction(tenant, read_only=True) as conn:
        return tuple(master.octets for master in await platform.masters.in_use(conn, tenant, kind))


async def verify(service: Service, link: bytes, tenant: str = "wcc") -> Any:
    """As a gate does, with what it is given."""
    async with service.http.get(f"{service.url}/v1/tenants/{tenant}/jwks.json") as response:
        keys = KeySet.from_jwks(TenantId(tenant), await response.json())
    secrets = SiteSecrets(chip={tenant: await masters(service, tenant=tenant)})
    shown = UnverifiedPresentation(data=link, media="nfc-ndef")
    return verify_presentation(shown, keys, int(time.time()), secrets=secrets)


async def test_a_chip_written_as_the_service_says_is_the_residents_card_at_the_second_try_too(service: Service) -> None:
    card = await chip_card(service)
    setup = await prepare(service, card)
    assert (setup["kind"], setup["key_version"], setup["old_keys"]) == ("signed", 1, None)
    file = bytes.fromhex(setup["ndef_file"])
    assert file[setup["mac_input_offset"] :].startswith(b"RN1:")
    assert file[setup["picc_offset"] :].startswith(b"0" * 32)
    assert file[setup["mac_offset"] :] == b"0" * 16
    found = await verify(service, tap(written(setup)))
    assert isinstance(found, VerifiedCard)
    row = await get(service, f"/v1/cards/{card}")
    assert found.claims.index == row["index"]
    assert (await get(service, f"/v1/cards/{card}/chip", roles="desk"))["kind"] == "signed"
    # A station whose writing failed is given the same again, though the council's master is another by now.
    await post(service, "/v1/site-secrets/chip/rotate")
    again = await prepare(service, card)
    assert {name: again[name] for name in ("keys", "ndef_file", "old_keys")} == {
        name: setup[name] for name in ("keys", "ndef_file", "old_keys")
    }
    assert isinstance(await verify(service, tap(written(again))), VerifiedCard)


async def test_one_chip_never_holds_two_living_cards_and_one_card_is_never_on_two_chips(service: Service) -> None:
    card, other = await chip_card(service), await chip_card(service)
    await prepare(service, card)
    assert await refused(service, f"/v1/cards/{other}/chip", NUMBER) == (409, "chip_taken")
    assert await refused(service, f"/v1/cards/{card}/chip", OTHER) == (409, "card_has_chip")
    assert await refused(service, f"/v1/cards/{other}/uid", NUMBER, "desk") == (409, "chip_taken")
    assert await refused(service, f"/v1/cards/{card}/uid", NUMBER, "desk") == (409, "card_has_chip")
    # A hold can be undone, so the chip stays that card's.
    await post(service, f"/v1/cards/{card}/suspend", wanted=200)
    assert await refused(service, f"/v1/cards/{other}/chip", NUMBER) == (409, "chip_taken")
    # The rotation of the key that hashes numbers does not make the chip a stranger.
    await post(service, "/v1/site-secrets/uid/rotate")
    assert await refused(service, f"/v1/cards/{other}/chip", NUMBER) == (409, "chip_taken")


async def test_a_chip_whose_card_has_ended_is_written_anew_with_the_keys_that_it_holds(service: Service) -> None:
    card = await chip_card(service)
    first = await prepare(service, card)
    await post(service, "/v1/site-secrets/chip/rotate")
    renewed = await post(service, f"/v1/cards/{card}/renew")
    setup = await prepare(service, renewed["card_id"])
    assert setup["old_keys"] == first["keys"]
    assert not set(setup["keys"]) & set(first["keys"])
    assert isinstance(await verify(service, tap(written(setup))), VerifiedCard)
    # Lost: the chip is free, and nobody has its keys any more once their master is retired.
    await post(service, f"/v1/cards/{renewed['card_id']}/lost", wanted=200)
    newest = (await get(service, "/v1/site-secrets"))["items"]
    held = next(each["secret_id"] for each in newest if each["kind"] == "chip")
    await post(service, "/v1/site-secrets/chip/rotate")
    await post(service, f"/v1/site-secrets/{held}/retire", wanted=200)
    next_card = await chip_card(service)
    assert await refused(service, f"/v1/cards/{next_card}/chip", NUMBER) == (409, "chip_keys_retired")
    await prepare(service, next_card, OTHER)


async def test_only_a_living_chip_card_goes_on_a_chip_that_can_be_told_from_others(service: Service) -> None:
    card = await chip_card(service)
    paper = (await issue_card(service))["card_id"]
    held = await chip_card(service)
    await post(service, f"/v1/cards/{held}/suspend", wanted=200)
    for path, roles in (("chip", "station"), ("uid", "desk")):
        assert await refused(service, f"/v1/cards/{paper}/{path}", NUMBER, roles) == (409, "card_channel")
        assert await refused(service, f"/v1/cards/{held}/{path}", NUMBER, roles) == (409, "card_state")
        assert await refused(service, f"/v1/cards/AAAAAAAAAAA/{path}", NUMBER, roles) == (404, "card_not_found")
    status, answer = await service.call("GET", f"/v1/cards/{paper}/chip", roles="desk")
    assert (status, answer["code"]) == (404, "chip_not_found")
    # Nor is there a code of a chip's card to print, in any form: it would open nothing.
    for code in ("code", "code?form=rp1", "qr.png", "qr.svg"):
        status, answer = await service.call("GET", f"/v1/cards/{card}/{code}", roles="desk")
        assert (status, answer["code"]) == (409, "card_channel")
    issued = await issue_card(service, channel="chip")
    renewed = await post(service, f"/v1/cards/{issued['card_id']}/renew")
    assert (issued["token"], renewed["token"]) == (None, None)
    for number in ("08A1B2C3", "88AABBCC", "0FAABBCC"):
        status, answer = await service.call("POST", f"/v1/cards/{card}/uid", {"uid": number}, roles="desk")
        assert (status, answer["code"]) == (422, "wrong_values")
        assert number not in json.dumps(answer)
    for body in ({}, {"uid": "04de5f1eacc040"}, {"uid": "04DE5F1EACC0"}, {"uid": "04A1B2C3"}):
        assert (await service.call("POST", f"/v1/cards/{card}/chip", body, roles="station"))[0] == 422


async def test_the_keys_of_a_chip_go_to_stations_and_nobody_elses_council(service: Service) -> None:
    card = await chip_card(service)
    for roles in ("desk", "manager", "operator", "auditor"):
        assert await refused(service, f"/v1/cards/{card}/chip", NUMBER, roles) == (403, "role_missing")
    for roles in ("station", "manager", "operator", "auditor"):
        assert await refused(service, f"/v1/cards/{card}/uid", NUMBER, roles) == (403, "role_missing")
    assert await refused(service, f"/v1/cards/{card}/chip", NUMBER, tenant="rbkc") == (404, "card_not_found")
    # The neighbour may put a card of its own on a chip of the same number: nothing is known of ours there.
    theirs = await chip_card(service, tenant="rbkc")
    await prepare(service, card)
    setup = await prepare(service, theirs, tenant="rbkc")
    (own,) = await masters(service, tenant="rbkc")
    assert setup["keys"][0] == chip_key(own, bytes.fromhex(NUMBER), 0).hex().upper()
    assert own not in await masters(service)


async def test_neither_number_nor_keys_are_in_the_audit_or_in_the_table(service: Service) -> None:
    card, legacy = await chip_card(service), await chip_card(service)
    setup = await prepare(service, card)
    await post(service, f"/v1/cards/{legacy}/uid", {"uid": "04AABBCC"}, wanted=200, roles="desk")
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        kept = [dict(row) for row in await conn.fetch("SELECT * FROM chip ORDER BY kind")]
        subjects = [f"card:{card}", f"card:{legacy}"]
        audited = [dict(row) for row in await conn.fetch("SELECT * FROM audit WHERE subject = ANY($1)", subjects)]
    assert [row["kind"] for row in kept] == ["number", "signed"]
    assert {row["action"] for row in audited} >= {"chip.prepared", "chip.number_registered"}
    text = repr(kept + audited).lower()
    for secret in (NUMBER, "04AABBCC", *setup["keys"]):
        assert secret.lower() not in text
        assert repr(bytes.fromhex(secret))[2:-1].lower() not in text


async def test_a_site_has_the_numbers_of_living_cards_and_only_if_it_takes_such(service: Service) -> None:
    person = await resident(service, card=False)
    legacy = (await post(service, "/v1/cards", {"person_id": person["person_id"], "channel": "chip"}))["card_id"]
    await post(service, f"/v1/cards/{legacy}/uid", {"uid": "04AABBCC"}, wanted=200, roles="desk")
    reader = await enrolled_reader(service)
    await publish(service, document())
    assert (await _page(reader)).empty
    await publish(service, document(requires=[{"presentation": ["uid"]}]))
    page = await _until(reader, lambda page: bool(page.uids))
    (key,) = page.uid_masters()["wcc"]
    (card,) = page.uids
    assert octets(card.uid_hash, 32) == uid_hash(key, bytes.fromhex("04AABBCC"))
    row = await get(service, f"/v1/cards/{legacy}")
    assert (card.card, card.index, card.issue_number) == (legacy, row["index"], row["issue_number"])
    assert not page.chip_masters()
    # And what was let in by such a number is explained as that, later.
    shown = reader.tap(card=legacy, media="nfc-uid", service_version=2, at=int(time.time() * 1000) + 1)
    shown["feed_number"] = await number_of(service, "wcc/leisure")
    assert (await reader.upload(shown))[0] == 200
    why = await get(service, f"/v1/taps/{shown['tap_id']}/why", roles="desk")
    assert (why["replayed"]["reason"], why["agrees"]) == ("ok", True)
    await post(service, f"/v1/cards/{legacy}/lost", wanted=200)
    gone = await _until(reader, lambda page: not page.uids)
    assert gone.tag != page.tag


async def _page(reader: FakeReader) -> SecretsPage:
    status, answer = await reader.call("GET", "/v1/reader/secrets")
    assert status == 200, answer
    return decode_secrets(json.dumps(answer))


async def _until(reader: FakeReader, good: Callable[[SecretsPage], bool]) -> SecretsPage:
    """Ask as a reader does, again and again: the service answers from what it read at most a second ago."""
    async with asyncio.timeout(PATIENCE):
        while True:
            page = await _page(reader)
            if good(page):
                return page
            await asyncio.sleep(0.05)
