"""A hostile queue, neighbour and network at a gate: what they send costs nobody else anything."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from entitlements.credential.base45 import b45_encode
from entitlements.credential.claims import BAD_SIGNATURE, UNKNOWN_KEY, CardForm, Refused, VerifiedCard
from entitlements.credential.encoding import b64url_encode
from entitlements.credential.es256 import generate_private_key, sign_message
from entitlements.credential.keys import KeySet, SigningKey, VerificationKey
from entitlements.credential.live import live_message, live_text
from entitlements.model import Reason, TenantId
from readers.clock import TrustedClock
from readers.feed import Feed
from readers.gate import Gate
from readers.journal import Journal
from readers.replay import ReplayBook
from tests.support.cards import NOW
from tests.unit.readers.kit import pins
from tests.unit.readers.kit.council import NOON, Council
from tests.unit.readers.kit.desk import Open
from tests.unit.readers.kit.rig import rig
from tests.unit.readers.kit.site import until
from tests.unit.readers.test_lane_pin import asked, enter

WCC, RBKC = TenantId("wcc"), TenantId("rbkc")


async def test_a_million_forgeries_would_leave_nothing_behind(council: Council, opened: Open) -> None:
    """All of them different, in every form, some under a stranger's key: nothing is kept of a card that is none."""
    seeded = random.Random(7)
    council.issue()
    desk = opened(council)
    desk.listen()
    stranger, phone = Council(), generate_private_key()
    for count in range(60):
        forged = stranger.issue(phone=phone)
        noise = seeded.randbytes(180)
        for data, media in (
            (forged.token, "qr"),
            (forged.paper, "qr"),
            (forged.live(desk.now), "nfc-ndef"),
            (live_text(noise, desk.now, sign_message(phone, live_message(noise, desk.now))).encode(), "qr"),
            (b"RP1:" + b45_encode(noise), "qr"),
            (b"https://a#RN1:" + b64url_encode(noise[:120]) + b"." + b"%032X" % count + b"." + b"0" * 16, "nfc-ndef"),
            (b"RG1:wcc.%d.AQIDBAUGBwg.%08d" % (count, count), "qr"),
            (b"RU1:%014X" % count, "nfc-uid"),
            (noise, "qr"),
        ):
            assert isinstance(desk.gate.take(data, media).found, Refused)
            assert desk.gate.leaving(data, media).claims is None
    assert len(desk.gate._memory) == 0
    assert len(desk.gate._memory._device_keys) == 0
    assert len(desk.replay) == 0


async def test_a_code_is_used_up_for_its_phone_however_it_comes_back(council: Council, opened: Open) -> None:
    """By another medium, as its twin, or a second older; and the picture of the card under it is a picture."""
    card = council.issue(phone=generate_private_key())
    desk = opened(council)
    desk.listen()
    assert desk.gate.take(card.live(desk.now), "nfc-ndef").replayed is None
    for data, media in (
        (card.live(desk.now), "qr"),
        (card.live(desk.now), "nfc-ndef"),
        (card.twin(desk.now), "qr"),
        (card.live(desk.now - 1), "qr"),
    ):
        replayed = desk.gate.take(data, media).replayed
        assert replayed is not None
        assert replayed.reason is Reason.REPLAYED_CODE
    picture = desk.gate.take(card.paper, "qr").found
    assert isinstance(picture, VerifiedCard)
    assert (picture.form, picture.presentation.value) == (CardForm.CWT, "static")


@pytest.mark.parametrize("back", [20, 119, 121, 3600])
async def test_a_clock_that_is_set_back_brings_no_used_code_back(council: Council, opened: Open, back: int) -> None:
    """Whoever answers for the service could do it, or an installer with a wrong clock; up to 120 s unnoticed."""
    card = council.issue(phone=generate_private_key())
    desk = opened(council)
    desk.listen()
    used = card.live(desk.now)
    assert desk.gate.take(used, "qr").replayed is None
    desk.clock.observe((desk.now - back) * 1000, 0.0)
    assert desk.clock.trusted == (back <= 120)
    shown = desk.gate.take(used, "qr")
    assert isinstance(shown.found, Refused) or shown.replayed is not None


async def test_a_clock_set_back_by_more_than_two_minutes_lets_no_old_picture_in(council: Council, opened: Open) -> None:
    """A picture that was never shown here and that the false time makes fresh: the gate calls staff."""
    card = council.issue(phone=generate_private_key())
    desk = opened(council)
    desk.listen()
    old = card.live(desk.now - 3600)
    assert desk.judge_data(old).decision.reason == Reason.EXPIRED_CODE
    desk.clock.observe((desk.now - 3600) * 1000, 0.0)
    decision = desk.judge_data(old).decision
    assert decision.outcome == "refer"
    assert decision.reason == Reason.CLOCK_UNTRUSTED


def stub(tenant: TenantId, keys: list[VerificationKey]) -> Feed:
    """A feed that holds these keys and nothing else."""
    contents = SimpleNamespace(keys={"keys": [key.to_jwk() for key in keys]})
    cache = SimpleNamespace(issue_number=1, contents=contents)
    return cast(Feed, SimpleNamespace(name=f"{tenant}/leisure", tenant=tenant, cache=cache))


def gate_of(journal: Journal, folder: Path, *feeds: Feed) -> Gate:
    clock = TrustedClock(wall=lambda: NOW * 1000, steady=lambda: NOW * 1000, boot="b")
    site: Any = SimpleNamespace(replay=ReplayBook(journal, folder, clock))
    gate = Gate({feed.name: feed for feed in feeds}, clock, site)
    gate.rekey()
    return gate


def believed(journal: Journal, folder: Path, *feeds: Feed) -> KeySet:
    return gate_of(journal, folder, *feeds)._keys


async def test_a_neighbour_with_very_many_keys_puts_nobody_elses_cards_out_of_use(
    journal: Journal, tmp_path: Path
) -> None:
    theirs = [SigningKey.generate(RBKC).verification_key for _ in range(64)]
    ours = SigningKey.generate(WCC).verification_key
    keys = believed(journal, tmp_path, stub(RBKC, theirs), stub(WCC, [ours]))
    assert keys.get(ours.kid) == ours
    assert len(keys) == 65


async def test_a_neighbours_key_of_our_name_costs_that_name_and_no_other_card(journal: Journal, tmp_path: Path) -> None:
    ours = [SigningKey.generate(WCC).verification_key for _ in range(2)]
    false = VerificationKey(issuer=RBKC, kid=ours[0].kid, public=generate_private_key().public_key())
    theirs = SigningKey.generate(RBKC).verification_key
    keys = believed(journal, tmp_path, stub(WCC, ours), stub(RBKC, [false, theirs]))
    assert list(keys) == [*ours, theirs]
    keys = believed(journal, tmp_path, stub(RBKC, [false, theirs]), stub(WCC, ours))
    assert list(keys) == [false, theirs, ours[1]]
    # And the false key signs no card of ours.
    assert keys.get(ours[0].kid) == false


@pytest.mark.parametrize("wrong", [{"use": "enc"}, {"crv": "P-384"}, {"kid": "two words"}, {"d": "AAAA"}])
async def test_a_stolen_key_is_out_also_where_the_new_key_set_cannot_be_used(
    journal: Journal, tmp_path: Path, wrong: dict[str, str]
) -> None:
    """Half a set is not believed; but what is no longer named in it is not believed either."""
    stolen, good, odd = (SigningKey.generate(WCC).verification_key for _ in range(3))
    feed = stub(WCC, [stolen, good])
    gate = gate_of(journal, tmp_path, feed)
    assert list(gate._keys) == [stolen, good]
    assert feed.cache is not None
    contents: Any = feed.cache.contents
    contents.keys = {"keys": [good.to_jwk(), odd.to_jwk() | wrong]}
    gate.rekey()
    assert list(gate._keys) == [good]
    unnamed: list[dict[str, Any]] = [{}, {"keys": 7}, {"keys": [7]}, {"keys": [{}]}]
    for nonsense in unnamed:
        contents.keys = nonsense
        gate.rekey()
        assert list(gate._keys) == [good], "it names no key, so it takes none out"


async def test_digits_of_whoever_left_are_no_part_of_the_next_persons_pin(tmp_path: Path) -> None:
    council = pins.pin_council()
    first, second = council.issue(in_snapshot=True), council.issue(in_snapshot=True)
    page = pins.page(pins.verifier(first), pins.verifier(second))
    async with rig(tmp_path, council=council, keypads=True, secrets=page) as site:
        site.source().present(first.token)
        await enter(site, pins.PIN[:2])
        await until(lambda: len(site.daemon.lanes[0]._pins._typed) == 2)
        site.source().present(second.token)
        await site.taps(1)
        await enter(site, pins.PIN[2:] + "#")
        await until(lambda: any("4 to 8" in verdict.detail for verdict in site.display().shown))
        assert site.gate().releases == []
        await asked(site)
        site.keys().press(pins.PIN + "#")
        await until(lambda: site.counts()["passed"] == 1)
        assert await site.daemon.journal.attempts() == []


LOGGING = """
import structlog
from readers.logs import set_up_logging
set_up_logging({form!r})

def attempt(presented):
    master = bytes.fromhex("00" * 3 + "c0ffee")
    typed = "80085135"
    raise RuntimeError("a bug of ours")

try:
    attempt(b"RP1:SECRET-OF-A-RESIDENT")
except RuntimeError:
    structlog.get_logger("lane").exception("a presentation could not be handled")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_fault_of_ours_writes_nobodys_card_or_pin_into_the_log(form: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", LOGGING.format(form=form)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "RuntimeError: a bug of ours" in run.stderr
    assert "in attempt" in run.stderr, "whoever looks for the bug sees where it is"
    for secret in ("SECRET-OF-A-RESIDENT", "80085135", "\\xc0\\xff\\xee", "c0ffee"):
        assert secret not in run.stderr


async def test_words_for_staff_and_the_public_repeat_nothing_that_was_presented(council: Council, opened: Open) -> None:
    card = council.issue(phone=generate_private_key())
    desk = opened(council)
    desk.listen()
    for data, expected in (
        (card.token[:-4] + b"AAAA", BAD_SIGNATURE),
        (Council().issue().token, UNKNOWN_KEY),
        (b"RG1:wcc.4711.AQIDBAUGBwg.12345678", None),
    ):
        found = desk.gate.take(data, "qr").found
        assert isinstance(found, Refused)
        assert expected is None or found == expected
        judged = repr(desk.judge_data(data))
        for part in (data[4:40], b"AQIDBAUGBwg", b"12345678"):
            assert part.decode() not in judged
    assert desk.now == NOON
