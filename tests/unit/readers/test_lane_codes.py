"""One-time codes at the lanes: an honest phone is never in its own way, a picture of it never gets through."""

from __future__ import annotations

import time
from pathlib import Path

from entitlements.credential.es256 import generate_private_key
from hardware.interfaces import Passed, Presented, Removed
from tests.unit.readers.kit.council import Card, Council
from tests.unit.readers.kit.rig import Rig, rig
from tests.unit.readers.kit.site import until


def now(site: Rig) -> int:
    return site.daemon.clock.now_ms() // 1000


def phone(council: Council) -> Card:
    return council.issue(in_snapshot=True, phone=generate_private_key())


async def test_a_code_let_in_at_one_lane_is_refused_at_all_others(tmp_path: Path) -> None:
    council = Council()
    card = phone(council)
    async with rig(tmp_path, council=council) as site:
        code = card.live(now(site))
        site.source().present(code)
        await until(lambda: site.counts()["passed"] == 1)
        site.source("in-2").present(code)
        await site.display("in-2").until("This code was used already")
        taps = await site.taps(2)
        assert [tap["reason"] for tap in taps] == ["ok", "replayed_code"]
        assert taps[0]["card"] == taps[1]["card"]
        assert site.gate("in-2").releases == []


async def test_two_lanes_at_the_same_instant_let_one_person_in(tmp_path: Path) -> None:
    council = Council()
    card = phone(council)
    async with rig(tmp_path, council=council) as site:
        code = card.live(now(site))
        site.source().present(code)
        site.source("in-2").present(card.twin(now(site)))
        await site.taps(2)
        assert len(site.gate().releases) + len(site.gate("in-2").releases) == 1


async def test_a_camera_that_sees_the_code_again_while_its_holder_walks_refuses_nobody(tmp_path: Path) -> None:
    council = Council()
    card = phone(council)
    async with rig(tmp_path, council=council) as site:
        site.gate().walks = False
        code = card.live(now(site))
        site.source().present(code)
        await site.gate().released.wait()
        source = site.source()
        for _ in range(3):
            source.present(code)
        source.queue.put_nowait(Presented(data=code, media="qr", source=source.name, at_monotonic=time.monotonic()))
        await until(lambda: source.queue.empty() and site.daemon.lanes[0].presenting)
        site.gate().queue.put_nowait(Passed(direction="entry"))
        await until(lambda: site.counts()["passed"] == 1 and site.daemon.lanes[0].state == "idle")
        source.queue.put_nowait(Removed(source=source.name, at_monotonic=time.monotonic()))
        await until(lambda: not site.daemon.lanes[0].presenting)
        assert site.counts()["tried"] == 1
        assert len(await site.taps(1)) == 1


async def test_who_did_not_walk_in_time_gets_in_with_the_next_code_and_not_with_the_same(tmp_path: Path) -> None:
    council = Council()
    card = phone(council)
    async with rig(tmp_path, council=council) as site:
        began = now(site) - 15
        site.gate().walks = False
        site.source().present(card.live(began))
        await until(lambda: site.counts()["timed_out"] == 1 and site.daemon.lanes[0].state == "idle")
        site.gate().walks = True
        site.source().present(card.live(began))
        await site.display().until("This code was used already")
        assert "next code" in site.display().shown[-1].detail
        await until(lambda: site.daemon.lanes[0].state == "idle")
        site.source().present(card.live(began + 15))
        await until(lambda: site.counts()["passed"] == 1)


async def test_a_picture_shown_at_the_way_out_leaves_its_owner_inside(tmp_path: Path) -> None:
    council = Council()
    card = phone(council)
    async with rig(tmp_path, council=council) as site:
        began = now(site) - 1
        site.source().present(card.live(began))
        await until(lambda: site.counts()["passed"] == 1)
        keys = site.daemon.gate.keys_of(card.claims)
        lane = site.daemon.lanes[0]
        assert lane.place is not None
        zone = lane.place.zone
        site.source("out-1").present(card.live(began))
        await until(lambda: site.counts("out-1")["passed"] == 1)
        assert site.daemon.presence.of(keys, lane="in-1", zone=zone).inside
        site.source("out-1").present(card.live(began + 1))
        await until(lambda: site.counts("out-1")["passed"] == 2)
        assert not site.daemon.presence.of(keys, lane="in-1", zone=zone).inside
        taps = await site.taps(3)
        assert [tap["outcome"] for tap in taps] == ["allow"] * 3
        assert "nobody is counted as gone" in taps[1]["detail"]


async def test_a_paper_card_opens_the_gate_as_often_as_it_is_shown(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        for count in (1, 2):
            site.source().present(card.paper)
            await until(lambda count=count: site.counts()["passed"] == count)
        assert {tap["reason"] for tap in await site.taps(2)} == {"ok", "repeat_scan"}


async def test_each_tap_says_what_was_proven_of_the_card_and_not_what_it_was_issued_for(tmp_path: Path) -> None:
    council = Council()
    card = phone(council)
    async with rig(tmp_path, council=council) as site:
        code = card.live(now(site))
        for count, (data, reason, proven) in enumerate(
            [
                (code, "ok", "live"),
                (card.paper, "repeat_scan", "static"),
                (code, "replayed_code", "live"),
                (b"a parcel", "presentation_not_accepted", None),
            ],
            1,
        ):
            site.source().present(data)
            tap = (await site.taps(count))[-1]
            assert (tap["reason"], tap.get("presentation")) == (reason, proven)
            await until(lambda: site.daemon.lanes[0].state == "idle")
