"""The PIN at the lane: a found card opens nothing, its holder gets in, and nobody waits for who does not type."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from entitlements.credential.es256 import generate_private_key
from entitlements.model import CardState
from hardware.interfaces import Down, FireOn, Up
from readers import pindesk
from tests.unit.readers.kit import counted, pins
from tests.unit.readers.kit.council import Council
from tests.unit.readers.kit.pins import PIN, WRONG
from tests.unit.readers.kit.rig import Rig, rig
from tests.unit.readers.kit.site import until


async def asked(site: Rig, lane: str = "in-1") -> None:
    """Wait until the lane asks for a PIN."""
    found = next(lane_ for lane_ in site.daemon.lanes if lane_.name == lane)
    await until(lambda: found.state == "asking" and found._pins._entry is not None)


async def enter(site: Rig, keys: str, lane: str = "in-1") -> None:
    await asked(site, lane)
    site.keys(lane).press(keys)


def last(site: Rig) -> dict[str, Any]:
    return site.service.tap_list()[-1]


async def test_the_right_pin_opens_the_gate_for_the_card_of_its_holder(tmp_path: Path) -> None:
    council = pins.pin_council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council, keypads=True, secrets=pins.page(pins.verifier(card))) as site:
        site.source().present(card.token)
        await site.display().until("Please enter your PIN")
        assert site.gate().releases == []
        await enter(site, PIN + "#")
        await until(lambda: site.counts()["passed"] == 1)
        tap = (await site.taps(1))[0]
    assert (tap["outcome"], tap["reason"], tap["detail"]) == ("allow", "ok", None)


async def test_a_mistyped_pin_may_be_corrected_and_tried_again(tmp_path: Path) -> None:
    council = pins.pin_council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council, keypads=True, secrets=pins.page(pins.verifier(card))) as site:
        site.source().present(card.token)
        await enter(site, "47*" + "12#" + WRONG + "#")
        await site.display().until("That PIN is not right")
        await enter(site, PIN + "#")
        await until(lambda: site.counts()["passed"] == 1)
        tap = (await site.taps(1))[0]
    assert tap["detail"] == "the PIN was right at try 2", "two digits are no PIN and no try"


async def test_the_third_wrong_pin_locks_the_card_at_every_lane_and_says_for_how_long(tmp_path: Path) -> None:
    council = pins.pin_council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council, keypads=True, secrets=pins.page(pins.verifier(card))) as site:
        site.source().present(card.token)
        for count in range(1, 3):
            await enter(site, WRONG + "#")
            await site.display().until("That PIN is not right", count)
        await enter(site, WRONG + "#")
        await site.display().until("Too many wrong PINs")
        assert "15 minutes" in site.display().shown[-1].detail
        site.source("in-2").present(card.token)
        await site.display("in-2").until("Too many wrong PINs")
        taps = await site.taps(2)
        assert [tap["reason"] for tap in taps] == ["pin_wrong", "pin_wrong"]
        assert all("locked at this site" in tap["detail"] for tap in taps)
        assert site.gate().releases == site.gate("in-2").releases == []


@pytest.mark.parametrize(
    ("why", "detail"),
    [
        ("cancel", "gave up"),
        ("timeout", "in time"),
        ("other card", "another card"),
        ("keypad", "keypad failed"),
    ],
)
async def test_a_dialogue_ends_by_itself_and_the_next_person_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, detail: str
) -> None:
    if why == "timeout":
        monkeypatch.setattr(pindesk, "PIN_SECONDS", 0.05)
    council = pins.pin_council()
    card, other = council.issue(in_snapshot=True), council.issue(in_snapshot=True)
    page = pins.page(pins.verifier(card), pins.verifier(other))
    async with rig(tmp_path, council=council, keypads=True, secrets=page) as site:
        site.source().present(card.token)
        if why != "timeout":
            await asked(site)
        if why == "cancel":
            site.keys().press("4**")
        elif why == "other card":
            site.source().present(other.token)
        elif why == "keypad":
            site.keys().queue.put_nowait(Down(source="keys:in-1", reason="unplugged"))
        taps = await site.taps(1)
        assert detail in taps[0]["detail"]
        assert taps[0]["outcome"] == ("refer" if why == "keypad" else "deny")
        assert taps[0]["reason"] == ("offline_staff_only" if why == "keypad" else "pin_required")
        if why == "keypad":
            assert "lane in-1: the keypad does not answer" in site.daemon.health.problems()
            site.keys().queue.put_nowait(Up(source="keys:in-1"))
            await until(lambda: not site.daemon.lanes[0].keypad_down)
        monkeypatch.undo()
        if why != "other card":
            site.source().present(other.token)
        await enter(site, PIN + "#")
        await until(lambda: site.counts()["passed"] == 1)


async def test_a_fire_ends_the_dialogue_at_once(tmp_path: Path) -> None:
    council = pins.pin_council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council, keypads=True, secrets=pins.page(pins.verifier(card))) as site:
        site.source().present(card.token)
        await asked(site)
        site.gate().queue.put_nowait(FireOn())
        await site.display().until("Please leave the building")
        lane = site.daemon.lanes[0]
        await until(lambda: lane._pins._card is None)
        site.keys().press(PIN + "#")
        assert lane.state == "fire"
        assert site.display().shown[-1].headline == "Please leave the building"
    assert site.gate().releases == []


async def test_a_phone_left_before_the_camera_does_not_end_its_own_dialogue(tmp_path: Path) -> None:
    council = pins.pin_council()
    card = council.issue(in_snapshot=True, phone=generate_private_key())
    async with rig(tmp_path, council=council, keypads=True, secrets=pins.page(pins.verifier(card))) as site:
        now = site.daemon.clock.now_ms() // 1000
        site.source().present(card.live(now - 1))
        await asked(site)
        site.source().present(card.live(now - 1))
        site.source().present(card.live(now))  # the next code of the same phone
        await enter(site, PIN + "#")
        await until(lambda: site.counts()["passed"] == 1)
        assert site.counts()["tried"] == 1
        site.source().present(card.live(now))
        await until(lambda: site.counts()["tried"] == 2)
        assert len(await site.taps(1)) >= 1


@pytest.mark.parametrize(
    ("keypads", "verifiers", "detail"),
    [
        (False, True, "this lane has no keypad"),
        (True, False, "no PIN was set for this card"),
        (True, None, "holds no PINs of its council"),
    ],
)
async def test_who_cannot_be_asked_here_is_sent_to_staff_who_are_told_why(
    tmp_path: Path, keypads: bool, verifiers: bool | None, detail: str
) -> None:
    council = pins.pin_council()
    card = council.issue(in_snapshot=True)
    page = None if verifiers is None else pins.page(*([pins.verifier(card)] if verifiers else []))
    async with rig(tmp_path, council=council, keypads=keypads, secrets=page) as site:
        if keypads:
            await until(lambda: not site.daemon.lanes[0].keypad_down)
        site.source().present(card.token)
        tap = (await site.taps(1))[0]
        assert (tap["outcome"], tap["reason"]) == ("refer", "offline_staff_only")
        assert detail in tap["detail"]
        await site.display().until("This needs a member of staff")


async def test_nobody_is_asked_for_a_pin_that_would_not_help(tmp_path: Path) -> None:
    closed = {"when": {"windows": [{"days": ["sun"], "from": "03:00", "until": "03:05"}]}}
    council = pins.pin_council(**closed)
    stranger, lost = council.issue(in_snapshot=True), council.issue(in_snapshot=True)
    holder = council.issue(in_snapshot=True)
    council.put(stranger, CardState.ACTIVE, profile=1)
    council.put(lost, CardState.LOST)
    page = pins.page(*(pins.verifier(card) for card in (stranger, lost, holder)))
    async with rig(tmp_path, council=council, keypads=True, secrets=page) as site:
        for count, card in enumerate((stranger, lost, holder), start=1):
            site.source().present(card.token)
            taps = await site.taps(count)
        assert [tap["reason"] for tap in taps] == ["not_eligible", "card_lost", "outside_hours"]
        assert not any("PIN" in verdict.headline for verdict in site.display().shown)


async def test_a_pin_is_asked_for_although_another_service_of_the_lane_refused_later(tmp_path: Path) -> None:
    full = counted.document("wcc.libraries.room", limits=[{"booking": {"resource": "room-1"}}])
    council = counted.council_with(counted.document(pins.OPEN_LIBRARY, requires=[{"factor": "pin"}]), full)
    card = council.issue(in_snapshot=True)
    counted.holder(council, card, in_snapshot=True)
    async with rig(tmp_path, council=council, keypads=True, secrets=pins.page(pins.verifier(card))) as site:
        site.source().present(card.token)
        await enter(site, PIN + "#")
        await until(lambda: site.counts()["passed"] == 1)
        assert (await site.taps(1))[0]["service"] == pins.OPEN_LIBRARY


async def test_a_pin_typed_before_it_was_asked_for_counts_for_nothing(tmp_path: Path) -> None:
    council = pins.pin_council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council, keypads=True, secrets=pins.page(pins.verifier(card))) as site:
        site.keys().press(PIN)
        site.source().present(card.token)
        await enter(site, "#*")
        taps = await site.taps(1)
        assert "gave up" in taps[0]["detail"]


async def test_no_log_tap_or_status_tells_what_was_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    council = pins.pin_council()
    card = council.issue(in_snapshot=True)
    typed, right = "80085135", "47119206"  # so long that no number beside them has their digits by chance
    page = pins.page(pins.verifier(card, pin=right))
    told = io.StringIO()
    async with rig(tmp_path, council=council, keypads=True, secrets=page) as site:
        site.source().present(card.token)
        await enter(site, typed + "#")
        await site.display().until("That PIN is not right")
        await enter(site, "*")
        taps = await site.taps(1)
        with contextlib.redirect_stdout(told):
            print(taps, site.daemon.lanes[0].recent, site.daemon.status.build(), site.display().shown)
        kept = await site.daemon.journal.attempts()
    captured = capsys.readouterr()
    for text in (captured.out, captured.err, told.getvalue(), repr(kept)):
        assert typed not in text
        assert right not in text


async def test_a_service_that_asks_for_no_pin_lets_in_without_one_where_a_keypad_hangs(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council, keypads=True) as site:
        site.source().present(card.token)
        await until(lambda: site.counts()["passed"] == 1)
        assert not any("PIN" in verdict.headline for verdict in site.display().shown)
