"""Taps by month: whether a visit is found again after months, whoever uploads it late, twice or under an odd id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from cardservice.app import PLATFORM
from cardservice.ops.upkeep import MONTHS_AHEAD, do_round
from readers.identifiers import TapIds
from tests.support.reader import enrolled_reader
from tests.support.service import Service

NOW = datetime.now(UTC)


def months(count: int) -> list[datetime]:
    first = NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return [first.replace(year=first.year + (first.month - 1 + n) // 12, month=(first.month - 1 + n) % 12 + 1)
            for n in range(count)]  # fmt: skip


async def partition_of(url: str, tap_id: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT set_config('rescard.tenant', '*', false)")
        return str(
            await connection.fetchval("SELECT tableoid::regclass::text FROM tap WHERE tap_id = $1", UUID(tap_id))
        )
    finally:
        await connection.close()


async def test_a_tap_stands_in_the_month_of_its_decision_and_counts_once(service: Service, database_url: str) -> None:
    reader = await enrolled_reader(service)
    ids = TapIds()
    at = int(NOW.timestamp() * 1000)
    taps = [reader.tap(tap_id=str(ids.make(at)), at=at), reader.tap(at=at, tap_id=str(uuid4()))]
    late = at - int(timedelta(days=200).total_seconds() * 1000)
    taps.append(reader.tap(tap_id=str(TapIds().make(late)), at=late))
    for expected in ("stored", "duplicate"):
        _, answer = await reader.upload(*taps)
        assert [result["result"] for result in answer["results"]] == [expected] * 3
    assert await partition_of(database_url, taps[0]["tap_id"]) == f"tap_{NOW:%Y_%m}"
    assert await partition_of(database_url, taps[2]["tap_id"]) == "tap_before"
    _, listed = await service.call("GET", "/v1/taps?limit=10")
    assert {item["tap_id"] for item in listed["items"]} == {tap["tap_id"] for tap in taps}


async def test_one_id_with_another_time_is_still_one_id(service: Service) -> None:
    reader = await enrolled_reader(service)
    tap = reader.tap(tap_id=str(TapIds().make(int(NOW.timestamp() * 1000))))
    moved = tap | {"at": tap["at"] - int(timedelta(days=90).total_seconds() * 1000)}
    assert (await reader.upload(tap))[1]["results"][0]["result"] == "stored"
    assert (await reader.upload(moved))[1]["results"][0]["result"] == "rejected"


async def test_the_coming_months_are_made_by_themselves_and_odd_ids_move(service: Service, database_url: str) -> None:
    """An id of a far month, which a clock years ahead or another maker of ids brings, must not stop that month's."""
    reader = await enrolled_reader(service)
    coming = months(MONTHS_AHEAD + 6)[-1]
    tap = reader.tap(tap_id=str(TapIds().make(int(coming.timestamp() * 1000) + 5)))
    assert (await reader.upload(tap))[1]["results"][0]["result"] == "stored"
    assert await partition_of(database_url, tap["tap_id"]) == "tap_other"
    platform = service.app[PLATFORM]
    await do_round(platform, coming)
    await do_round(platform, coming)
    assert await partition_of(database_url, tap["tap_id"]) == f"tap_{coming:%Y_%m}"
    assert (await reader.upload(tap))[1]["results"][0]["result"] == "duplicate"


async def test_a_month_cannot_be_read_past_the_row_level_security(service: Service) -> None:
    reader = await enrolled_reader(service)
    await reader.upload(reader.tap(tap_id=str(TapIds().make(int(NOW.timestamp() * 1000)))))
    async with service.app[PLATFORM].db.transaction("rbkc") as conn:
        assert await conn.fetchval("SELECT count(*) FROM tap") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with service.app[PLATFORM].db.transaction("rbkc") as conn:
            await conn.fetchval(f"SELECT count(*) FROM tap_{NOW:%Y_%m}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with service.app[PLATFORM].db.transaction("wcc") as conn:
            await conn.execute("CREATE TABLE mine (x integer)")
