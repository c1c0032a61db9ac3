"""The lane: people get through once for each allowed card, out always, and freely in a fire."""

from __future__ import annotations

import base64
import random
import shutil
from pathlib import Path

import pytest

from entitlements.credential.keys import SigningKey
from entitlements.model import CardState, TenantId
from hardware.errors import GateUnreachableError
from hardware.interfaces import Direction, Down, FireOff, FireOn, Forced, Passed, Unreadable, Up
from readers.jotter import JOTTER_FILE, Jotter
from tests.unit.readers.kit.council import YEAR, Council
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.rig import rig
from tests.unit.readers.kit.site import ready, running, site_settings, until


async def test_every_kind_of_bad_card_is_refused_with_its_own_reason(tmp_path: Path) -> None:
    council = Council()
    good = council.issue(in_snapshot=True)
    states = {state: council.issue(in_snapshot=True) for state in CardState if state is not CardState.ACTIVE}
    for state, card in states.items():
        council.put(card, state)
    expired = council.issue(in_snapshot=True, lasts=-60)
    other_key = council.issue(in_snapshot=True, key=SigningKey.generate(TenantId("wcc")))
    unknown = council.issue()
    council.rows[unknown.claims.index] = 0
    council.issue_number -= 1
    council.changes.pop()
    council.number -= 1
    # Not the last character: its low bits mean nothing, and a strict decoder refuses it for another reason.
    signature = good.token.rpartition(b".")[2]
    raw = bytearray(base64.urlsafe_b64decode(signature + b"=="))
    raw[5] ^= 1
    forged = good.token.rpartition(b".")[0] + b"." + base64.urlsafe_b64encode(raw).rstrip(b"=")
    shown = [
        (forged, "bad_signature"),
        (other_key.token, "bad_signature"),
        (expired.token, "card_expired"),
        (unknown.token, "unknown_card"),
        (random.Random(5).randbytes(300), "presentation_not_accepted"),
        *((card.token, f"card_{state.value}") for state, card in states.items()),
    ]
    async with rig(tmp_path, council=council) as site:
        for count, (data, _) in enumerate(shown, start=1):
            site.source().present(data)
            await until(lambda count=count: site.counts()["deny"] == count)
        taps = await site.taps(len(shown))
        assert [tap["reason"] for tap in taps] == [reason for _, reason in shown]
        assert site.gate().releases == []


async def test_nobody_gets_in_twice_on_one_card_and_a_timed_out_release_counts_for_nothing(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        site.gate().walks = False
        site.source().present(card.token)
        await until(lambda: site.counts()["timed_out"] == 1)
        site.gate().walks = True
        site.source().present(card.token)
        await until(lambda: site.counts()["passed"] == 1)
        site.source("in-2").present(card.token)
        await until(lambda: site.counts("in-2").total() > 0)
        taps = await site.taps(3)
    # Within two minutes the second tap is the same visit.
    assert [tap["reason"] for tap in taps] == ["ok", "ok", "repeat_scan"]


async def test_a_card_cannot_be_used_at_two_lanes_at_once(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        site.gate().walks = False
        site.source().present(card.token)
        await site.gate().released.wait()
        site.source("in-2").present(card.token)
        taps = await site.taps(2)
        assert [tap["reason"] for tap in taps] == ["ok", "already_inside"]
        assert site.gate("in-2").releases == []


async def test_who_went_in_is_still_inside_after_a_restart(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        site.source().present(card.token)
        await until(lambda: site.counts()["passed"] == 1)
        await site.daemon.presence.durable()
        service = site.service
    await service.start()
    service.seconds_off += 600  # later than the gap that counts as the same visit
    devices = Devices()
    settings = site_settings(service.url, tmp_path)
    async with running(settings, devices, code=None) as daemon:
        await ready(daemon)
        await until(lambda: abs(daemon.clock.now_ms() - service.now_ms()) < 5_000 and daemon.clock.trusted)
        devices.sources["qr:in-1"].present(card.token)
        await devices.displays["show:in-1"].until("This card is already in use inside")
    await service.stop()


async def test_leaving_needs_no_permission_and_ends_the_visit(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        site.source().present(card.token)
        await until(lambda: site.counts()["passed"] == 1)
        council.put(card, CardState.REVOKED)
        for count, data in enumerate((card.token, b"a bus ticket"), start=1):
            site.source("out-1").present(data)
            await until(lambda count=count: site.counts("out-1")["passed"] == count)
        taps = await site.taps(3)
        assert [tap["direction"] for tap in taps] == ["entry", "exit", "exit"]
        assert {tap["outcome"] for tap in taps} == {"allow"}
        assert site.gate("out-1").releases == ["exit", "exit"]
        assert site.daemon.presence.count(site.daemon.lanes[0].place.zone) == 0  # type: ignore[union-attr]


async def test_fire_ends_deciding_and_the_lane_locks_nothing(tmp_path: Path) -> None:
    council = Council()
    card, other = council.issue(in_snapshot=True), council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        site.gate().walks = False
        site.source().present(card.token)
        await site.gate().released.wait()
        site.gate().queue.put_nowait(FireOn())
        await site.display().until("Please leave the building")
        site.source().present(other.token)
        site.gate().queue.put_nowait(Passed(direction="exit", during_fire=True))
        await until(lambda: site.counts()["free"] == 1)
        status = site.daemon.lanes[0].status()
        assert (status.state, status.headline) == ("fire", "Please leave the building")
        assert site.gate().releases == ["entry"]
        site.gate().walks = True
        site.gate().queue.put_nowait(FireOff())
        await until(lambda: site.daemon.lanes[0].state == "idle")
        site.source().present(other.token)
        await until(lambda: site.counts()["passed"] == 1)
        assert len(await site.taps(2)) == 2, "what was held to the reader during the fire was not decided"


async def test_a_second_person_on_one_release_is_noticed(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        site.source().present(card.token)
        await until(lambda: site.counts()["passed"] == 1)
        site.gate().queue.put_nowait(Passed(direction="entry"))
        await until(lambda: site.counts()["tailgating"] == 1)
        await site.display().until("One person at a time")
        site.gate("in-2").queue.put_nowait(Forced(direction="entry"))
        await until(lambda: site.counts("in-2")["forced"] == 1)


async def test_the_next_person_waits_until_the_first_has_passed(tmp_path: Path) -> None:
    council = Council()
    first, second = council.issue(in_snapshot=True), council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        site.gate().walks = False
        site.source().present(first.token)
        await site.gate().released.wait()
        site.source().present(second.token)
        site.gate().walks = True
        site.gate().queue.put_nowait(Passed(direction="entry"))
        await until(lambda: site.counts()["passed"] == 2)
        assert len({tap["card"] for tap in await site.taps(2)}) == 2


async def test_a_gate_that_does_not_answer_sends_people_to_staff_and_says_so(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        site.gate().fault = GateUnreachableError
        site.source().present(card.token)
        await site.display().until("Please ask our staff")
        await until(lambda: site.counts()["fault"] == 1)
        await site.service.until(lambda: len(site.service.taps) == 2)
        passage = next(item for item in site.service.taps.values() if item["t"] == "passage")
        assert passage["result"] == "fault"
        site.gate().queue.put_nowait(Down(source="gate:in-1", reason="unplugged"))
        await until(lambda: "lane in-1: the gate does not answer" in site.daemon.health.problems())


async def test_a_broken_lane_leaves_the_others_working(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        site.display().fault = True
        site.source().queue.put_nowait(RuntimeError("the driver fell over"))
        site.source("in-2").present(card.token)
        await until(lambda: site.counts("in-2")["passed"] == 1)
        await until(lambda: site.source().entered == 2)
        other = site.council.issue()
        site.source().queue.put_nowait(Up(source="qr:in-1"))
        site.source().present(other.token)
        await until(lambda: site.counts()["passed"] == 1)


async def test_a_bus_card_is_answered_kindly_and_is_no_tap(tmp_path: Path) -> None:
    async with rig(tmp_path) as site:
        site.source().queue.put_nowait(Unreadable(reason="a bus card", source="qr:in-1", at_monotonic=0.0))
        await site.display().until("Please show your council card")
        assert site.service.tap_list() == []


async def test_a_card_left_before_the_camera_is_decided_once(tmp_path: Path) -> None:
    council = Council()
    card, other = council.issue(in_snapshot=True), council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        site.source().present(card.token)
        removed = site.source().queue._queue.pop()  # type: ignore[attr-defined]
        site.source().queue._queue.append(site.source().queue._queue[-1])  # type: ignore[attr-defined]
        await until(lambda: site.counts()["passed"] == 1)
        site.source().queue.put_nowait(removed)
        site.source().present(other.token)
        await until(lambda: site.counts()["passed"] == 2)
        assert len(await site.taps(2)) == 2


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_misbehaving_gates_lose_no_tap_and_never_stop_the_lane(tmp_path: Path, seed: int) -> None:
    council = Council()
    cards = [council.issue(in_snapshot=True) for _ in range(25)]
    async with rig(tmp_path, seed=seed, council=council) as site:
        chance = random.Random(seed)
        lanes = ("in-1", "in-2", "out-1")
        for card in cards:
            name = chance.choice(lanes)
            lane = next(found for found in site.daemon.lanes if found.name == name)
            tried = lane.counts["tried"]
            site.source(name).present(card.token)
            await until(lambda lane=lane, tried=tried: lane.counts["tried"] > tried and lane.state == "idle")
        total = sum(site.counts(lane)["allow"] for lane in lanes)
        ended = sum(site.counts(lane)[result] for lane in lanes for result in ("passed", "timed_out", "fault"))
        assert total == ended
        await site.service.until(lambda: len(site.service.tap_list()) == total)
        await until(lambda: site.daemon.outbox.waiting == 0)
        assert len(site.service.taps) == 2 * total


async def test_a_card_that_lasts_years_is_shown_as_welcome(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True, lasts=3 * YEAR)
    async with rig(tmp_path, council=council) as site:
        site.source().present(card.token)
        await site.display().until("Welcome")
        await until(lambda: site.counts()["passed"] == 1)


@pytest.mark.parametrize("lane", ["in-1", "out-1"])
async def test_who_is_let_through_is_known_even_if_the_reader_is_killed_in_that_instant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lane: str
) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    left: list[dict[int, bytes]] = []
    async with rig(tmp_path, council=council) as site:
        gate = site.gate(lane)
        whole = gate.release

        async def release(direction: Direction, pulse_seconds: float) -> None:
            shutil.copy(tmp_path / JOTTER_FILE, tmp_path / "left")  # what a killed process leaves
            left.append(Jotter(tmp_path / "left").open())
            await whole(direction, pulse_seconds)

        monkeypatch.setattr(gate, "release", release)
        site.source(lane).present(card.token)
        await until(lambda: site.counts(lane)["passed"] == 1)
        (tap,) = await site.taps(1)
    assert [tap["tap_id"] in body.decode() for kept in left for body in kept.values()] == [True]
