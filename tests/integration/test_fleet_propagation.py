"""Reports of readers, and whether the desk can tell where a revocation has not arrived yet."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from cardservice.app import PLATFORM
from cardservice.feed.writer import recompile_tenant
from cardservice.fleet.propagation import Waiting, sentence
from entitlements.credential.encoding import b64url_encode
from tests.support.feed import document, publish, take_snapshot
from tests.support.reader import FakeReader, add_site, enrolled_reader
from tests.support.registry import issue_card
from tests.support.service import Service

CARD = b"\x01\x02\x03\x04\x05\x06\x07\x08"
CARD_TEXT = b64url_encode(CARD).decode()


async def put_change(service: Service, number: int, *areas: str, epoch: UUID | None = None) -> str:
    """A card of wcc whose change has this number in the feeds of these areas; the epoch of the feeds."""
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        kid = await conn.fetchval("SELECT kid FROM signing_key WHERE purpose = 'card'")
        person = await conn.fetchval(
            "INSERT INTO person (tenant, given_name, family_name) VALUES ('wcc', 'Ada', 'Test') RETURNING person_id"
        )
        await conn.execute(
            "INSERT INTO card (tenant, card_id, card_index, person_id, state, kid, issue_number, issued_at, expires_at)"
            " VALUES ('wcc', $1, 1, $2, 'active', $3, 1, now(), now() + interval '1 year') ON CONFLICT DO NOTHING",
            CARD,
            person,
            kid,
        )
        epoch = epoch or uuid4()
        for area in areas:
            await conn.execute(
                "INSERT INTO feed (tenant, area, epoch, horizon_from, horizon_until) VALUES ('wcc', $1, $2, now(),"
                " now() + interval '30 days') ON CONFLICT DO NOTHING",
                area,
                epoch,
            )
            await conn.execute(
                "INSERT INTO feed_change (tenant, area, number, issue_number, body, card_id)"
                " VALUES ('wcc', $1, $2, 1, '', $3)",
                area,
                number,
                CARD,
            )
        return str(epoch)


async def report(reader: FakeReader, **changes: Any) -> tuple[int, Any]:
    return await reader.call("POST", "/v1/reader/status", reader.status(**changes))


async def ask(service: Service, tenant: str = "wcc") -> dict[str, Any]:
    status, answer = await service.call("GET", f"/v1/cards/{CARD_TEXT}/propagation", roles="desk", tenant=tenant)
    assert status == 200, answer
    return dict(answer)


async def age(service: Service, reader: FakeReader, seconds: int) -> None:
    async with service.app[PLATFORM].db.transaction(reader.tenant) as conn:
        await conn.execute(
            "UPDATE reader SET last_seen_at = now() - make_interval(secs => $2) WHERE reader_id = $1",
            UUID(reader.reader_id),
            float(seconds),
        )


async def test_the_desk_sees_which_gates_know_of_a_change(service: Service) -> None:
    here = await enrolled_reader(service)
    there = await enrolled_reader(service, site="queen-mother")
    epoch = await put_change(service, 7, "leisure")
    answer = await ask(service)
    assert (answer["effective"], answer["gates"]) == (0, 4)
    now = int(time.time() * 1000)
    assert (await report(here, feeds={"wcc/leisure": (epoch, 6)}))[0] == 200
    assert (await ask(service))["effective"] == 0
    await report(here, feeds={"wcc/leisure": (epoch, 9)})
    await age(service, there, 3600)
    answer = await ask(service)
    assert (answer["effective"], answer["gates"]) == (2, 4)
    assert answer["summary"].startswith("Effective at 2 of 4 gates, Lane 1 at Queen-Mother offline since ")
    [area] = answer["areas"]
    assert (area["area"], area["number"]) == ("leisure", 7)
    one, other = area["readers"]
    assert (one["site"], one["applied"], other["applied"]) == ("porchester", True, False)
    assert 0 <= one["milliseconds"] <= time.time() * 1000 - now + 1000
    assert (one["offline_since"], other["milliseconds"]) == (None, None)
    assert datetime.fromisoformat(other["offline_since"]) < datetime.now(UTC) - timedelta(minutes=59)


async def test_the_first_report_of_a_number_counts_and_later_ones_do_not_move_it(service: Service) -> None:
    reader = await enrolled_reader(service)
    epoch = await put_change(service, 3, "leisure")
    for number in (3, 3, 2, 5):
        await report(reader, feeds={"wcc/leisure": (epoch, number)})
    first = (await ask(service))["areas"][0]["readers"][0]["applied_at"]
    await report(reader, feeds={"wcc/leisure": (epoch, 8)})
    assert (await ask(service))["areas"][0]["readers"][0]["applied_at"] == first
    async with service.app[PLATFORM].db.transaction("wcc", read_only=True) as conn:
        numbers = [row["number"] for row in await conn.fetch("SELECT number FROM reader_applied ORDER BY number")]
    assert numbers == [3, 5, 8]


async def test_a_gate_counts_once_it_knows_the_change_in_every_area_it_reads(service: Service) -> None:
    reader = await enrolled_reader(service, feeds=("wcc/leisure", "wcc/libraries"))
    epoch = await put_change(service, 4, "leisure", "libraries")
    await report(reader, feeds={"wcc/leisure": (epoch, 4)})
    answer = await ask(service)
    assert (answer["effective"], answer["gates"]) == (0, 2)
    await report(reader, feeds={"wcc/leisure": (epoch, 4), "wcc/libraries": (epoch, 4)})
    assert (await ask(service))["summary"] == "Effective at 2 of 2 gates."


async def test_numbers_of_before_a_restore_say_nothing_about_after_it(service: Service) -> None:
    reader = await enrolled_reader(service)
    await put_change(service, 7, "leisure")
    await report(reader, feeds={"wcc/leisure": (str(uuid4()), 900)})
    assert (await ask(service))["effective"] == 0


async def test_a_neighbours_reader_that_carries_our_feed_is_counted_and_only_ours_is_listed(service: Service) -> None:
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute(
            "INSERT INTO service_version (tenant, service_id, version, area, document, sha256, shared_with, state,"
            " published_by) VALUES ('wcc', 'wcc.leisure.x', 1, 'leisure', '{}', '', '{rbkc}', 'published', 'test')"
        )
    reader = await enrolled_reader(service, tenant="rbkc", site="chelsea", feeds=("rbkc/leisure", "wcc/leisure"))
    epoch = await put_change(service, 7, "leisure")
    await report(reader, feeds={"wcc/leisure": (epoch, 7)})
    answer = await ask(service)
    assert answer["areas"][0]["readers"][0]["tenant"] == "rbkc"
    assert answer["effective"] == answer["gates"] > 0
    assert (await service.call("GET", "/v1/readers"))[1]["items"] == []
    assert (await service.call("POST", f"/v1/readers/{reader.reader_id}/revoke"))[0] == 404


async def test_a_revocation_of_long_ago_is_still_known_at_the_gates(service: Service) -> None:
    reader = await enrolled_reader(service)
    away = await enrolled_reader(service, site="queen-mother")
    epoch = await put_change(service, 7, "leisure")
    await report(away, feeds={"wcc/leisure": (epoch, 6)})
    await age(service, away, 3600)
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE feed_change SET number = 9, card_id = NULL")  # 7 is pruned, 9 is another card's
        await conn.execute("UPDATE feed SET number = 9")
    await report(reader, feeds={"wcc/leisure": (epoch, 8)})
    answer = await ask(service)
    assert answer["summary"].startswith("Effective at 2 of 4 gates, Lane 1 at Queen-Mother offline since ")
    [area] = answer["areas"]
    assert (area["number"], area["written_at"]) == (8, None)
    assert [one["applied"] for one in area["readers"]] == [True, False]
    assert [one["milliseconds"] for one in area["readers"]] == [None, None], "nobody knows how long it took"


async def test_a_quiet_feed_that_keeps_no_change_at_all_is_known_to_who_is_at_its_head(service: Service) -> None:
    reader = await enrolled_reader(service)
    epoch = await put_change(service, 7, "leisure")
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("DELETE FROM feed_change")
        await conn.execute("UPDATE feed SET number = 7")
    await report(reader, feeds={"wcc/leisure": (epoch, 6)})
    assert (await ask(service))["summary"] == (
        "Effective at 0 of 2 gates, Lane 1 at Porchester not yet, Lane 2 at Porchester not yet."
    )
    await report(reader, feeds={"wcc/leisure": (epoch, 7)})
    assert (await ask(service))["summary"] == "Effective at 2 of 2 gates."


async def test_a_card_that_was_first_told_by_a_snapshot_is_known_to_who_has_taken_it(service: Service) -> None:
    reader = await enrolled_reader(service)
    card = await issue_card(service)  # before there is any feed
    await publish(service, document())
    path = f"/v1/cards/{card['card_id']}/propagation"
    _, answer = await service.call("GET", path, roles="desk")
    assert answer["summary"].startswith("Effective at 0 of 2 gates, ")
    mirror = await take_snapshot(reader, "wcc/leisure")
    assert len(mirror.cards) == 1
    await report(reader, feeds={"wcc/leisure": (mirror.epoch, mirror.number)})
    _, answer = await service.call("GET", path, roles="desk")
    assert answer["summary"] == "Effective at 2 of 2 gates."
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await recompile_tenant(conn, "wcc", emit_changes=False)
    _, answer = await service.call("GET", path, roles="desk")
    assert answer["summary"].startswith("Effective at 0 of 2 gates, "), "of before the new epoch nothing is known"
    mirror = await take_snapshot(reader, "wcc/leisure")
    await report(reader, feeds={"wcc/leisure": (mirror.epoch, mirror.number)})
    _, answer = await service.call("GET", path, roles="desk")
    assert answer["summary"] == "Effective at 2 of 2 gates."


async def test_a_card_of_another_council_or_none_is_not_found(service: Service) -> None:
    await put_change(service, 7, "leisure")
    for card, tenant in ((CARD_TEXT, "rbkc"), ("AAAAAAAAAAA", "wcc"), ("x", "wcc"), ("é", "wcc")):
        path = f"/v1/cards/{card}/propagation"
        assert (await service.call("GET", path, roles="desk", tenant=tenant))[0] == 404
    assert (await service.call("GET", f"/v1/cards/{CARD_TEXT}/propagation", roles="manager"))[0] == 403


async def test_a_revoked_reader_is_no_gate_any_more(service: Service) -> None:
    reader = await enrolled_reader(service)
    await put_change(service, 7, "leisure")
    await service.call("POST", f"/v1/readers/{reader.reader_id}/revoke")
    assert (await ask(service))["summary"] == "No gate reads this card's feeds."


async def test_staff_see_a_readers_last_report(service: Service) -> None:
    reader = await enrolled_reader(service)
    await report(reader, outbox_waiting=3, clock_trusted=False)
    _, seen = await service.call("GET", f"/v1/readers/{reader.reader_id}", roles="auditor")
    assert (seen["online"], seen["status"]["outbox_waiting"], seen["status"]["clock_trusted"]) == (True, 3, False)


EPOCH = "00000000-0000-4000-8000-000000000000"
MARK = {"epoch": EPOCH, "number": 1, "applied_at": 1, "confirmed_at": 1}
LANE: dict[str, Any] = {
    "lane": "1",
    "name": "x",
    "direction": "entry",
    "state": "idle",
    "light": "red",
    "headline": "x",
}
LANE |= {"source_up": True, "gate_up": True}


@pytest.mark.parametrize(
    "changes",
    [
        {"site": "chelsea"},
        {"feeds": {"rbkc/care": MARK}},
        {"feeds": {"wcc/leisure": MARK | {"epoch": "x"}}},
        {"feeds": {"wcc/leisure": MARK | {"number": 2**60}}},
        {"lanes": [LANE] * 2},
        {"lanes": [LANE | {"lane": str(number)} for number in range(65)]},
        {"lanes": [LANE | {"name": "a\x00b"}]},
        {"lanes": [LANE | {"headline": "x" * 241}]},
        {"lanes": [{}]},
        {"version": 1},
    ],
)
async def test_a_report_that_cannot_be_is_refused_with_a_sentence(service: Service, changes: dict[str, Any]) -> None:
    reader = await enrolled_reader(service)
    body = reader.status() | changes
    status, answer = await reader.call("POST", "/v1/reader/status", body)
    assert (status, answer["code"]) == (422, "wrong_values")


async def test_a_report_that_is_no_json_is_refused(service: Service) -> None:
    reader = await enrolled_reader(service)
    for data in (b"", b"{", b'{"version": ' + b"[" * 100_000):
        assert (await reader.call("POST", "/v1/reader/status", data=data))[0] in (400, 422)


async def test_a_reader_with_a_mad_clock_cannot_date_its_cache(service: Service) -> None:
    reader = await enrolled_reader(service)
    epoch = await put_change(service, 7, "leisure")
    status = reader.status(feeds={"wcc/leisure": (epoch, 7)})
    status["feeds"]["wcc/leisure"]["applied_at"] = 2**52
    assert (await reader.call("POST", "/v1/reader/status", status))[0] == 200
    assert (await ask(service))["areas"][0]["readers"][0]["milliseconds"] < 60_000


async def test_sites_without_lanes_count_what_the_reader_reports(service: Service) -> None:
    await add_site(service, site="bare")
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE site SET lanes = '[]' WHERE site_id = 'bare'")
    reader = await enrolled_reader(service, site="bare")
    await put_change(service, 7, "leisure")
    await report(reader)
    assert (await ask(service))["gates"] == 1


def test_the_sentence_says_what_the_desk_must_know() -> None:
    zone = ZoneInfo("Europe/London")
    now = datetime(2026, 7, 14, 15, 0, tzinfo=UTC)
    away = Waiting(gate="Lane 7", site="Porchester", offline_since=datetime(2026, 7, 14, 13, 2, tzinfo=UTC))
    slow = Waiting(gate="Lane 1", site="Porchester", offline_since=None)
    long = Waiting(gate="Lane 9", site="Porchester", offline_since=datetime(2025, 12, 31, 23, 0, tzinfo=UTC))
    assert sentence(41, [away], now, zone) == "Effective at 41 of 42 gates, Lane 7 at Porchester offline since 14:02."
    assert sentence(1, [], now, zone) == "Effective at 1 of 1 gate."
    assert sentence(0, [slow, away, long, slow, slow], now, zone) == (
        "Effective at 0 of 5 gates, Lane 7 at Porchester offline since 14:02, "
        "Lane 9 at Porchester offline since 23:00 on 31 December 2025, Lane 1 at Porchester not yet, 2 more not yet."
    )
