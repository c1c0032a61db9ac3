"""What a reader's site must keep secret: given only where a service needs it, told when it changes, audited once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from cardservice.app import PLATFORM
from cardservice.sitesecrets.masters import Kind
from entitlements.wire.secrets import SecretsPage, decode_secrets
from tests.support.feed import PATIENCE, Event, document, open_stream, publish, take_snapshot
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.service import Service
from tests.support.state import post, resident, tag_of

PATH = "/v1/reader/secrets"
FEED = "wcc/leisure"


async def secrets(reader: FakeReader, tag: str | None = None) -> tuple[int, SecretsPage | None, str]:
    """Status, page and ETag of one call, with ``If-None-Match`` where a tag is given."""
    headers = {"Authorization": f"Reader {reader.assertion('GET', PATH)}"}
    if tag is not None:
        headers["If-None-Match"] = f'"{tag}"'
    async with reader.service.http.get(reader.service.url + PATH, headers=headers) as response:
        body = await response.read()
        return response.status, decode_secrets(body) if body else None, response.headers["ETag"].strip('"')


async def page_of(reader: FakeReader) -> SecretsPage:
    status, page, tag = await secrets(reader)
    assert status == 200
    assert page is not None
    assert page.tag == tag
    return page


async def holder_with_pin(service: Service, pin: str, **more: Any) -> dict[str, Any]:
    card = await resident(service, **more)
    path = f"/v1/people/{card['person_id']}/pin"
    status, answer = await service.call("PUT", path, {"pin": pin}, tenant=more.get("tenant", "wcc"))
    assert status == 200, answer
    return card


async def deliveries(service: Service, tenant: str = "wcc") -> list[dict[str, Any]]:
    async with service.app[PLATFORM].db.transaction(tenant) as conn:
        rows = await conn.fetch("SELECT detail FROM audit WHERE action = 'secrets.delivered' ORDER BY audit_id")
    return [dict(row["detail"]) for row in rows]


async def beat_with(events: AsyncIterator[Event], tag: str) -> None:
    """Wait for a beat that tells this tag."""
    async with asyncio.timeout(PATIENCE):
        async for event in events:
            if event.name == "beat" and event.data["secrets"] == tag:
                return
    raise AssertionError("the stream ended")


def library(**more: Any) -> dict[str, Any]:
    """A service that asks for a PIN at the gym's own site."""
    return document(requires=[{"factor": "pin"}], **more)


async def test_a_gate_gets_verifiers_only_where_a_pin_is_asked_for(service: Service) -> None:
    reader = await enrolled_reader(service)
    await publish(service, document())
    card, stranger = await holder_with_pin(service, "847301"), await resident(service)
    before = await page_of(reader)
    assert before.empty
    assert (await secrets(reader, before.tag))[0] == 304
    # At another site, in another zone, in another area, or at named lanes that are not these: not this gate's business.
    for elsewhere in (
        library(where={"sites": ["queen-mother"]}),
        library(where={"sites": ["porchester"], "zones": ["pool"]}),
        library(service_id="wcc.library.open"),
    ):
        await publish(service, elsewhere)
        assert (await page_of(reader)).empty
    await publish(service, library(where={"sites": ["porchester"], "zones": ["gym"]}))
    page = await page_of(reader)
    assert page.tag != before.tag
    assert (page.pin_tenants, page.totp, page.chip, page.uids, page.uid_keys) == (["wcc"], {}, {}, [], {})
    (verifier,) = page.pins
    assert (verifier.tenant, verifier.index, verifier.tag, verifier.version) == ("wcc", card["index"], tag_of(card), 1)
    assert verifier.index != stranger["index"]
    Argon2id.verify_phc_encoded(b"847301", verifier.verifier)
    # The service asks for none any more: the gate is told to drop what it has.
    await publish(service, document())
    assert await page_of(reader) == before


async def test_a_lost_card_and_a_cleared_pin_leave_no_verifier_behind(service: Service) -> None:
    reader = await enrolled_reader(service)
    await publish(service, library())
    card, other = await holder_with_pin(service, "847301"), await holder_with_pin(service, "902133")
    page = await page_of(reader)
    assert {each.index for each in page.pins} == {card["index"], other["index"]}
    await post(service, f"/v1/cards/{card['card_id']}/lost", {"reason": "in the park"}, wanted=200)
    status, fewer, tag = await secrets(reader, page.tag)
    assert status == 200
    assert fewer is not None
    assert [each.index for each in fewer.pins] == [other["index"]]
    # The new card of the same person has the PIN of the person.
    new = await post(service, f"/v1/cards/{card['card_id']}/replace")
    assert {each.index for each in (await page_of(reader)).pins} == {new["index"], other["index"]}
    await service.call("DELETE", f"/v1/people/{other['person_id']}/pin")
    last = await page_of(reader)
    assert [(each.index, each.version) for each in last.pins] == [(new["index"], 1)]
    assert len({page.tag, tag, last.tag}) == 3
    # A card on hold opens nothing, so its verifier is not kept for a thief either; and it comes back with the card.
    for event, held in (("suspend", []), ("resume", [new["index"]])):
        await post(service, f"/v1/cards/{new['card_id']}/{event}", {"reason": "a doubt"}, wanted=200)
        page = await page_of(reader)
        assert [each.index for each in page.pins] == held
        assert page.tag != last.tag
        last = page
    # Somebody without a PIN gets a card: nothing that this gate holds has changed.
    await resident(service)
    assert (await secrets(reader, last.tag))[0] == 304


async def test_a_gate_hears_of_a_new_pin_with_the_next_beat(service: Service) -> None:
    reader, other = await enrolled_reader(service), await enrolled_reader(service, site="queen-mother")
    await publish(service, library(where={"sites": ["porchester"]}))
    await holder_with_pin(service, "847301")
    mirror = await take_snapshot(reader, FEED)
    unmoved = (await page_of(other)).tag
    async with open_stream(reader, mirror) as events, open_stream(other, mirror) as elsewhere:
        await beat_with(events, (await page_of(reader)).tag)
        card = await holder_with_pin(service, "902133")
        await beat_with(events, (await page_of(reader)).tag)
        status, answer = await service.call("POST", f"/v1/people/{card['person_id']}/pin/unlock")
        assert (status, answer["version"]) == (200, 2)
        page = await page_of(reader)
        assert {each.version for each in page.pins} == {1, 2}
        await beat_with(events, page.tag)
        await publish(service, document())
        await beat_with(events, (await page_of(reader)).tag)
        # A site that needs none of it is not woken by any of this.
        await beat_with(elsewhere, unmoved)


async def test_masters_are_made_when_needed_given_where_needed_and_turned(service: Service) -> None:
    reader = await enrolled_reader(service)
    await publish(service, document())
    platform = service.app[PLATFORM]
    assert (await page_of(reader)).empty, "nobody has needed a master yet"

    async def needed(kind: Kind) -> bytes:
        async with platform.db.transaction("wcc") as conn:
            return (await platform.masters.newest(conn, "wcc", kind)).octets

    # Two that need the first one at the same moment get the same.
    masters = await asyncio.gather(*(needed(Kind.CHIP) for _ in range(4)))
    assert len(set(masters)) == 1
    assert len(masters[0]) == 16
    totp, uid = await needed(Kind.TOTP), await needed(Kind.UID)
    # A service that does not say takes chips, and neither rotating codes nor bare serial numbers.
    page = await page_of(reader)
    assert (page.chip_masters(), page.totp, page.uid_keys) == ({"wcc": (masters[0],)}, {}, {})
    await publish(service, document(requires=[{"presentation": ["live", "static"]}]))
    assert (await page_of(reader)).empty
    await publish(service, document(requires=[{"presentation": ["totp", "uid"]}]))
    page = await page_of(reader)
    assert (page.chip, page.totp_masters(), page.uid_masters()) == ({}, {"wcc": (totp,)}, {"wcc": (uid,)})

    status, made = await service.call("POST", "/v1/site-secrets/totp/rotate")
    assert (status, made["kind"], made["retired_at"]) == (201, "totp", None)
    newest, oldest = (await page_of(reader)).totp_masters()["wcc"]
    assert (newest, oldest) == (await needed(Kind.TOTP), totp)
    items = (await service.call("GET", "/v1/site-secrets", roles="auditor"))[1]["items"]
    assert [each["kind"] for each in items] == ["totp", "uid", "totp", "chip"]
    assert items[0]["secret_id"] == made["secret_id"]
    shown = str(items)
    assert not any(text in shown for text in (*page.totp["wcc"], *page.uid_keys["wcc"], totp.hex(), uid.hex()))
    retire = f"/v1/site-secrets/{items[2]['secret_id']}/retire"
    assert (await service.call("POST", f"/v1/site-secrets/{items[0]['secret_id']}/retire"))[1][
        "code"
    ] == "secret_in_use"
    assert (await service.call("POST", retire, tenant="rbkc"))[0] == 404
    assert (await service.call("POST", retire, roles="operator"))[0] == 403
    assert (await service.call("POST", retire))[0] == 200
    assert (await service.call("POST", retire))[1]["code"] == "secret_retired"
    assert (await page_of(reader)).totp_masters() == {"wcc": (newest,)}
    assert (await service.call("POST", "/v1/site-secrets/tattoo/rotate"))[0] == 404
    for _ in range(7):
        assert (await service.call("POST", "/v1/site-secrets/totp/rotate"))[0] == 201
    assert (await service.call("POST", "/v1/site-secrets/totp/rotate"))[1]["code"] == "too_many_secrets"


async def test_each_delivery_is_audited_once_in_the_council_whose_secrets_left(service: Service) -> None:
    await publish(service, library(), shared_with=("rbkc",))
    reader = await enrolled_reader(service, feeds=(FEED, "rbkc/leisure"))
    await holder_with_pin(service, "847301")
    visitor = await holder_with_pin(service, "902133", tenant="rbkc")
    page = await page_of(reader)
    assert page.pin_tenants == ["rbkc", "wcc"]
    assert (page.pins[0].tenant, page.pins[0].index) == ("rbkc", visitor["index"])
    # Polled again, and asked for whole after a lost file: the same page is the same delivery.
    assert (await secrets(reader, page.tag))[0] == 304
    assert await page_of(reader) == page
    told = {"site": "porchester", "reader_of": "wcc", "tag": page.tag, "pins": 1}
    assert await deliveries(service) == [told]
    assert await deliveries(service, "rbkc") == [told]
    await holder_with_pin(service, "380517")
    changed = await page_of(reader)
    assert await deliveries(service) == [told, told | {"tag": changed.tag, "pins": 2}]
    # A reader of the other council that does not carry this one's feed gets nothing of it.
    own = await enrolled_reader(service, tenant="rbkc", site="chelsea-gym", feeds=("rbkc/leisure",))
    assert {each.tenant for each in (await page_of(own)).pins} == {"rbkc"}
    # Neither does whoever was revoked, nor staff.
    await post(service, f"/v1/readers/{reader.reader_id}/revoke", wanted=200)
    assert (await reader.call("GET", PATH))[0] == 403
    assert (await service.call("GET", PATH))[0] in (401, 403)


async def test_masters_of_two_councils_do_not_mix(service: Service) -> None:
    platform = service.app[PLATFORM]
    async with platform.db.transaction("rbkc") as conn:
        theirs = await platform.masters.newest(conn, "rbkc", Kind.CHIP)
    async with platform.db.transaction("wcc") as conn:
        assert await platform.masters.in_use(conn, "rbkc", Kind.CHIP) == ()
        ours = await platform.masters.newest(conn, "wcc", Kind.CHIP)
        assert ours.octets != theirs.octets
        assert ours.octets.hex() not in repr(ours)
        # A row copied under another council's name does not open.
        await conn.execute("SELECT set_config('rescard.tenant', '*', true)")
        foreign = "SELECT sealed FROM tenant_secret WHERE tenant = 'rbkc'"
        await conn.execute(f"UPDATE tenant_secret SET sealed = ({foreign}) WHERE tenant = 'wcc'")
        with pytest.raises(Exception, match="does not open"):
            await platform.masters.in_use(conn, "wcc", Kind.CHIP)
