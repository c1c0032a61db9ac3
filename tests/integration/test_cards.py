"""Cards over HTTP: issue, life, code, picture."""

from __future__ import annotations

import asyncio
import io
import uuid
from datetime import UTC, datetime, timedelta

import asyncpg
import jwt
import msgspec
import pytest
from PIL import Image

from cardservice.app import PLATFORM
from cardservice.cards.expiry import expire_due_cards
from entitlements.credential import (
    CardForm,
    KeySet,
    UnverifiedPresentation,
    VerifiedCard,
    verify_presentation,
)
from entitlements.model import TenantId
from tests.support.feed import PATIENCE, document, number_of, publish
from tests.support.qr import read_qr
from tests.support.registry import add_person, issue_card
from tests.support.service import Service, run_service


async def _public_key(service: Service, token: str, tenant: str = "wcc") -> jwt.PyJWK:
    async with service.http.get(f"{service.url}/v1/tenants/{tenant}/jwks.json") as response:
        assert response.status == 200
        keys = jwt.PyJWKSet.from_dict(await response.json())
    return keys[jwt.get_unverified_header(token)["kid"]]


async def test_anybody_can_check_a_card_with_the_published_keys_alone(service: Service):
    card = await issue_card(service)
    claims = jwt.decode(card["token"], key=await _public_key(service, card["token"]), algorithms=["ES256"])
    assert claims["iss"] == "wcc"
    assert claims["jti"] == card["card_id"]
    assert claims["status"]["status_list"]["idx"] == card["index"]
    assert claims["fn"] == card["issue_number"]
    assert claims["exp"] == int(datetime.fromisoformat(card["expires_at"]).timestamp())
    assert set(claims) == {"iss", "jti", "iat", "exp", "fn", "ch", "status"}, "no personal data, no entitlement"
    assert jwt.get_unverified_header(card["token"])["typ"] == "rescard+jwt"


async def test_a_card_lasts_two_years_to_the_end_of_its_last_local_day(service: Service):
    card = await issue_card(service)
    assert card["expires_at"].endswith(("T00:00:00Z", "T23:00:00Z")), "midnight in London"
    life = datetime.fromisoformat(card["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=730) <= life <= timedelta(days=731, hours=1)


async def test_the_picture_on_the_card_is_the_code_and_nothing_else(service: Service):
    card = await issue_card(service)
    for scale in (2, 8):
        status, png = await service.call("GET", f"/v1/cards/{card['card_id']}/qr.png?scale={scale}")
        assert status == 200
        code = read_qr(Image.open(io.BytesIO(png)))
        claims = [jwt.decode(token, options={"verify_signature": False}) for token in (code.text, card["token"])]
        assert claims[0] == claims[1]
        jwt.decode(code.text, key=await _public_key(service, code.text), algorithms=["ES256"])
        assert code.ec_level == "M"
        picture = Image.open(io.BytesIO(png)).convert("L")
        quiet = picture.crop((0, 0, picture.width, 4 * scale))
        assert quiet.getextrema() == (255, 255), "the quiet zone is four modules wide"
    status, svg = await service.call("GET", f"/v1/cards/{card['card_id']}/qr.svg")
    assert status == 200
    assert svg.startswith(b"<?xml")
    assert b"<path" in svg


async def test_the_small_code_for_paper_says_the_same_and_is_small(service: Service):
    card = await issue_card(service)
    path = f"/v1/cards/{card['card_id']}"
    token = (await service.call("GET", f"{path}/code?form=rp1"))[1]["token"]
    header = jwt.get_unverified_header(card["token"])
    async with service.http.get(f"{service.url}/v1/tenants/wcc/jwks.json") as response:
        keys = KeySet.from_jwks(TenantId("wcc"), await response.read())
    presented = UnverifiedPresentation(data=token.encode(), media="qr")
    now = int(datetime.now(UTC).timestamp())
    small = verify_presentation(presented, keys, now)
    large = verify_presentation(UnverifiedPresentation(data=card["token"].encode(), media="qr"), keys, now)
    assert isinstance(small, VerifiedCard)
    assert isinstance(large, VerifiedCard)
    assert (small.form, small.kid) == (CardForm.CWT, header["kid"])
    assert msgspec.structs.replace(large.claims, status_uri=None) == small.claims
    status, png = await service.call("GET", f"{path}/qr.png?form=rp1&scale=4")
    assert status == 200
    picture = Image.open(io.BytesIO(png))
    code = read_qr(picture)
    assert (code.text, code.ec_level) == (token, "M")
    assert picture.size == (4 * (4 + 45 + 4),) * 2, "version 7, with its quiet zone"
    assert (await service.call("GET", f"{path}/code?form=rc1"))[0] == 422


async def test_the_code_can_be_had_again_while_the_card_is_active_and_never_after(service: Service):
    card = await issue_card(service)
    path = f"/v1/cards/{card['card_id']}"
    status, again = await service.call("GET", f"{path}/code", roles="desk")
    assert status == 200
    claims = [jwt.decode(token, options={"verify_signature": False}) for token in (again["token"], card["token"])]
    assert claims[0] == claims[1]
    for event, wanted in (("suspend", 409), ("resume", 200), ("revoke", 409)):
        assert (await service.call("POST", f"{path}/{event}"))[0] == 200
        for picture in ("code", "qr.png", "qr.svg"):
            assert (await service.call("GET", f"{path}/{picture}"))[0] == wanted, (event, picture)


async def test_a_revoked_card_stays_revoked_whatever_the_desk_tries(service: Service):
    card = await issue_card(service)
    path = f"/v1/cards/{card['card_id']}"
    status, revoked = await service.call("POST", f"{path}/revoke", {"reason": "sold on the internet"})
    assert (status, revoked["state"], revoked["state_reason"]) == (200, "revoked", "sold on the internet")
    for event in ("suspend", "resume", "lost", "renew", "replace", "revoke"):
        status, problem = await service.call("POST", f"{path}/{event}")
        assert (status, problem["code"], problem["state"]) == (409, "card_state", "revoked")
    assert (await service.call("GET", path))[1]["state"] == "revoked"


@pytest.mark.parametrize(
    ("event", "body", "old_state"),
    [
        ("renew", {}, "replaced"),
        ("replace", {}, "replaced"),
        ("replace", {"cause": "damaged"}, "replaced"),
        ("replace", {"cause": "stolen", "reason": "crime number 7"}, "lost"),
    ],
)
async def test_a_new_card_ends_the_old_one_in_the_same_moment(
    service: Service, event: str, body: dict[str, str], old_state: str
):
    old = await issue_card(service)
    status, new = await service.call("POST", f"/v1/cards/{old['card_id']}/{event}", body)
    assert status == 201
    assert (new["state"], new["replaces"], new["person_id"]) == ("active", old["card_id"], old["person_id"])
    assert new["index"] != old["index"]
    assert new["issue_number"] > old["issue_number"]
    cards = (await service.call("GET", f"/v1/cards?person_id={old['person_id']}"))[1]["items"]
    assert {card["card_id"]: card["state"] for card in cards} == {
        old["card_id"]: old_state,
        new["card_id"]: "active",
    }
    status, _ = await service.call("POST", f"/v1/cards/{old['card_id']}/replace")
    assert status == 409, "a card has one successor"


async def test_a_lost_card_is_replaced_once_even_when_two_desks_press_at_once(service: Service):
    card = await issue_card(service)
    path = f"/v1/cards/{card['card_id']}"
    assert (await service.call("POST", f"{path}/lost"))[1]["state"] == "lost"
    answers = await asyncio.gather(*(service.call("POST", f"{path}/replace") for _ in range(5)))
    assert sorted(status for status, _ in answers) == [201, 409, 409, 409, 409]
    cards = (await service.call("GET", f"/v1/cards?person_id={card['person_id']}"))[1]["items"]
    assert sorted(each["state"] for each in cards) == ["active", "replaced"]


async def test_a_suspended_card_is_not_renewed_round_its_suspension(service: Service):
    card = await issue_card(service)
    path = f"/v1/cards/{card['card_id']}"
    await service.call("POST", f"{path}/suspend")
    for event in ("renew", "replace", "suspend"):
        status, problem = await service.call("POST", f"{path}/{event}")
        assert (status, problem["allowed"]) == (409, ["resume", "lose", "expire", "revoke"])


async def test_cards_issued_at_once_get_numbers_and_indexes_of_their_own(service: Service):
    people = await asyncio.gather(*(add_person(service) for _ in range(12)))
    answers = await asyncio.gather(*(service.call("POST", "/v1/cards", {"person_id": person}) for person in people))
    assert {status for status, _ in answers} == {201}
    assert len({card["index"] for _, card in answers}) == 12
    numbers = sorted(card["issue_number"] for _, card in answers)
    assert numbers == list(range(numbers[0], numbers[0] + 12)), "gapless"
    assert max(card["index"] for _, card in answers) < 1024, "dense to within a block"


@pytest.mark.parametrize(
    "change",
    [
        {"person_id": "nobody"},
        {"channel": "telepathy"},
        {"valid_days": 0},
        {"valid_days": 99999},
        {"valid_days": "30"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2999-01-01T00:00:00"},
        {"valid_days": 3, "expires_at": "2999-01-01T00:00:00Z"},
        {"state": "active"},
    ],
)
async def test_a_card_that_makes_no_sense_is_not_issued(service: Service, change: dict[str, object]):
    person_id = await add_person(service)
    status, problem = await service.call("POST", "/v1/cards", {"person_id": person_id, **change})
    assert (status, problem["code"]) == (422, "wrong_values")
    assert (await service.call("GET", "/v1/cards"))[1]["items"] == []


async def test_an_unknown_card_or_person_is_not_found(service: Service):
    assert (await service.call("POST", "/v1/cards", {"person_id": str(uuid.uuid4())}))[0] == 404
    for card_id in ("AAAAAAAAAAA", "AAAAAAAAAAB", "short", "x" * 4000, "%00", "é" * 11):
        status, problem = await service.call("GET", f"/v1/cards/{card_id}")
        assert (status, problem["code"]) == (404, "card_not_found"), card_id


async def test_a_card_whose_time_is_over_says_so_and_is_not_signed(service: Service):
    soon = (datetime.now(UTC) + timedelta(seconds=3600)).isoformat()
    card = await issue_card(service, expires_at=soon)
    kept = await issue_card(service)
    later = datetime.now(UTC) + timedelta(seconds=3601)
    assert await expire_due_cards(service.app[PLATFORM], later) == 1
    assert await expire_due_cards(service.app[PLATFORM], later) == 0
    path = f"/v1/cards/{card['card_id']}"
    assert (await service.call("GET", path))[1]["state"] == "expired"
    assert (await service.call("GET", f"{path}/code"))[0] == 409
    assert (await service.call("POST", f"{path}/resume"))[0] == 409
    assert (await service.call("GET", f"/v1/cards/{kept['card_id']}"))[1]["state"] == "active"


async def test_only_one_process_marks_expired_cards_at_a_time(service: Service):
    soon = (datetime.now(UTC) + timedelta(seconds=3600)).isoformat()
    for _ in range(3):
        await issue_card(service, expires_at=soon)
    later = datetime.now(UTC) + timedelta(hours=2)
    done = await asyncio.gather(*(expire_due_cards(service.app[PLATFORM], later) for _ in range(4)))
    assert sum(done) == 3


async def test_only_the_desk_touches_cards(service: Service):
    card = await issue_card(service)
    path = f"/v1/cards/{card['card_id']}"
    for roles in ("auditor", "manager", "operator"):
        assert (await service.call("POST", f"{path}/revoke", roles=roles))[0] == 403
        assert (await service.call("GET", f"{path}/code", roles=roles))[0] == 403
    assert (await service.call("GET", path, roles="auditor"))[0] == 200
    assert (await service.call("POST", f"{path}/revoke", roles="desk"))[0] == 200


async def test_the_desk_is_told_under_which_number_the_gates_will_hear_of_a_card(service: Service):
    for area in ("leisure", "libraries"):
        await publish(service, document(f"wcc.{area}.any", area=area))
    card = await issue_card(service)
    path = f"/v1/cards/{card['card_id']}"
    assert set(card["feeds"]) == {"leisure", "libraries"}, "every area, so that a gate knows a card that opens nothing"
    revoked = (await service.call("POST", f"{path}/revoke"))[1]
    assert revoked["feeds"] == {area: number + 1 for area, number in card["feeds"].items()}
    heads = {area: await number_of(service, f"wcc/{area}") for area in revoked["feeds"]}
    assert heads == revoked["feeds"], "a refusal or a look-up takes no number"


async def test_a_service_that_starts_after_a_quiet_night_marks_what_ended_meanwhile(service: Service):
    card = await issue_card(service)
    owner = await asyncpg.connect(service.settings.database_url)
    try:
        await owner.execute("UPDATE card SET expires_at = now() - interval '1 second'")
    finally:
        await owner.close()
    async with run_service(service.settings) as second, asyncio.timeout(PATIENCE):
        state = "active"
        while state != "expired":
            state = (await second.call("GET", f"/v1/cards/{card['card_id']}"))[1]["state"]
