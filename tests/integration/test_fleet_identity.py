"""Readers: enrolled once, known by their key, refused when it is not theirs or no longer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from cardservice.app import PLATFORM
from cardservice.fleet.codes import ALPHABET, code_digest, make_code
from cardservice.settings import Settings
from entitlements.credential.es256 import generate_private_key, public_key_to_jwk, thumbprint
from tests.support.reader import FakeReader, add_site, enrolled_reader
from tests.support.service import Service, run_service


async def make(service: Service, **changes: Any) -> str:
    await add_site(service)
    body = {"site": "porchester", "name": "daemon", "feeds": ["wcc/leisure"]} | changes
    status, answer = await service.call("POST", "/v1/readers/codes", body, roles="operator")
    assert status == 201, answer
    return str(answer["code"])


def new_reader(service: Service) -> FakeReader:
    return FakeReader(service=service, key=generate_private_key())


async def test_an_enrolled_reader_learns_its_site_and_whom_to_trust(service: Service) -> None:
    reader = await enrolled_reader(service)
    status, answer = await reader.call("GET", "/v1/reader/site")
    assert status == 200
    assert answer["tenant"] == "wcc"
    assert answer["site"]["site"] == "porchester"
    assert [lane["lane"] for lane in answer["site"]["lanes"]] == ["1", "2"]
    assert answer["feeds"] == ["wcc/leisure"]
    [key] = answer["feed_keys"]["wcc"]["keys"]
    assert key["alg"] == "ES256"
    assert "d" not in key


async def test_a_code_enrols_one_reader_and_no_second(service: Service) -> None:
    code = await make(service)
    first, second = new_reader(service), new_reader(service)
    assert (await first.enrol(code))[0] == 201
    status, answer = await second.enrol(code)
    assert (status, answer["code"]) == (403, "code_refused")


async def test_a_reader_whose_enrolment_reply_was_lost_gets_the_same_identity_again(service: Service) -> None:
    code = await make(service)
    reader = new_reader(service)
    await reader.enrol(code)
    first, reader.reader_id = reader.reader_id, ""
    status, answer = await reader.enrol(code)
    assert (status, answer["reader_id"]) == (201, first)


async def test_two_installers_with_one_code_at_the_same_moment_get_one_reader(service: Service) -> None:
    code = await make(service)
    answers = await asyncio.gather(*(new_reader(service).enrol(code) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [201, 403, 403, 403, 403]
    _, readers = await service.call("GET", "/v1/readers")
    assert len(readers["items"]) == 1


async def test_wrong_used_and_expired_codes_get_one_answer(service: Service) -> None:
    used, expired = await make(service), await make(service)
    await new_reader(service).enrol(used)
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute(
            "UPDATE enrolment_code SET expires_at = now() - interval '1 second' WHERE code_sha256 = $1",
            code_digest(expired),
        )
    seen = []
    for code in (make_code(), used, expired):
        status, answer = await new_reader(service).enrol(code)
        del answer["request_id"]
        seen.append((status, answer))
    assert seen[0][0] == 403
    assert seen[0] == seen[1] == seen[2]


async def test_a_code_read_over_the_phone_is_understood(service: Service) -> None:
    code = await make(service)
    assert set(code) <= set(ALPHABET) | {"-"}
    spoken = code.lower().replace("-", " ").replace("1", "l").replace("0", "o")
    assert (await new_reader(service).enrol(spoken))[0] == 201


async def test_guessing_codes_is_stopped_and_a_good_enrolment_does_not_count(service: Service) -> None:
    for _ in range(3):
        assert (await new_reader(service).enrol(await make(service)))[0] == 201
    seen = [(await new_reader(service).enrol(make_code()))[0] for _ in range(11)]
    assert seen == [403] * 10 + [429]


async def test_guessing_codes_is_stopped_without_valkey_too(settings: Settings, service: Service) -> None:
    async with run_service(settings.model_copy(update={"redis_url": None})) as alone:
        seen = [(await new_reader(alone).enrol(make_code()))[0] for _ in range(11)]
    assert seen == [403] * 10 + [429]


async def test_a_key_that_is_not_held_cannot_be_enrolled(service: Service) -> None:
    code = await make(service)
    thief, owner = new_reader(service), generate_private_key()
    body = {"code": code, "public_key": public_key_to_jwk(owner.public_key())}
    path = "/v1/readers/enrol"
    forged = thief.assertion("POST", path, reader_id=thumbprint(owner.public_key()))
    status, answer = await thief.call("POST", path, body, assertion=forged)
    assert (status, answer["code"]) == (401, "assertion_bad_signature")
    status, answer = await thief.enrol(code, reader_id="another")
    assert (status, answer["code"]) == (401, "assertion_bad_signature")
    async with service.http.post(service.url + path, json=body) as response:
        assert (response.status, (await response.json())["code"]) == (401, "not_signed_in")


@pytest.mark.parametrize(
    "key", [{}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "EC", "d": "secret"}]
)
async def test_what_is_no_public_key_is_refused_in_words(service: Service, key: dict[str, str]) -> None:
    reader = new_reader(service)
    status, answer = await reader.call("POST", "/v1/readers/enrol", {"code": await make(service), "public_key": key})
    assert status == 422
    assert answer["fields"][0]["at"] == "/public_key"


async def test_a_council_cannot_hand_out_the_feed_of_one_that_shares_nothing_with_it(service: Service) -> None:
    await add_site(service)
    body = {"site": "porchester", "name": "daemon", "feeds": ["wcc/leisure", "rbkc/care"]}
    status, answer = await service.call("POST", "/v1/readers/codes", body, roles="operator")
    assert (status, answer["code"], answer["fields"][0]["at"]) == (422, "feed_not_shared", "/feeds/1")
    async with service.app[PLATFORM].db.transaction("rbkc") as conn:
        await conn.execute(
            "INSERT INTO service_version (tenant, service_id, version, area, document, sha256, shared_with, state,"
            " published_by) VALUES ('rbkc', 'rbkc.care.x', 1, 'care', '{}', '', '{wcc}', 'published', 'test')"
        )
    status, answer = await service.call("POST", "/v1/readers/codes", body, roles="operator")
    assert status == 201, answer
    reader = new_reader(service)
    _, answer = await reader.enrol(answer["code"])
    assert answer["feed_keys"].keys() == {"wcc", "rbkc"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"site": "nowhere"}, 404),
        ({"feeds": []}, 422),
        ({"feeds": ["leisure"]}, 422),
        ({"name": "a\x00b"}, 422),
        ({"expires_in": 10**9}, 422),
    ],
)
async def test_codes_are_made_for_what_exists_only(service: Service, changes: dict[str, Any], status: int) -> None:
    await add_site(service)
    body = {"site": "porchester", "name": "daemon", "feeds": ["wcc/leisure"]} | changes
    assert (await service.call("POST", "/v1/readers/codes", body, roles="operator"))[0] == status


async def test_only_operators_make_codes(service: Service) -> None:
    await add_site(service)
    body = {"site": "porchester", "name": "daemon", "feeds": ["wcc/leisure"]}
    assert (await service.call("POST", "/v1/readers/codes", body, roles="desk"))[0] == 403


async def test_a_request_signed_by_another_key_is_refused(service: Service) -> None:
    reader = await enrolled_reader(service)
    forged = reader.assertion("GET", "/v1/reader/site", key=generate_private_key())
    status, answer = await reader.call("GET", "/v1/reader/site", assertion=forged)
    assert (status, answer["code"]) == (401, "assertion_bad_signature")
    stranger = reader.assertion("GET", "/v1/reader/site", reader_id="00000000-0000-4000-8000-000000000000")
    status_of_stranger, answer_to_stranger = await reader.call("GET", "/v1/reader/site", assertion=stranger)
    assert (status_of_stranger, answer_to_stranger["detail"]) == (status, answer["detail"])


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é.é.é", "." * 3000])
async def test_nonsense_in_place_of_an_assertion_is_refused(service: Service, text: str) -> None:
    reader = await enrolled_reader(service)
    status, answer = await reader.call("GET", "/v1/reader/site", assertion=text)
    assert status == 401, answer


async def test_a_copied_header_opens_nothing_else_and_nothing_twice(service: Service) -> None:
    reader = await enrolled_reader(service)
    copied = reader.assertion("GET", "/v1/reader/site")
    assert (await reader.call("GET", "/v1/reader/site", assertion=copied))[0] == 200
    for method, path, code in (
        ("GET", "/v1/reader/site", "assertion_replayed"),
        ("POST", "/v1/reader/key", "assertion_request"),
    ):
        body: Any = {"public_key": {}} if method == "POST" else None
        status, answer = await reader.call(method, path, body, assertion=copied)
        assert (status, answer["code"]) == (401, code)


@pytest.mark.parametrize("seconds", [-600, 600])
async def test_a_reader_whose_clock_is_wrong_is_told_the_time(service: Service, seconds: int) -> None:
    reader = await enrolled_reader(service)
    now = time.time()
    wrong = reader.assertion("GET", "/v1/reader/site", now=int(now) + seconds)
    status, answer = await reader.call("GET", "/v1/reader/site", assertion=wrong)
    assert (status, answer["code"]) == (401, "assertion_time")
    assert now - 1 < answer["server_time"] / 1000 < time.time() + 1


async def test_a_stolen_reader_is_refused_from_the_revocation_on(service: Service) -> None:
    reader = await enrolled_reader(service)
    path = f"/v1/readers/{reader.reader_id}/revoke"
    status, answer = await service.call("POST", path, roles="operator")
    assert (status, answer["state"], answer["online"]) == (200, "revoked", False)
    status, answer = await reader.call("GET", "/v1/reader/site")
    assert (status, answer["code"]) == (403, "reader_revoked")
    old = reader.assertion("GET", "/v1/reader/site", now=int(time.time()) - 3600)
    assert (await reader.call("GET", "/v1/reader/site", assertion=old))[1]["code"] == "reader_revoked"
    assert (await service.call("POST", path, roles="operator"))[0] == 409


async def test_a_rolled_key_signs_and_the_old_one_no_longer_does(service: Service) -> None:
    reader = await enrolled_reader(service)
    old, new = reader.key, generate_private_key()
    status, _ = await reader.call("POST", "/v1/reader/key", {"public_key": public_key_to_jwk(new.public_key())})
    assert status == 204
    assert (await reader.call("GET", "/v1/reader/site"))[1]["code"] == "assertion_bad_signature"
    reader.key = new
    assert (await reader.call("GET", "/v1/reader/site"))[0] == 200
    _, shown = await service.call("GET", f"/v1/readers/{reader.reader_id}")
    assert shown["key_thumbprint"] == thumbprint(new.public_key()) != thumbprint(old.public_key())


async def test_another_council_neither_sees_nor_revokes_a_reader(service: Service) -> None:
    reader = await enrolled_reader(service)
    assert (await service.call("GET", "/v1/readers", tenant="rbkc"))[1]["items"] == []
    assert (await service.call("GET", f"/v1/readers/{reader.reader_id}", tenant="rbkc"))[0] == 404
    assert (await service.call("POST", f"/v1/readers/{reader.reader_id}/revoke", tenant="rbkc"))[0] == 404
    assert (await reader.call("GET", "/v1/reader/site"))[0] == 200


async def test_operators_leaf_through_their_readers(service: Service) -> None:
    for site in ("alpha", "beta", "gamma"):
        await enrolled_reader(service, site=site)
    names, cursor = [], ""
    while True:
        status, page = await service.call("GET", f"/v1/readers?limit=2{cursor}", roles="operator")
        assert status == 200
        names += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert names == ["alpha daemon", "beta daemon", "gamma daemon"]
    assert page["items"][0]["online"] is True
    assert (await service.call("GET", "/v1/readers?cursor=nonsense"))[0] == 422
