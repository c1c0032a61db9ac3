"""A gate was released for somebody who did not come in: what it cost them is theirs again, once, in whatever order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from entitlements.wire.state import UnitsChange
from readers.daemon import Daemon
from tests.integration.test_reader_ledger import enrolment_code, present
from tests.support.feed import document, publish, take_snapshot
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.service import Service
from tests.support.state import changes_after, entries, flags, get, resident, swims, upload, visit
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.site import ready, running, site_settings, until

FEED = "wcc/leisure"


def passage(tap: dict[str, Any], result: str = "timed_out") -> dict[str, Any]:
    """What the contact said two seconds after a tap."""
    return {"t": "passage", "tap_id": tap["tap_id"], "result": result, "at": tap["at"] + 2000}


async def entrance(service: Service, kind: str = "access", **rules: Any) -> FakeReader:
    await publish(service, document(kind=kind, **(swims(most=3) | rules)))
    return await enrolled_reader(service)


async def used(service: Service, card: dict[str, Any], **more: Any) -> int:
    (account,) = (await get(service, f"/v1/people/{card['person_id']}/accounts", **more))["items"]
    return int(account["used"])


@pytest.mark.parametrize("result", ["timed_out", "fault"])
@pytest.mark.parametrize("order", ["together", "passage later", "passage first", "passage first, together"])
async def test_nobody_pays_for_a_gate_that_they_did_not_go_through(service: Service, order: str, result: str) -> None:
    reader = await entrance(service)
    card = await resident(service)
    mirror = await take_snapshot(reader, FEED)
    tap = visit(reader, card, online=False)
    said = passage(tap, result)
    batches = {
        "together": [[tap, said]],
        "passage later": [[tap], [said]],
        "passage first": [[said], [tap]],
        "passage first, together": [[said, tap]],
    }[order]
    for batch in batches:
        assert set(await upload(reader, *batch)) == {"stored"}
    for batch in batches:
        assert set(await upload(reader, *batch)) == {"duplicate"}
    assert await used(service, card) == 0
    taken, back = sorted(await entries(service), key=lambda entry: -entry["units"])
    assert (taken["units"], taken["kind"], back["units"], back["kind"]) == (1, "tap", -1, "reversal")
    same = ("account", "scope", "holder", "happened_at", "service_id", "person_id", "site_id", "offline")
    assert [taken[name] for name in same] == [back[name] for name in same], "of the same person and period"
    told = [change.entry for change in await changes_after(reader, mirror) if isinstance(change, UnitsChange)]
    assert [(one.entry, one.units) for one in told] == [(tap["tap_id"], 1), (back["entry_id"], -1)]
    assert len({(one.account, one.key, one.at) for one in told}) == 1


async def test_a_gate_that_starts_anew_counts_the_same(service: Service) -> None:
    reader = await entrance(service)
    card = await resident(service)
    kept, given_back = visit(reader, card), visit(reader, card)
    await upload(reader, kept, given_back, passage(kept, "passed"), passage(given_back))
    state = (await take_snapshot(reader, FEED)).meta.state
    assert sorted(one.units for one in state.units) == [-1, 1, 1]
    assert len({(one.account, one.key) for one in state.units}) == 1


async def test_whoever_went_in_has_been_in(service: Service) -> None:
    reader = await entrance(service)
    card = await resident(service)
    tap = visit(reader, card)
    await upload(reader, tap, passage(tap, "passed"))
    assert await upload(reader, passage(tap, "timed_out")) == ["rejected"], "the contact's first word counts"
    assert await used(service, card) == 1


@pytest.mark.parametrize("kind", ["consume", "book", "loan"])
async def test_what_is_taken_at_the_release_stays_taken(service: Service, kind: str) -> None:
    reader = await entrance(service, kind)
    card = await resident(service)
    tap = visit(reader, card)
    await upload(reader, tap, passage(tap))
    assert await used(service, card) == 1
    assert [entry["kind"] for entry in await entries(service)] == ["tap"]


async def test_the_rule_is_the_one_by_which_the_gate_decided(service: Service) -> None:
    reader = await entrance(service)
    card = await resident(service)
    old = visit(reader, card)
    await upload(reader, old)
    await publish(service, document(kind="consume", **swims(most=3)))
    new = visit(reader, card, service_version=2)
    await upload(reader, new, passage(old), passage(new))
    assert sorted(entry["kind"] for entry in await entries(service)) == ["reversal", "tap", "tap"]


async def test_a_resident_of_the_other_council_gets_theirs_back_too(service: Service) -> None:
    shared = document(who={"all": [{"resident_of": ["wcc", "rbkc"]}]}, **swims(most=3))
    await publish(service, shared, shared_with=("rbkc",))
    reader = await enrolled_reader(service, feeds=(FEED, "rbkc/leisure"))
    ours, theirs = await resident(service), await resident(service, tenant="rbkc")
    taps = [visit(reader, ours), visit(reader, theirs, card_tenant="rbkc", feed="rbkc/leisure")]
    mirror = await take_snapshot(reader, "rbkc/leisure")
    await upload(reader, *taps)
    await upload(reader, *(passage(tap) for tap in taps))
    assert await used(service, ours) == await used(service, theirs, tenant="rbkc") == 0
    told = [change.entry.units for change in await changes_after(reader, mirror) if isinstance(change, UnitsChange)]
    assert told == [1, -1]


async def test_another_site_cannot_give_units_back(service: Service) -> None:
    reader = await entrance(service)
    other = await enrolled_reader(service, site="queen-mother")
    card = await resident(service)
    tap = visit(reader, card)
    await upload(reader, tap)
    assert await upload(other, passage(tap)) == ["stored"]
    assert await used(service, card) == 1


async def test_tap_and_passage_sent_at_the_same_time_do_not_miss_each_other(service: Service) -> None:
    reader = await entrance(service, **swims(most=50))
    card = await resident(service)
    taps = [visit(reader, card) for _ in range(12)]
    sent = [upload(reader, item) for tap in taps for item in (tap, passage(tap), tap, passage(tap))]
    results = [result for (result,) in await asyncio.gather(*sent)]
    assert (results.count("stored"), results.count("duplicate")) == (24, 24)
    assert await used(service, card) == 0
    kinds = [entry["kind"] for entry in await entries(service)]
    assert (kinds.count("tap"), kinds.count("reversal")) == (12, 12)


async def test_nobody_looks_into_a_visit_too_many_that_did_not_take_place(service: Service) -> None:
    reader = await entrance(service, **swims(most=1))
    card = await resident(service)
    first, second = visit(reader, card), visit(reader, card, online=False)
    await upload(reader, first, second)
    (flag,) = await flags(service)
    assert (flag["kind"], flag["resolved_at"]) == ("overspent", None)
    await upload(reader, passage(second))
    (flag,) = await flags(service)
    assert flag["tap_id"] == second["tap_id"]
    assert flag["resolved_at"] is not None
    assert "given back" in flag["note"]
    assert (await get(service, "/v1/flags?state=open"))["items"] == []


def counted(daemon: Daemon) -> tuple[int, int]:
    """Entries that the gate has of its feed, and units used in all by what it decides with."""
    holdings = daemon.feeds[FEED].cache.contents.holdings  # type: ignore[union-attr]
    ledger = daemon.own.ledger(holdings)
    pairs = {(entry.account, entry.key) for entry in holdings.units}
    return holdings.units.count, sum(ledger.used(account, key, None, None) for account, key in pairs)


async def test_the_gate_and_the_service_agree_that_nobody_came_in(service: Service, tmp_path: Path) -> None:
    await publish(service, document(**swims(1)))
    card = await resident(service)
    devices = Devices()
    settings = site_settings(service.url, tmp_path, ("1",))
    async with running(settings, devices, code=await enrolment_code(service)) as daemon:
        await ready(daemon)
        devices.gates["gate:1"].walks = False
        assert await present(daemon, devices, card) == "ok"
        assert daemon.lanes[0].counts["timed_out"] == 1
        await until(lambda: daemon.outbox.waiting == 0 and counted(daemon) == (2, 0))
        assert daemon.own.waiting == 0
        assert await used(service, card) == 0
        devices.gates["gate:1"].walks = True
        assert await present(daemon, devices, card) == "ok", "the only visit of the week is still theirs"
        await until(lambda: daemon.outbox.waiting == 0 and daemon.own.waiting == 0)
        assert counted(daemon) == (3, 1)
        assert await present(daemon, devices, card) == "quota_used"
    assert await used(service, card) == 1
    assert await flags(service) == []


async def test_what_was_given_back_later_is_no_part_of_why_somebody_was_let_in(service: Service) -> None:
    reader = await entrance(service)
    card = await resident(service)
    tap = visit(reader, card)
    await upload(reader, tap, passage(tap))
    answer = await get(service, f"/v1/taps/{tap['tap_id']}/why", roles="desk")
    assert answer["agrees"] is True, answer
    assert ": 0 visit taken before" in str(answer), answer
    assert answer["may_explain"] == []


async def test_a_tap_that_the_service_fails_to_count_is_kept_flagged_and_holds_up_nobody(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await entrance(service)
    card = await resident(service)
    tap = visit(reader, card)

    async def fault(*_: Any, **__: Any) -> bool:
        raise ZeroDivisionError("a fault of ours")

    with monkeypatch.context() as broken:
        broken.setattr("cardservice.ledger.posting.post_taps", fault)
        assert await upload(reader, tap) == ["stored"]
    assert await upload(reader, tap) == ["duplicate"]
    assert [(flag["kind"], flag["tap_id"]) for flag in await flags(service)] == [("unposted", tap["tap_id"])]
    assert await entries(service) == []
