"""What is sent by mistake or in bad faith: a clear answer, nothing half done, nothing done twice."""

from __future__ import annotations

import asyncio
import io
import json
import uuid

import pytest

from tests.support.registry import add_person
from tests.support.service import Service

DRAFT = {"given_name": "Ada", "family_name": "Exampleton"}


async def _send(service: Service, body: bytes, **headers: str) -> tuple[int, dict[str, object]]:
    sent = {
        "Authorization": f"Bearer {await service.token()}",
        "Idempotency-Key": uuid.uuid4().hex,
        "Content-Type": "application/json",
        **headers,
    }
    async with service.http.post(f"{service.url}/v1/people", data=io.BytesIO(body), headers=sent) as response:
        assert response.content_type in ("application/problem+json", "application/json")
        return response.status, await response.json()


async def _people(service: Service) -> int:
    return len((await service.call("GET", "/v1/people?limit=500"))[1]["items"])


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"given_name": "Ada",}',
        b'{"given_name": "\xff\xfe"}',
        b'{"given_name": "\\ud800", "family_name": "x"}',
        b"[" * 100_000,
        b'{"given_name": NaN}',
        b"\x00\x01\x02",
    ],
    ids=["open", "word", "comma", "not-utf8", "surrogate", "deep", "nan", "binary"],
)
async def test_what_is_not_json_is_a_400_that_says_so(service: Service, body: bytes):
    status, problem = await _send(service, body)
    assert (status, problem["code"]) in ((400, "malformed_json"), (422, "wrong_values"))
    assert status == 400 or b"NaN" in body
    assert await _people(service) == 0


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (b"[]", "/"),
        (b"null", "/"),
        (b'"text"', "/"),
        (b"", "/given_name"),
        (b'{"given_name": ["a"], "family_name": "b"}', "/given_name"),
        (b'{"given_name": "a", "family_name": "b", "is_admin": true}', "/is_admin"),
        (b'{"given_name": "a", "family_name": "b", "person_id": "x"}', "/person_id"),
        (b'{"given_name": "a\\u0000", "family_name": "b"}', "/given_name"),
    ],
)
async def test_json_of_the_wrong_shape_is_a_422_that_points_at_it(service: Service, body: bytes, at: str):
    status, problem = await _send(service, body)
    assert (status, problem["code"]) == (422, "wrong_values")
    fields = problem["fields"]
    assert isinstance(fields, list)
    assert fields[0]["at"] == at


async def test_a_character_that_cannot_be_stored_is_refused_wherever_it_comes(service: Service):
    person_id = await add_person(service)
    fact = {"kind": "role", "name": "teacher", "checked_by": "A\u0000B"}
    status, problem = await service.call("POST", f"/v1/people/{person_id}/facts", fact)
    assert (status, problem["code"]) == (422, "wrong_values")
    assert (await service.call("GET", "/v1/people?family_name=a%00b"))[0] == 422


async def test_an_absurdly_large_body_is_cut_off(service: Service):
    body = json.dumps({**DRAFT, "given_name": "x" * service.settings.max_body_bytes}).encode()
    status, problem = await _send(service, body)
    assert (status, problem["code"]) == (413, "body_too_large")
    assert await _people(service) == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "rubbish"])
async def test_a_body_of_another_kind_is_not_guessed(service: Service, kind: str):
    status, problem = await _send(service, json.dumps(DRAFT).encode(), **{"Content-Type": kind})
    assert (status, problem["code"]) == (415, "not_json")


async def test_a_body_where_none_belongs_is_refused(service: Service):
    (key,) = (await service.call("GET", "/v1/keys"))[1]["items"][:1]
    status, problem = await service.call("POST", f"/v1/keys/{key['kid']}/retire", {"please": True})
    assert (status, problem["code"]) == (400, "no_body_expected")


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_a_write_without_a_usable_idempotency_key_does_nothing(service: Service, key: str):
    status, problem = await _send(service, json.dumps(DRAFT).encode(), **{"Idempotency-Key": key})
    assert (status, problem["code"]) == (400, "idempotency_key_missing")
    assert await _people(service) == 0


async def test_a_double_post_registers_one_person(service: Service):
    first = await service.call("POST", "/v1/people", DRAFT, key="press")
    again = await service.call("POST", "/v1/people", DRAFT, key="press")
    assert first == again
    assert await _people(service) == 1


async def test_a_key_used_for_something_else_is_refused_and_the_first_thing_stands(service: Service):
    await service.call("POST", "/v1/people", DRAFT, key="press")
    status, problem = await service.call("POST", "/v1/people", {**DRAFT, "given_name": "Bea"}, key="press")
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert await _people(service) == 1


async def test_a_refusal_is_not_remembered_so_that_it_can_be_mended(service: Service):
    assert (await service.call("POST", "/v1/people", {"given_name": ""}, key="press"))[0] == 422
    assert (await service.call("POST", "/v1/people", DRAFT, key="press"))[0] == 201


async def test_many_presses_at_once_register_one_person_and_issue_one_card(service: Service):
    answers = await asyncio.gather(*(service.call("POST", "/v1/people", DRAFT, key="press") for _ in range(8)))
    assert len({json.dumps(answer) for answer in answers}) == 1
    assert await _people(service) == 1
    body = {"person_id": answers[0][1]["person_id"]}
    cards = await asyncio.gather(*(service.call("POST", "/v1/cards", body, key="card") for _ in range(8)))
    assert {status for status, _ in cards} == {201}
    assert len({card["token"] for _, card in cards}) == 1
    assert len((await service.call("GET", "/v1/cards"))[1]["items"]) == 1


async def test_two_people_with_the_same_key_do_not_get_each_others_answers(service: Service):
    one = await service.call("POST", "/v1/people", DRAFT, key="press", roles="desk")
    two = await service.call("POST", "/v1/people", DRAFT, key="press", roles="admin")
    three = await service.call("POST", "/v1/people", DRAFT, key="press", tenant="rbkc")
    assert len({answer[1]["person_id"] for answer in (one, two, three)}) == 3


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "no_such_path"),
        ("DELETE", "/v1/people", 405, "method_not_allowed"),
        ("GET", "/v1/people/../../etc/passwd", 404, "no_such_path"),
    ],
)
async def test_a_wrong_address_is_answered_in_the_same_form(
    service: Service, method: str, path: str, status: int, code: str
):
    answer, problem = await service.call(method, path)
    assert (answer, problem["code"]) == (status, code)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer rsc_guess"},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        {"Authorization": "Reader eyJ.e30.x"},
        {"Authorization": "Bearer \u00e9"},
    ],
)
async def test_who_does_not_sign_in_learns_nothing(service: Service, headers: dict[str, str]):
    async with service.http.get(f"{service.url}/v1/people", headers=headers) as response:
        assert response.status == 401
        assert (await response.json())["code"] == "not_signed_in"
        assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_every_answer_can_be_found_in_the_log_by_its_request_id(service: Service):
    headers = {"Authorization": f"Bearer {await service.token()}", "X-Request-Id": "desk-7/42"}
    async with service.http.get(f"{service.url}/v1/people/x", headers=headers) as response:
        assert response.headers["X-Request-Id"] == "desk-7/42"
        assert (await response.json())["request_id"] == "desk-7/42"
    headers["X-Request-Id"] = "x" * 65
    async with service.http.get(f"{service.url}/v1/people", headers=headers) as response:
        assert len(response.headers["X-Request-Id"]) == 32, "an implausible id is replaced"


async def _raw(service: Service, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of a request written octet by octet, as no client library would."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head + b"Host: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]


async def test_headers_that_are_no_text_are_refused_and_no_fault_of_ours(service: Service):
    token = (await service.token()).encode()
    good = b"Authorization: Bearer " + token + b"\r\nContent-Type: application/json\r\n"
    person = json.dumps(DRAFT).encode()
    assert (await _raw(service, b"GET /v1/people HTTP/1.1\r\nAuthorization: Bearer \xff\xfe\r\n"))[0] == 401
    assert (await _raw(service, b"GET /v1/people HTTP/1.1\r\nRescard-Tenant: \xff\r\n" + good))[0] in (403, 404)
    assert (await _raw(service, b"POST /v1/people HTTP/1.1\r\nIdempotency-Key: \xff\r\n" + good, person))[0] == 400
    keyed = b"POST /v1/people HTTP/1.1\r\nIdempotency-Key: k\r\nContent-Encoding: gzip\r\n" + good
    status, problem = await _raw(service, keyed, b"this is not gzip")
    assert (status, json.loads(problem)["code"]) == (400, "body_unreadable")
    assert await _people(service) == 0


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_date_that_no_calendar_holds_is_a_wrong_value(service: Service, when: str):
    for name in ("since", "until"):
        status, problem = await service.call("GET", f"/v1/taps?{name}={when}")
        assert (status, problem["code"]) == (422, "wrong_values")


async def test_a_path_that_is_not_there_can_be_reported_by_its_request_id(service: Service):
    async with service.http.get(f"{service.url}/nowhere") as response:
        assert (await response.json())["request_id"] == response.headers["X-Request-Id"] != ""
    async with service.http.get(f"{service.url}/nowhere", headers={"X-Request-Id": "x" * 65}) as response:
        assert (await response.json())["request_id"] != "x" * 64
