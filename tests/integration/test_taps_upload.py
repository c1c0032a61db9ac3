"""Taps: each stored once, none lost, bad ones named, nobody's but the reader's own."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import pytest

from cardservice.app import PLATFORM
from tests.support.reader import enrolled_reader
from tests.support.service import Service


def results(answer: dict[str, Any]) -> list[str]:
    return [result["result"] for result in answer["results"]]


async def stored(service: Service, tenant: str = "wcc") -> list[dict[str, Any]]:
    status, answer = await service.call("GET", "/v1/taps?limit=500", tenant=tenant)
    assert status == 200, answer
    return list(answer["items"])


async def test_a_tap_and_its_passage_come_back_whole(service: Service) -> None:
    reader = await enrolled_reader(service)
    effects = [{"account": "swims", "units": 1, "key": None}]
    tap = reader.tap(effects=effects, band="standard", pence=350, detail="seen twice", clock_offset_ms=-7)
    passage = {"t": "passage", "tap_id": tap["tap_id"], "result": "passed", "at": tap["at"] + 1500}
    status, answer = await reader.upload(tap, passage)
    assert (status, results(answer)) == (200, ["stored", "stored"])
    status, seen = await service.call("GET", f"/v1/taps/{tap['tap_id']}", roles="desk")
    assert status == 200
    assert seen["reader_id"] == reader.reader_id
    same = {"tap_id", "site", "lane", "direction", "outcome", "reason", "band", "pence", "media", "online", "detail"}
    same |= {"service", "service_version", "feed", "feed_number", "clock_trusted", "clock_offset_ms", "card_tenant"}
    assert {name: seen[name] for name in same} == {name: tap[name] for name in same}
    assert (seen["card_id"], seen["effects"], seen["passage"]["result"]) == (tap["card"], effects, "passed")
    assert seen["at"].startswith(time.strftime("%Y-%m-%d", time.gmtime(tap["at"] / 1000)))


async def test_a_batch_sent_again_counts_nobody_twice(service: Service) -> None:
    reader = await enrolled_reader(service)
    taps = [reader.tap() for _ in range(5)]
    assert results((await reader.upload(*taps))[1]) == ["stored"] * 5
    taps.append(reader.tap())
    assert results((await reader.upload(*taps, taps[5]))[1]) == ["duplicate"] * 5 + ["stored", "duplicate"]
    assert len(await stored(service)) == 6


async def test_the_same_batch_on_two_connections_at_once_is_stored_once(service: Service) -> None:
    reader = await enrolled_reader(service)
    taps = [reader.tap() for _ in range(200)]
    answers = await asyncio.gather(reader.upload(*taps), reader.upload(*reversed(taps)), reader.upload(*taps))
    assert [status for status, _ in answers] == [200] * 3
    assert sorted(results(answers[0][1]) + results(answers[1][1]) + results(answers[2][1])) == (
        ["duplicate"] * 400 + ["stored"] * 200
    )
    assert len(await stored(service)) == 200


async def test_two_taps_under_one_id_are_not_taken_for_one(service: Service) -> None:
    reader = await enrolled_reader(service)
    tap = reader.tap()
    other = tap | {"lane": "2"}
    assert results((await reader.upload(tap, other))[1]).count("rejected") == 1
    _, answer = await reader.upload(tap, other)
    assert sorted(results(answer)) == ["duplicate", "rejected"]


BAD: list[tuple[str, dict[str, Any]]] = [
    ("another site", {"site": "queen-mother"}),
    ("no id", {"tap_id": "1"}),
    ("unknown kind", {"t": "toll"}),
    ("unknown outcome", {"outcome": "maybe"}),
    ("direction", {"direction": "up"}),
    ("long ago", {"at": 0}),
    ("before the epoch", {"at": -(10**17)}),
    ("far ahead", {"at": 10**17}),
    ("no whole number", {"at": 1.5}),
    ("a text in place of a number", {"clock_offset_ms": "1"}),
    ("offset of ages", {"clock_offset_ms": 10**18}),
    ("no text in the database", {"detail": "a\u0000b"}),
    ("a number too large", {"feed_number": 2**63}),
    ("a price too large", {"pence": 2**31}),
    ("a version below nothing", {"service_version": -1}),
    ("no card", {"card": "AAAA"}),
    ("a card of other letters", {"card": "é" * 11}),
    ("a lane without name", {"lane": ""}),
    ("a lane too long", {"lane": "x" * 65}),
    ("a reason of markup", {"reason": "<script>"}),
    ("effects of depth", {"effects": [{"a": {"b": []}}]}),
    ("effects of no text", {"effects": [{"a": "\u0000"}]}),
    ("effects without number", {"effects": [{"a": 10**30}]}),
    ("too many effects", {"effects": [{"a": 1}] * 33}),
    ("council", {"card_tenant": "Robert'); DROP TABLE tap;--"}),
]


@pytest.mark.parametrize("changes", [pytest.param(changes, id=name) for name, changes in BAD])
async def test_one_bad_item_does_not_spoil_the_others(service: Service, changes: dict[str, Any]) -> None:
    reader = await enrolled_reader(service)
    _, answer = await reader.upload(reader.tap(), reader.tap(**changes), reader.tap())
    assert results(answer) == ["stored", "rejected", "stored"]
    assert answer["results"][1]["problem"].endswith(".")
    assert len(await stored(service)) == 2


async def test_what_is_no_object_is_rejected_by_position(service: Service) -> None:
    reader = await enrolled_reader(service)
    good = json.dumps(reader.tap()).encode()
    deep = b"[" * 500 + b"]" * 500
    data = b'{"items":[null,1,"x",[],' + deep + b',{"t":"tap"},"\xff",' + good + b"]}"
    status, answer = await reader.call("POST", "/v1/taps", data=data)
    assert (status, results(answer)) == (200, ["rejected"] * 7 + ["stored"])


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"items":' + b"[" * 100_000, 400),
        (b"[]", 422),
        (b'{"items":{}}', 422),
        (b'{"items":[],"more":1}', 422),
        (b'{"items":[' + b",".join([b"1"] * 501) + b"]}", 422),
        (b'{"items":["' + b"x" * (1 << 20) + b'"]}', 413),
    ],
)
async def test_what_is_no_batch_is_refused_whole(service: Service, data: bytes, status: int) -> None:
    reader = await enrolled_reader(service)
    assert (await reader.call("POST", "/v1/taps", data=data))[0] == status


async def test_the_largest_batch_is_taken(service: Service) -> None:
    reader = await enrolled_reader(service)
    status, answer = await reader.upload(*(reader.tap() for _ in range(500)))
    assert (status, results(answer)) == (200, ["stored"] * 500)


async def test_a_reader_puts_no_taps_on_another_council(service: Service) -> None:
    ours = await enrolled_reader(service)
    theirs = await enrolled_reader(service, tenant="rbkc", site="chelsea", feeds=("rbkc/leisure",))
    assert results((await ours.upload(ours.tap(site="chelsea")))[1]) == ["rejected"]
    tap = theirs.tap()
    assert results((await theirs.upload(tap))[1]) == ["stored"]
    assert await stored(service, "wcc") == []
    assert (await service.call("GET", f"/v1/taps/{tap['tap_id']}", tenant="wcc"))[0] == 404
    # The same id at another council is another tap: one council cannot block another's by sending it first.
    assert results((await ours.upload(ours.tap(tap_id=tap["tap_id"])))[1]) == ["stored"]


async def test_a_revoked_reader_and_staff_cannot_upload(service: Service) -> None:
    reader = await enrolled_reader(service)
    assert (await service.call("POST", "/v1/taps", {"items": []}))[0] == 401
    await service.call("POST", f"/v1/readers/{reader.reader_id}/revoke")
    assert (await reader.upload(reader.tap()))[0] == 403


async def test_a_value_that_slips_past_the_judgement_holds_up_no_other_tap(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await enrolled_reader(service)
    monkeypatch.setattr("cardservice.taps.judgement._tap_problem", lambda tap, site: None)
    bad = reader.tap(detail="a\x00b")
    _, answer = await reader.upload(reader.tap(), reader.tap(), bad, reader.tap())
    assert results(answer) == ["stored", "stored", "rejected", "stored"]


async def test_staff_find_the_tap_they_are_asked_about(service: Service) -> None:
    reader = await enrolled_reader(service)
    now = int(time.time() * 1000)
    taps = [reader.tap(at=now - minutes * 60_000, lane=str(minutes % 2 + 1)) for minutes in range(6)]
    taps[3] |= {"outcome": "deny", "reason": "card_revoked", "card": "CAcGBQQDAgE"}
    await reader.upload(*taps)

    async def find(query: str) -> list[str]:
        status, page = await service.call("GET", f"/v1/taps?{query}", roles="auditor")
        assert status == 200, page
        return [item["tap_id"] for item in page["items"]]

    ids = [tap["tap_id"] for tap in taps]
    assert await find("") == ids
    assert await find("lane=2") == ids[1::2]
    assert await find("outcome=deny") == await find("card_id=CAcGBQQDAgE") == [ids[3]]
    assert await find("site=nowhere") == []
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now / 1000 - 150))
    assert await find(f"since={since}") == ids[:3]
    assert await find(f"until={since}") == ids[3:]
    leafed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        _, page = await service.call("GET", f"/v1/taps?limit=4{cursor and '&cursor=' + cursor}")
        leafed += [item["tap_id"] for item in page["items"]]
        cursor = page["next"]
    assert leafed == ids


@pytest.mark.parametrize(
    "query", ["cursor=x", "outcome=maybe", "since=yesterday", "card_id=x", "colour=red", "limit=0"]
)
async def test_a_wrong_filter_is_named(service: Service, query: str) -> None:
    assert (await service.call("GET", f"/v1/taps?{query}"))[0] == 422


async def test_looking_at_one_cards_taps_leaves_a_trace(service: Service) -> None:
    await service.call("GET", "/v1/taps?card_id=CAcGBQQDAgE", roles="desk")
    async with service.app[PLATFORM].db.transaction("wcc", read_only=True) as conn:
        row = await conn.fetchrow("SELECT actor, subject FROM audit WHERE action = 'tap.list'")
    assert tuple(row) == ("token:test-desk", "card:CAcGBQQDAgE")
    assert (await service.call("GET", f"/v1/taps/{uuid4()}", roles="manager"))[0] == 403
