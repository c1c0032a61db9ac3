"""Health, metrics, tokens and the API's description."""

from __future__ import annotations

import inspect
import re
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from cardservice.api.routing import Endpoint
from cardservice.app import endpoints
from tests.support.reader import enrolled_reader
from tests.support.registry import add_person
from tests.support.service import Service, run_service

_READING = re.compile(r"\bread_body\(|request\.(post|read|json|text)\(")
"""How a handler reads a body itself."""


async def test_the_service_says_that_it_lives_and_that_it_can_work(service: Service):
    async with service.http.get(f"{service.url}/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "up"})
    async with service.http.get(f"{service.url}/readyz") as response:
        assert response.status == 200
        assert await response.json() == {"ready": True, "parts": {"database": "up", "valkey": "up"}}


async def test_without_valkey_the_service_is_still_ready(service: Service):
    async with run_service(service.settings.model_copy(update={"redis_url": None})) as other:
        async with other.http.get(f"{other.url}/readyz") as response:
            assert response.status == 200
            assert (await response.json())["parts"] == {"database": "up", "valkey": "not used"}
        assert await add_person(other)


async def test_metrics_count_requests_by_path_and_never_by_person(service: Service):
    person_id = await add_person(service)
    await service.call("GET", f"/v1/people/{person_id}")
    status, body = await service.call("GET", "/metrics", roles="operator")
    text = body.decode()
    assert status == 200
    assert 'path="/v1/people/{person_id}",status="200"' in text
    assert person_id not in text


async def test_a_token_opens_what_its_roles_allow_until_it_is_revoked(service: Service):
    status, made = await service.call("POST", "/v1/tokens", {"label": "Desk 1", "roles": ["desk", "desk"]})
    assert (status, made["roles"]) == (201, ["desk"])
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await service.call("GET", "/v1/people", headers=headers))[0] == 200
    assert (await service.call("GET", "/v1/tokens", headers=headers))[0] == 403
    listed = (await service.call("GET", "/v1/tokens"))[1]["items"]
    assert all("token" not in item for item in listed)
    path = f"/v1/tokens/{made['token_id']}/revoke"
    status, revoked = await service.call("POST", path)
    assert status == 200
    assert revoked["revoked_at"] is not None
    assert (await service.call("POST", path))[1] == revoked, "again does no harm"
    status, problem = await service.call("GET", "/v1/people", headers=headers)
    assert (status, problem["code"]) == (401, "not_signed_in")


async def test_every_token_is_on_exactly_one_page(service: Service):
    labels = {f"token {number}" for number in range(5)}
    for label in labels:
        await service.call("POST", "/v1/tokens", {"label": label, "roles": ["auditor"]})
    seen: list[str] = []
    path = "/v1/tokens?limit=2"
    while path:
        page = (await service.call("GET", path))[1]
        seen += [item["label"] for item in page["items"]]
        path = f"/v1/tokens?limit=2&cursor={page['next']}" if page["next"] else ""
    assert sorted(seen) == sorted([*labels, "test-admin"])


@pytest.mark.parametrize(
    "body",
    [
        {"label": "x", "roles": []},
        {"label": "x", "roles": ["king"]},
        {"label": " ", "roles": ["desk"]},
        {"label": "x"},
        {"label": "x\nroot", "roles": ["desk"]},
    ],
)
async def test_a_token_that_could_do_anything_or_nothing_is_not_made(service: Service, body: dict[str, object]):
    assert (await service.call("POST", "/v1/tokens", body))[0] == 422


def _required(path: str) -> set[str]:
    return set(re.findall(r"{([a-z_0-9]+)}", path))


def _reads_a_body(endpoint: Endpoint) -> bool:
    """Whether the handler is given a body, or reads one itself."""
    return endpoint.body is not None or bool(_READING.search(inspect.getsource(endpoint.handler)))


async def test_the_api_describes_itself_so_that_a_client_can_be_made_from_it(service: Service):
    status, document = await service.call("GET", "/openapi.json", roles="auditor")
    assert status == 200
    errors = [str(error.message) for error in OpenAPIV31SpecValidator(document).iter_errors()]
    assert errors == []
    operations = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == {(endpoint.method, endpoint.path) for endpoint in endpoints()}
    parameters = document["components"]["parameters"]
    for (method, path), operation in operations.items():
        given = [
            parameters[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in operation["parameters"]
        ]
        assert {each["name"] for each in given if each["in"] == "path"} == _required(path)
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
        if method != "GET" and operation["security"] == [{"token": []}]:
            assert "Idempotency-Key" in {each["name"] for each in given}, (method, path)
    for endpoint in endpoints():
        by_staff = endpoint.access == "staff" and endpoint.writes
        assert endpoint.transaction or not by_staff, "the key is remembered in the transaction of the change"
        operation = operations[endpoint.method, endpoint.path]
        assert ("requestBody" in operation) == _reads_a_body(endpoint), (endpoint.method, endpoint.path)
        for status_code, answer in operation["responses"].items():
            if status_code in ("200", "201") and "application/json" in answer["content"]:
                assert answer["content"]["application/json"].get("schema"), (endpoint.method, endpoint.path)
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(ids) == len(set(ids))


async def test_every_list_comes_in_pages_or_says_why_it_cannot_grow(service: Service):
    _, document = await service.call("GET", "/openapi.json", roles="auditor")
    for path, methods in document["paths"].items():
        good = methods.get("get", {}).get("responses", {}).get("200", {})
        schema = good.get("content", {}).get("application/json", {}).get("schema", {})
        members = (
            document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {}).get("properties", {})
        )
        if "items" in members:
            paged = "next" in members and {"cursor", "limit"} <= {
                each.get("name") for each in methods["get"]["parameters"]
            }
            assert paged or "Not paged:" in methods["get"].get("description", ""), path


async def test_whoever_writes_another_reader_finds_all_that_it_says_and_hears(service: Service):
    _, document = await service.call("GET", "/openapi.json", roles="auditor")
    paths, schemas = document["paths"], document["components"]["schemas"]

    def body(path: str) -> dict[str, Any]:
        return resolved(paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"])

    def reply(method: str, path: str) -> dict[str, Any]:
        return resolved(paths[path][method]["responses"]["200"]["content"]["application/json"]["schema"])

    def resolved(schema: dict[str, Any]) -> dict[str, Any]:
        return dict(schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema)

    reader = await enrolled_reader(service)
    batch = {"items": [reader.tap(), {"t": "passage", "tap_id": str(uuid4()), "result": "passed", "at": 1}]}
    for told, path in (
        (reader.status(feeds={"wcc/leisure": (str(uuid4()), 1)}), "/v1/reader/status"),
        (batch, "/v1/taps"),
    ):
        check = Draft202012Validator({**body(path), "components": {"schemas": schemas}})
        assert list(check.iter_errors(told)) == []
        assert list(check.iter_errors({"items": [{"t": "tap"}]})) != []
        _, answer = await reader.call("POST", path, told)
        assert (
            list(Draft202012Validator({**reply("post", path), "components": {"schemas": schemas}}).iter_errors(answer))
            == []
        )
    for method, path, names in (
        ("get", "/v1/feeds/{tenant}/{area}/changes", {"head", "changes", "server_time"}),
        ("get", "/v1/feeds/{tenant}/{area}/snapshot", {"manifest"}),
        ("get", "/v1/reader/secrets", {"tag", "pins", "totp", "chip", "uids", "uid_keys", "pin_tenants"}),
        ("get", "/v1/reader/site", {"tenant", "site", "feeds", "feed_keys"}),
    ):
        assert reply(method, path)["properties"].keys() == names, path
    stream = paths["/v1/stream"]["get"]
    (feed,) = (each for each in stream["parameters"] if each.get("name") == "feed")
    assert (feed["in"], feed["required"], feed["schema"]["type"]) == ("query", True, "array")
    assert {"Beat", "Manifest", "Meta", "StreamChange"} <= schemas.keys(), "what travels inside a stream and a token"


async def test_nothing_but_keys_health_and_pages_answers_a_stranger(service: Service):
    public = {
        *("/healthz", "/readyz", "/v1/readers/enrol"),
        *("/v1/tenants/{tenant}/jwks.json", "/v1/tenants/{tenant}/status"),
        *("/v1/phone/bind", "/v1/phone/card"),  # both prove a phone's key
    }
    open_to_all = {endpoint.path for endpoint in endpoints() if endpoint.access == "public"}
    pages = {path for path in open_to_all if path.startswith(("/gates", "/static", "/card"))}
    assert open_to_all - pages == public
    for endpoint in endpoints():
        if endpoint.access != "public":
            path = re.sub("{[^}]*}", "x", endpoint.path)
            async with service.http.request(endpoint.method, service.url + path, json={}) as response:
                assert response.status == 401, (endpoint.method, path)
                assert response.content_type == "application/problem+json"
