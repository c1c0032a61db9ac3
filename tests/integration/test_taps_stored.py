"""Batches of taps into rows: every value to the tap that it is of, however much or little the taps have alike."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import asyncpg

from cardservice.taps.judgement import card_bytes, moment
from entitlements.credential.encoding import b64url_encode
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.service import Service

COLUMNS = {
    "site": "site_id",
    "lane": "lane_id",
    "direction": "direction",
    "card_tenant": "card_tenant",
    "service": "service_id",
    "service_version": "service_version",
    "outcome": "outcome",
    "reason": "reason",
    "band": "band",
    "pence": "pence",
    "media": "media",
    "feed": "feed",
    "feed_number": "feed_number",
    "online": "online",
    "clock_trusted": "clock_trusted",
    "clock_offset_ms": "clock_offset_ms",
    "detail": "detail",
    "acts_for": "acts_for",
    "item": "item",
}
"""Members of a tap and the columns in which they stand as they are."""


def _any_tap(reader: FakeReader, draw: random.Random) -> dict[str, Any]:
    """A refused tap in which every member may be another one, or absent."""
    may_be: dict[str, list[Any]] = {
        "lane": ["1", "2", "Tür 3"],
        "direction": ["entry", "exit"],
        "card_tenant": ["wcc", "rbkc", None],
        "card": [b64url_encode(draw.randbytes(8)).decode(), None],
        "service": ["wcc.leisure.gym", "wcc.leisure.swim", None],
        "service_version": [None, 0, 1, 2],
        "outcome": ["deny", "refer", "confirm"],
        "reason": ["closed", "unknown_card"],
        "band": [None, "senior"],
        "pence": [None, 0, 1, -350],
        "media": ["qr", "nfc"],
        "feed": [None, "wcc/leisure"],
        "feed_number": [None, 0, 1, 2**40],
        "online": [True, False],
        "clock_trusted": [True, False],
        "clock_offset_ms": [0, 1, -7],
        "detail": [None, "seen twice"],
        "acts_for": [None, 0, 1],
        "item": [None, "drill"],
        "effects": [[], [{"account": "swims", "units": 0}], [{"key": None, "units": 2.5}, {"note": "é"}]],
    }
    chosen = {name: draw.choice(values) for name, values in may_be.items()}
    return reader.tap(tap_id=str(UUID(int=draw.getrandbits(128), version=4)), **chosen)


async def _rows(service: Service) -> dict[str, asyncpg.Record]:
    conn = await asyncpg.connect(service.settings.database_url)
    try:
        rows = await conn.fetch("SELECT *, effects::text AS told FROM tap")
        return {str(row["tap_id"]): row for row in rows}
    finally:
        await conn.close()


def _differences(tap: dict[str, Any], row: asyncpg.Record, effects: Any) -> list[str]:
    wrong = [name for name, column in COLUMNS.items() if row[column] != tap.get(name)]
    wrong += ["at"] if row["happened_at"] != moment(tap["at"]) else []
    wrong += ["card"] if row["card_id"] != (None if tap["card"] is None else card_bytes(tap["card"])) else []
    return wrong + (["effects"] if effects != tap["effects"] else [])


async def test_no_value_of_a_tap_goes_to_another_tap(service: Service):
    reader = await enrolled_reader(service)
    draw = random.Random(20)
    taps = [_any_tap(reader, draw) for _ in range(120)]
    status, answer = await reader.upload(*taps)
    assert (status, {result["result"] for result in answer["results"]}) == (200, {"stored"})
    effects = {tap["tap_id"]: tap["effects"] for tap in (await service.call("GET", "/v1/taps?limit=500"))[1]["items"]}
    rows = await _rows(service)
    assert {tap["tap_id"]: _differences(tap, rows[tap["tap_id"]], effects[tap["tap_id"]]) for tap in taps} == {
        tap["tap_id"]: [] for tap in taps
    }


async def test_each_item_of_a_mixed_batch_gets_the_answer_that_is_its_own(service: Service):
    reader = await enrolled_reader(service)
    draw = random.Random(21)
    known, fresh, twice = ([_any_tap(reader, draw) for _ in range(8)] for _ in range(3))
    assert (await reader.upload(*known))[0] == 200
    passages = [{"t": "passage", "tap_id": tap["tap_id"], "result": "passed", "at": tap["at"]} for tap in fresh]
    batch = [
        *((tap, "duplicate") for tap in known[:4]),
        *((tap | {"reason": "another"}, "rejected") for tap in known[4:]),
        *((tap, "stored") for tap in fresh),
        *((passage, "one of two") for passage in passages),
        *((tap | {"lane": ""}, "rejected") for tap in fresh),
        *((tap, "one of two") for tap in twice),
        *((tap, "one of two") for tap in twice),
        *((passage, "one of two") for passage in passages),
    ]
    draw.shuffle(batch)
    status, answer = await reader.upload(*(item for item, _ in batch))
    assert status == 200
    told = [(wanted, result["result"]) for (_, wanted), result in zip(batch, answer["results"], strict=True)]
    assert {pair for pair in told if pair[0] != "one of two"} == {
        ("stored", "stored"),
        ("duplicate", "duplicate"),
        ("rejected", "rejected"),
    }
    results = [result for wanted, result in told if wanted == "one of two"]
    assert (results.count("stored"), results.count("duplicate")) == (16, 16)
    assert len(await _rows(service)) == 24
