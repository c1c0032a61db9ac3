"""What opens something, or is nobody's business, is in no log, in no error and in nobody's cache."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from cardservice.api.call import Call
from cardservice.api.routing import Routes
from cardservice.api.server import make_handler
from cardservice.app import PLATFORM
from cardservice.platform import Platform
from cardservice.sitesecrets.masters import Kind
from tests.support.feed import document, publish
from tests.support.reader import enrolled_reader
from tests.support.service import Service
from tests.support.state import post, resident

PIN = "84730167"
WEAK = "11111111"
LINK = "kS9-a-link-that-opens-a-card"


@pytest.fixture
def finest(caplog: pytest.LogCaptureFixture) -> None:
    """Every line is made, down to one a request, which a service that does not write it leaves out."""
    caplog.set_level(logging.DEBUG, logger="api")


def told(logs: Sequence[Any]) -> str:
    """All that log lines would show: their values, and tracebacks in full."""
    texts = [repr({name: value for name, value in line.items() if name != "exc_info"}) for line in logs]
    errors = [line["exc_info"] for line in logs if isinstance(line.get("exc_info"), BaseException)]
    return "\n".join([*texts, *("".join(traceback.format_exception(error)) for error in errors)])


@pytest.mark.usefixtures("finest")
async def test_a_day_at_the_desk_leaves_no_secret_in_the_log(service: Service) -> None:
    platform = service.app[PLATFORM]
    await publish(service, document(requires=[{"factor": "pin"}, {"presentation": ["chip", "totp"]}]))
    async with platform.db.transaction("wcc") as conn:
        masters = [await platform.masters.newest(conn, "wcc", kind) for kind in Kind]
    with structlog.testing.capture_logs() as logs:
        card = await resident(service)
        path = f"/v1/people/{card['person_id']}/pin"
        assert (await service.call("PUT", path, {"pin": PIN}))[0] == 200
        refused = [
            await service.call("PUT", path, {"pin": WEAK}),
            await service.call("PUT", path, {"pin": int(PIN)}),
            await service.call("PUT", path, {"pin": PIN, "pni": PIN}),
            await service.call("GET", "/v1/people", headers={"Authorization": f"Bearer {LINK}"}),
        ]
        assert [status for status, _ in refused] == [422, 422, 422, 401]
        await post(service, f"/v1/cards/{card['card_id']}/renew", {"reason": "a new one"})
        reader = await enrolled_reader(service)
        status, page = await reader.call("GET", "/v1/reader/secrets")
        assert status == 200
        assert page["pins"]
    assert any(line["event"] == "request" for line in logs), "the finest lines are among them"
    secrets = [PIN, WEAK, LINK, card["token"], await service.token(), page["pins"][0]["verifier"]]
    secrets += [text for master in masters for text in (master.octets.hex(), repr(master.octets)[2:-1])]
    secrets += [*page["totp"]["wcc"], *page["chip"]["wcc"]]
    for text in (told(logs), repr(refused)):
        assert [secret for secret in secrets if secret in text] == []


async def test_a_fault_of_ours_tells_neither_log_nor_caller_what_was_sent(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: str) -> str:
        raise RuntimeError("as the test wants")

    card = await resident(service)
    monkeypatch.setattr(service.app[PLATFORM].verifiers, "make", fails)
    with structlog.testing.capture_logs() as logs:
        status, problem = await service.call("PUT", f"/v1/people/{card['person_id']}/pin", {"pin": PIN})
    assert (status, problem["code"]) == (500, "fault")
    assert "as the test wants" in told(logs)
    assert "as the test wants" not in repr(problem)
    assert PIN not in told(logs) + repr(problem)


@pytest.mark.usefixtures("finest")
@pytest.mark.parametrize("fails", [False, True])
async def test_a_link_that_opens_a_card_is_in_no_log(fails: bool) -> None:
    routes = Routes(tag="t")

    @routes.add("GET", "/card/l/{link}", "Open a link", access="public", raw=True, transaction=False)
    async def open_link(_: Call) -> web.Response:
        if fails:
            raise RuntimeError("as the test wants")
        return web.Response()

    counted = SimpleNamespace(labels=lambda *_: SimpleNamespace(observe=lambda _: None))
    platform = cast(Platform, SimpleNamespace(metrics=SimpleNamespace(requests=counted)))
    request = make_mocked_request("GET", f"/card/l/{LINK}", match_info={"link": LINK})
    with structlog.testing.capture_logs() as logs:
        response = await make_handler(platform, routes.endpoints[0])(request)
    assert response.status == (500 if fails else 200)
    assert len(logs) == (2 if fails else 1)
    assert all(line["path"] == "/card/l/{link}" for line in logs)
    assert LINK not in told(logs)


async def test_no_cache_on_the_way_keeps_what_is_one_persons(service: Service) -> None:
    """A proxy that keeps one person's answer gives it to the next."""
    card = await resident(service)
    headers = {"Authorization": f"Bearer {await service.token()}"}
    for path in (
        f"/v1/people/{card['person_id']}",
        f"/v1/cards/{card['card_id']}",
        f"/v1/cards/{card['card_id']}/code",
        f"/v1/cards/{card['card_id']}/qr.png",
        f"/v1/people/{card['person_id']}/pin",
        "/v1/people/nobody",
    ):
        async with service.http.get(service.url + path, headers=headers) as response:
            assert response.headers["Cache-Control"] == "no-store", path
    reader = await enrolled_reader(service)
    signed = {"Authorization": f"Reader {reader.assertion('GET', '/v1/reader/secrets')}"}
    async with service.http.get(f"{service.url}/v1/reader/secrets", headers=signed) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
