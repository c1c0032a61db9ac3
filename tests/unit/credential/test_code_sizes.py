"""If these fail, codes grow too large for the cameras over the gates, and a queue forms."""

import io

import pytest
import qrcode

from entitlements.credential import Channel, card_text, sign_card_cwt
from hardware.qr.decode import decode_qr
from hardware.virtual.scene import View, render
from tests.support.cards import COUNCILS, LAST_INDEX, LAST_ISSUE_NUMBER, NOW, PHONE_KEY, card_claims, live_code
from tests.support.qr import read_qr

PAPER_VERSION = 7
LIVE_VERSION = 12


def largest_card(key, channel=Channel.STATIC):
    """The claims that take most room within what a council will reach."""
    device_key = PHONE_KEY if channel is Channel.LIVE else None
    return sign_card_cwt(
        card_claims(
            issuer=key.issuer,
            index=LAST_INDEX,
            issue_number=LAST_ISSUE_NUMBER,
            channel=channel,
            device_key=device_key,
        ),
        key,
    )


def picture(text):
    code = qrcode.QRCode(error_correction=qrcode.ERROR_CORRECT_M, box_size=8, border=4)
    code.add_data(text)
    code.make()
    return code.version, code.make_image().get_image()


@pytest.mark.parametrize("key", COUNCILS, ids=lambda key: key.issuer)
def test_a_paper_card_is_at_most_version_7(key):
    version, _ = picture(card_text(largest_card(key)))
    assert version <= PAPER_VERSION


@pytest.mark.parametrize("key", COUNCILS, ids=lambda key: key.issuer)
def test_a_live_code_is_at_most_version_12(key):
    version, _ = picture(live_code(largest_card(key, Channel.LIVE), NOW))
    assert version <= LIVE_VERSION


def test_both_texts_are_of_the_characters_that_a_qr_code_packs_densest():
    alphanumeric = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
    for key in COUNCILS:
        assert set(card_text(largest_card(key))) <= alphanumeric
        assert set(live_code(largest_card(key, Channel.LIVE), NOW)) <= alphanumeric


HELD = [
    {"roll": 0, "turn": 0},
    {"roll": 8, "turn": 3},
    {"roll": -12, "turn": 0},
    {"roll": 4, "turn": -5},
    {"roll": -3, "turn": 6},
]


@pytest.mark.parametrize("form", ["paper", "live"])
def test_a_code_held_far_away_tilted_and_blurred_is_read_nineteen_times_of_twenty(form):
    """2 pixels a module in the middle of the frame, 30 degrees of tilt, blur of 0.6 pixels, noise of 6 grey levels."""
    card = largest_card(COUNCILS[1], Channel.STATIC if form == "paper" else Channel.LIVE)
    text = card_text(card) if form == "paper" else live_code(card, NOW)
    _, code = picture(text)
    read = []
    for seed, held in enumerate(HELD):
        view = View(tilt=30, blur=0.6, noise=6, px_per_module=2, seed=seed, **held)
        for frame in render(code, view, variants=4):
            file = io.BytesIO()
            frame.save(file, "JPEG", quality=80)
            read.append(decode_qr(file.getvalue()) == [text.encode()])
    assert len(read) == 20
    assert sum(read) >= 19


def test_the_frame_of_that_test_is_as_small_as_it_says():
    _, code = picture(card_text(largest_card(COUNCILS[0])))
    frame = render(code, View(tilt=0, roll=0, turn=0, blur=0, noise=0, px_per_module=2))[0]
    place = read_qr(frame).position
    across, down = place.top_right.x - place.top_left.x, place.bottom_left.y - place.top_left.y
    assert (across, down) == pytest.approx((90, 90), abs=2)  # 45 modules
