"""Units of quotas: counted once, for whom and when they were used, whatever befell card, household, line or clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from entitlements.wire.state import Holder, HolderChange, UnitsChange
from tests.support.feed import Mirror, document, publish, take_snapshot
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.service import Service
from tests.support.state import (
    changes_after,
    entries,
    fact,
    flags,
    get,
    post,
    resident,
    swims,
    tag_of,
    upload,
    visit,
)

FEED = "wcc/leisure"
DAY_MS = 86_400_000


async def gate(service: Service, site: str = "porchester", **rules: Any) -> FakeReader:
    """A reader at a site, with a service in force that counts swims."""
    await publish(service, document(**(swims() | rules)))
    return await enrolled_reader(service, site=site)


def holder_of(mirror: Mirror, card: dict[str, Any]) -> Holder:
    return next(holder for holder in mirror.meta.state.holders if holder.index == card["index"])


async def test_units_reach_every_gate_under_the_key_of_the_holder(service: Service) -> None:
    reader = await gate(service)
    card = await resident(service)
    mirror = await take_snapshot(reader, FEED)
    key = holder_of(mirror, card).keys["person"]
    tap = visit(reader, card)
    assert await upload(reader, tap) == ["stored"]
    (change,) = await changes_after(reader, mirror)
    assert isinstance(change, UnitsChange)
    told = change.entry
    assert (told.entry, told.account, told.units, told.key) == (tap["tap_id"], "swims", 1, key)
    assert told.at == tap["at"] // 1000
    (entry,) = await entries(service)
    assert (entry["holder"], entry["person_id"]) == (card["person_id"], card["person_id"])
    assert await flags(service) == []


async def test_the_same_tap_twice_takes_one_unit(service: Service) -> None:
    reader = await gate(service)
    card = await resident(service)
    tap = visit(reader, card)
    assert await upload(reader, tap, tap) == ["stored", "duplicate"]
    assert await upload(reader, tap) == ["duplicate"]
    assert [entry["units"] for entry in await entries(service)] == [1]


@pytest.mark.parametrize(
    "changes",
    [{"outcome": "deny", "reason": "quota_used"}, {"direction": "exit"}, {"reason": "repeat_scan"}],
    ids=["refused", "out", "again"],
)
async def test_what_was_no_visit_takes_nothing(service: Service, changes: dict[str, Any]) -> None:
    reader = await gate(service)
    card = await resident(service)
    await upload(reader, visit(reader, card, **changes))
    assert await entries(service) == []


async def test_a_renewed_card_resets_nothing(service: Service) -> None:
    reader = await gate(service)
    old = await resident(service)
    mirror = await take_snapshot(reader, FEED)
    await upload(reader, visit(reader, old))
    new = await post(service, f"/v1/cards/{old['card_id']}/renew", {})
    await upload(reader, visit(reader, new))
    changes = await changes_after(reader, mirror)
    (holder,) = [change.holder for change in changes if isinstance(change, HolderChange) and change.holder.keys]
    assert holder.index == new["index"]
    keys = {change.entry.key for change in changes if isinstance(change, UnitsChange)}
    assert keys == {holder.keys["person"]} == {holder_of(mirror, old).keys["person"]}
    gone = [change.holder.index for change in changes if isinstance(change, HolderChange) and not change.holder.keys]
    assert gone == [old["index"]], "a gate lets go of the card that has ended"
    assert len(await entries(service, f"&person_id={new['person_id']}")) == 2


async def test_units_before_a_move_stay_with_the_old_household(service: Service) -> None:
    reader = await gate(service, **swims(scope="household"))
    mover = await resident(service, household="oak-1")
    stayer = await resident(service, household="oak-1")
    mirror = await take_snapshot(reader, FEED)
    before = visit(reader, mover, at=int(time.time() * 1000) - 3_600_000, online=False)
    await upload(reader, visit(reader, mover))
    person = await get(service, f"/v1/people/{mover['person_id']}")
    named = {name: person[name] for name in ("given_name", "family_name", "date_of_birth", "version")}
    status, _ = await service.call("PUT", f"/v1/people/{mover['person_id']}", named | {"household": "elm-2"})
    assert status == 200
    late_key, old_key = holder_of(mirror, mover).keys["household"], holder_of(mirror, stayer).keys["household"]
    assert late_key == old_key
    moved = [change for change in await changes_after(reader, mirror) if isinstance(change, HolderChange)]
    assert [change.holder.index for change in moved] == [mover["index"]]
    assert moved[0].holder.keys["household"] != old_key
    await upload(reader, before, visit(reader, mover, at=int(time.time() * 1000) + 1000))
    late, now = [change for change in await changes_after(reader, mirror) if isinstance(change, UnitsChange)]
    assert (late.entry.key, now.entry.key) == (old_key, moved[0].holder.keys["household"])
    assert sorted(entry["holder"] for entry in await entries(service)) == ["elm-2", "oak-1", "oak-1"]


async def test_two_sites_cut_off_spend_the_last_unit_and_nothing_is_lost(service: Service) -> None:
    baths = await gate(service, **swims(most=1))
    pool = await enrolled_reader(service, site="queen-mother")
    card = await resident(service)
    first, second = (visit(reader, card, online=False) for reader in (baths, pool))
    assert await upload(baths, first) == ["stored"]
    assert await flags(service) == []
    assert await upload(pool, second) == ["stored"]
    assert sum(entry["units"] for entry in await entries(service)) == 2
    (flag,) = await flags(service)
    assert (flag["kind"], flag["tap_id"], flag["units"]) == ("overspent", second["tap_id"], 1)
    assert (flag["account"], flag["holder"], flag["site_id"]) == ("swims", card["person_id"], "queen-mother")
    assert "2 of 1 visit" in flag["sentence"]
    assert "nobody is charged" in flag["sentence"]
    leases = (await get(service, "/v1/leases"))["items"]
    assert [(lease["site_id"], lease["spent_offline"]) for lease in leases] == [("porchester", 1), ("queen-mother", 1)]
    page = await get(service, "/v1/leases?limit=1")
    rest = await get(service, f"/v1/leases?limit=1&cursor={page['next']}")
    assert (page["items"] + rest["items"], rest["next"]) == (leases, None)


async def test_a_flag_is_closed_once_with_a_note(service: Service) -> None:
    reader = await gate(service, **swims(most=1))
    card = await resident(service)
    await upload(reader, visit(reader, card), visit(reader, card))
    (flag,) = await flags(service)
    path = f"/v1/flags/{flag['flag_id']}/resolve"
    closed = await post(service, path, {"note": "Asked at the desk."}, wanted=200, roles="desk")
    assert (closed["note"], closed["resolved_by"]) == ("Asked at the desk.", "token:test-desk")
    assert (await service.call("POST", path, {"note": "again"}))[0] == 409
    assert (await service.call("POST", f"/v1/flags/{uuid4()}/resolve", {"note": "?"}))[0] == 404
    assert (await get(service, "/v1/flags?state=open"))["items"] == []
    assert len((await get(service, "/v1/flags?state=resolved&kind=overspent"))["items"]) == 1


async def test_a_late_visit_counts_in_its_own_period(service: Service) -> None:
    reader = await gate(service, **swims(most=1, period="day"))
    card = await resident(service)
    now = int(time.time() * 1000)
    ago = now - 3 * DAY_MS
    today = visit(reader, card)
    await upload(reader, today)
    await upload(reader, visit(reader, card, at=ago, online=False))
    (flag,) = await flags(service)
    assert (flag["kind"], flag["units"]) == ("late", 1), "on its own day it was the first visit"
    await upload(reader, visit(reader, card, at=ago + 60_000, online=False))
    assert sorted(flag["kind"] for flag in await flags(service)) == ["late", "late", "overspent"]
    mirror = await take_snapshot(reader, FEED)
    assert [unit.entry for unit in mirror.meta.state.units] == [today["tap_id"]], "closed periods are not sent"


async def test_a_clock_that_was_ahead_is_told_to_people(service: Service) -> None:
    reader = await gate(service)
    card = await resident(service)
    await upload(reader, visit(reader, card, at=int(time.time() * 1000) + 3_600_000))
    await upload(reader, visit(reader, card, clock_trusted=False))
    assert sorted(flag["kind"] for flag in await flags(service)) == ["clock_ahead", "clock_untrusted"]
    assert len(await entries(service)) == 2


async def test_units_that_stand_in_no_account_are_not_dropped_in_silence(service: Service) -> None:
    reader = await gate(service)
    card = await resident(service)
    strange = [
        visit(reader, card, effects=[{"account": "saunas", "units": 1}]),
        visit(reader, card, effects=[{"account": "swims", "units": "many"}]),
        visit(reader, {"card_id": "AQIDBAUGBwg"}),
        visit(reader, card, card_tenant="rbkc"),
        visit(reader, card, service="wcc.leisure.nowhere"),
        visit(reader, card, acts_for=card["index"] + 1),
    ]
    assert await upload(reader, *strange) == ["stored"] * len(strange)
    found = await flags(service)
    assert {flag["kind"] for flag in found} == {"unposted"}
    assert {flag["tap_id"] for flag in found} == {tap["tap_id"] for tap in strange}
    assert await entries(service) == []


async def test_staff_give_a_unit_back_and_gates_hear_of_it(service: Service) -> None:
    reader = await gate(service)
    card = await resident(service)
    mirror = await take_snapshot(reader, FEED)
    body = {"service": "wcc.leisure.gym", "account": "swims", "person_id": card["person_id"], "units": -1}
    body["reason"] = "The pool was closed after ten minutes."
    entry = await post(service, "/v1/ledger/adjustments", body, roles="desk")
    assert (entry["kind"], entry["units"], entry["actor"]) == ("adjustment", -1, "token:test-desk")
    (change,) = await changes_after(reader, mirror)
    assert isinstance(change, UnitsChange)
    assert (change.entry.units, change.entry.entry) == (-1, entry["entry_id"])
    for wrong in ({"units": 0}, {"account": "saunas"}, {"at": "1990-01-01T00:00:00Z"}):
        assert (await service.call("POST", "/v1/ledger/adjustments", body | wrong))[0] == 422
    for missing in ({"service": "wcc.none"}, {"person_id": str(uuid4())}):
        assert (await service.call("POST", "/v1/ledger/adjustments", body | missing))[0] == 404
    assert (await service.call("POST", "/v1/ledger/adjustments", body, roles="auditor"))[0] == 403


async def test_the_ledger_is_leafed_through_and_filtered(service: Service) -> None:
    reader = await gate(service, **swims(most=50))
    one, other = await resident(service), await resident(service)
    now = int(time.time() * 1000)
    taps = [visit(reader, card, at=now - minute * 60_000) for minute in range(4) for card in (one, other)]
    await upload(reader, *taps)
    leafed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await get(service, f"/v1/ledger?limit=3{cursor and '&cursor=' + cursor}")
        leafed += [entry["entry_id"] for entry in page["items"]]
        cursor = page["next"]
    assert sorted(leafed) == sorted(tap["tap_id"] for tap in taps)
    assert len(await entries(service, f"&person_id={one['person_id']}")) == 4
    since = (datetime.now(UTC) - timedelta(seconds=90)).isoformat().replace("+00:00", "Z")
    assert len(await entries(service, f"&since={since}&account=swims&site=porchester")) == 4
    assert await entries(service, "&service=wcc.other") == []


async def test_a_delegates_card_names_whom_it_may_act_for_and_takes_their_units(service: Service) -> None:
    reader = await gate(service, delegation={"acts_for": {"scopes": ["use"]}})
    holder, delegate = await resident(service), await resident(service)
    mirror = await take_snapshot(reader, FEED)
    detail = {"person": delegate["person_id"], "scopes": ["use", "manage"], "max_pence": 500}
    mandate = await fact(service, holder["person_id"], kind="delegate", detail=detail, until="2099-01-01")
    (change,) = await changes_after(reader, mirror)
    assert isinstance(change, HolderChange)
    assert change.holder.index == delegate["index"]
    (acting,) = change.holder.acts_for
    assert (acting.index, acting.tag) == (holder["index"], tag_of(holder))
    (grant,) = acting.grants
    assert (grant.scopes, grant.from_, grant.max_pence) == (("use",), None, 500), "gates hear of no other scope"
    assert grant.until is not None
    await upload(reader, visit(reader, delegate, acts_for=holder["index"]))
    assert [entry["holder"] for entry in await entries(service)] == [holder["person_id"]]
    await changes_after(reader, mirror)
    new = await post(service, f"/v1/cards/{holder['card_id']}/renew", {})
    renewed = {
        change.holder.index: change.holder
        for change in await changes_after(reader, mirror)
        if isinstance(change, HolderChange)
    }
    assert renewed[delegate["index"]].acts_for[0].index == new["index"], "the delegate follows the holder's new card"
    await post(service, f"/v1/people/{holder['person_id']}/facts/{mandate['fact_id']}/end", wanted=200)
    (ended,) = await changes_after(reader, mirror)
    assert isinstance(ended, HolderChange)
    assert (ended.holder.index, ended.holder.acts_for) == (delegate["index"], ())


async def test_areas_cannot_be_joined_by_their_keys(service: Service) -> None:
    await gate(service)
    await publish(service, document("wcc.waste.tip", **swims()))
    card = await resident(service)
    keys = set()
    for area in ("leisure", "waste"):
        reader = await enrolled_reader(service, site=f"{area}-site", feeds=(f"wcc/{area}",))
        keys.add(holder_of(await take_snapshot(reader, f"wcc/{area}"), card).keys["person"])
    assert len(keys) == 2
    assert all(len(key) == 16 and card["person_id"] not in key for key in keys)


async def test_whoever_holds_no_grant_costs_the_gates_nothing(service: Service) -> None:
    reader = await gate(service)
    stranger = await resident(service)
    facts = (await get(service, f"/v1/people/{stranger['person_id']}/facts"))["items"]
    mirror = await take_snapshot(reader, FEED)
    await post(service, f"/v1/people/{stranger['person_id']}/facts/{facts[0]['fact_id']}/end", wanted=200)
    told = [change for change in await changes_after(reader, mirror) if isinstance(change, HolderChange)]
    assert [(change.holder.index, change.holder.keys) for change in told] == [(stranger["index"], {})]
    assert holder_of(mirror, stranger).keys
    uncounted = await resident(service)
    await publish(service, document())
    assert uncounted["index"] not in {holder.index for holder in (await take_snapshot(reader, FEED)).meta.state.holders}


async def test_a_permit_counts_by_its_number(service: Service) -> None:
    who = {"all": [{"permit": "ev_vehicle"}]}
    reader = await gate(service, who=who, **swims(scope="permit"))
    card = await resident(service)
    await fact(service, card["person_id"], kind="permit", name="ev_vehicle", detail={"id": "AB12.CDE"})
    mirror = await take_snapshot(reader, FEED)
    own = holder_of(mirror, card).own["wcc.leisure.gym"]
    await upload(reader, visit(reader, card))
    (change,) = await changes_after(reader, mirror)
    assert isinstance(change, UnitsChange)
    assert change.entry.key == own["permit"]
    assert [(entry["scope"], entry["holder"]) for entry in await entries(service)] == [("permit", "AB12.CDE")]


async def test_a_neighbours_card_counts_at_its_own_council(service: Service) -> None:
    shared = document("wcc.leisure.gym", who={"all": [{"resident_of": ["wcc", "rbkc"]}]}, **swims())
    await publish(service, shared, shared_with=("rbkc",))
    reader = await enrolled_reader(service, feeds=("wcc/leisure", "rbkc/leisure"))
    card = await resident(service, tenant="rbkc")
    mirror = await take_snapshot(reader, "rbkc/leisure")
    await upload(reader, visit(reader, card, card_tenant="rbkc", feed="rbkc/leisure"))
    (change,) = await changes_after(reader, mirror)
    assert isinstance(change, UnitsChange)
    assert change.entry.key == holder_of(mirror, card).keys["person"]
    assert await entries(service) == []
    assert len(await entries(service, tenant="rbkc")) == 1


async def test_uploads_and_desks_at_once_count_each_tap_once_and_number_without_a_gap(service: Service) -> None:
    reader = await gate(service, **swims(most=1000))
    cards = [await resident(service) for _ in range(4)]
    mirror = await take_snapshot(reader, FEED)
    taps = [visit(reader, cards[n % 4]) for n in range(60)]
    body = {"service": "wcc.leisure.gym", "account": "swims", "units": 1, "reason": "Counted by hand."}
    answers = await asyncio.gather(
        reader.upload(*taps),
        reader.upload(*reversed(taps)),
        *(reader.upload(*taps[n : n + 20]) for n in (0, 20, 40)),
        *(post(service, f"/v1/cards/{card['card_id']}/renew", {}) for card in cards),
        *(post(service, "/v1/ledger/adjustments", body | {"person_id": card["person_id"]}) for card in cards),
    )
    assert [answer[0] for answer in answers[:5] if isinstance(answer, tuple)] == [200] * 5
    found = await entries(service)
    assert len(found) == 64
    assert sum(entry["units"] for entry in found) == 64
    told = [change.entry.entry for change in await changes_after(reader, mirror) if isinstance(change, UnitsChange)]
    assert sorted(told) == sorted(entry["entry_id"] for entry in found), "the mirror found no gap, and nothing twice"
    assert await flags(service) == []
