"""If these fail, a picture of a phone opens a gate, or a resident's own phone does not."""

import pytest

from entitlements.credential import (
    CardForm,
    Channel,
    KeySet,
    Refused,
    UnverifiedPresentation,
    VerifiedCard,
    VerifiedMemory,
    card_text,
    live_message,
    live_text,
    sign_card,
    sign_card_cwt,
    verify_cwt,
    verify_presentation,
)
from entitlements.credential.base45 import b45_decode, b45_encode
from entitlements.credential.claims import BAD_SIGNATURE, EXPIRED, UNKNOWN_KEY
from entitlements.credential.es256 import ORDER, compress, sign_message
from entitlements.credential.live import CODE_FROM_THE_FUTURE, EXPIRED_CODE, MAX_LIVE_CHARS
from entitlements.model import Reason
from tests.support.cards import KEY, KEYS, NOW, PHONE, PHONE_KEY, STRANGER, card_claims, fixed_key, live_code
from tests.support.cwt import cwt_twin

LIVE_CLAIMS = card_claims(channel=Channel.LIVE, device_key=PHONE_KEY, status_uri=None)
CARD = sign_card_cwt(LIVE_CLAIMS, KEY)
STOLEN = fixed_key(KEY.issuer, 0x5555).private
"""The key of another phone."""


def show(text, now=NOW, memory=None, keys=KEYS):
    data = text if isinstance(text, bytes) else text.encode()
    return verify_presentation(UnverifiedPresentation(data=data, media="qr"), keys, now, memory)


def twin_of_phone(text):
    raw = b45_decode(text.encode()[4:])
    s = ORDER - int.from_bytes(raw[32:64], "big")
    return "RC1:" + b45_encode(raw[:32] + s.to_bytes(32, "big") + raw[64:]).decode()


@pytest.fixture(params=[False, True], ids=["first visit", "card seen before"])
def memory(request):
    found = VerifiedMemory()
    if request.param:
        assert isinstance(show(live_code(CARD, NOW - 1), memory=found), VerifiedCard)
    return found


@pytest.fixture
def card_checks(monkeypatch):
    """Counts how many times a council's signature is checked."""
    counted = []

    def counting(*arguments):
        counted.append(arguments)
        return verify_cwt(*arguments)

    monkeypatch.setattr("entitlements.credential.presentation.verify_cwt", counting)
    return counted


def test_a_phone_shows_a_live_presentation(memory):
    static = verify_cwt(CARD, KEYS, NOW)
    assert isinstance(static, VerifiedCard)
    card = show(live_code(CARD, NOW), memory=memory)
    assert card == VerifiedCard(
        claims=LIVE_CLAIMS,
        form=CardForm.LIVE,
        kid=KEY.kid,
        digest=static.digest,
        presentation=Channel.LIVE,
        sequence=NOW,
    )


def test_the_card_of_a_phone_without_its_signature_is_a_static_presentation(memory):
    card = show(card_text(CARD), memory=memory)
    assert isinstance(card, VerifiedCard)
    assert (card.form, card.presentation, card.sequence) == (CardForm.CWT, Channel.STATIC, None)
    assert card.claims.channel is Channel.LIVE


@pytest.mark.parametrize(
    ("age", "good"), [(-11, False), (-10, True), (0, True), (30, True), (31, False), (3600, False)]
)
def test_a_code_lives_for_thirty_seconds(memory, age, good):
    result = show(live_code(CARD, NOW - age), memory=memory)
    assert isinstance(result, VerifiedCard) == good
    if not good:
        assert result == (EXPIRED_CODE if age > 0 else CODE_FROM_THE_FUTURE)
        assert result.reason is Reason.EXPIRED_CODE


def test_the_number_that_must_increase_is_the_second_that_the_phone_signed(memory):
    for iat in (NOW - 3, NOW, NOW + 4):
        card = show(live_code(CARD, iat), memory=memory)
        assert isinstance(card, VerifiedCard)
        assert card.sequence == iat


def test_the_twins_of_both_signatures_are_the_same_card_at_the_same_second(memory):
    honest = show(live_code(CARD, NOW), memory=memory)
    assert show(twin_of_phone(live_code(CARD, NOW)), memory=memory) == honest
    # The phone signs the card's exact bytes: a thief cannot put the card's twin under the phone's signature.
    raw = b45_decode(live_code(CARD, NOW).encode()[4:])
    swapped = "RC1:" + b45_encode(raw[:72] + cwt_twin(CARD)).decode()
    assert show(swapped, memory=memory) == BAD_SIGNATURE
    # And where the phone itself holds the twin, it is the same card to whoever remembers what was used.
    assert show(live_code(cwt_twin(CARD), NOW), memory=memory) == honest


def test_a_thief_with_the_picture_but_without_the_phone_makes_no_code(memory):
    for code in (
        live_code(CARD, NOW, STOLEN),
        live_text(CARD, NOW, KEY.sign(live_message(CARD, NOW + 1))),
        live_text(CARD, NOW, sign_message(PHONE, live_message(CARD, NOW - 15))),  # an old signature under a new time
        live_text(CARD, NOW, sign_message(PHONE, CARD)),
        live_text(CARD, NOW, sign_message(PHONE, live_message(CARD, NOW)[len(b"RC1-presentation\0") :])),
        live_text(CARD, NOW, bytes(64)),
        live_text(CARD, NOW, b"\xff" * 64),
    ):
        assert show(code, memory=memory) == BAD_SIGNATURE


def test_a_phone_cannot_sign_for_the_card_of_another(memory):
    other = sign_card_cwt(card_claims(channel=Channel.LIVE, device_key=PHONE_KEY, index=5), KEY)
    signature = sign_message(PHONE, live_message(other, NOW))
    assert show(live_text(CARD, NOW, signature), memory=memory) == BAD_SIGNATURE


@pytest.mark.parametrize(
    "claims",
    [
        card_claims(),
        card_claims(device_key=PHONE_KEY),
        card_claims(channel=Channel.CHIP, device_key=PHONE_KEY),
        card_claims(channel=Channel.LIVE),
    ],
    ids=["static", "static with a key", "chip", "live without a key"],
)
def test_a_card_that_is_not_a_phones_has_no_live_code(claims):
    assert show(live_code(sign_card_cwt(claims, KEY), NOW)) == BAD_SIGNATURE


def test_a_live_code_round_another_form_of_card_is_refused():
    jwt = sign_card(card_claims(channel=Channel.LIVE, device_key=PHONE_KEY), KEY).encode()
    for inner in (jwt, card_text(CARD).encode(), b"", b"\xd2" + CARD):
        assert show(live_code(inner, NOW)) == BAD_SIGNATURE


def test_a_forged_card_under_a_good_live_signature_is_refused(memory):
    forged = sign_card_cwt(LIVE_CLAIMS, STRANGER)
    assert show(live_code(forged, NOW), memory=memory) == UNKNOWN_KEY
    assert show(live_code(CARD[:-1] + bytes((CARD[-1] ^ 1,)), NOW), memory=memory) == BAD_SIGNATURE


def test_an_expired_live_card_says_so(memory):
    last = LIVE_CLAIMS.expires_at
    assert isinstance(show(live_code(CARD, last - 1), now=last - 1, memory=memory), VerifiedCard)
    assert show(live_code(CARD, last), now=last, memory=memory) == EXPIRED
    assert show(live_code(CARD, last), now=last, memory=memory) == EXPIRED


def test_a_live_card_of_a_key_taken_out_is_refused_at_once(memory):
    assert show(live_code(CARD, NOW), memory=memory, keys=KEYS.without(KEY.kid)) == UNKNOWN_KEY
    assert show(live_code(CARD, NOW), memory=memory, keys=KeySet()) == UNKNOWN_KEY


def test_a_repeat_visit_costs_the_phones_signature_only(card_checks):
    memory = VerifiedMemory()
    for second in range(5):
        assert isinstance(show(live_code(CARD, NOW + second), NOW + second, memory), VerifiedCard)
    assert show(live_code(CARD, NOW, STOLEN), memory=memory) == BAD_SIGNATURE
    assert len(card_checks) == 1


def test_more_phones_than_the_memory_holds_are_let_in_all_the_same(card_checks):
    memory = VerifiedMemory(capacity=2)
    phones = [fixed_key(KEY.issuer, 0x6000 + n) for n in range(4)]
    for phone in phones * 2:
        claims = card_claims(channel=Channel.LIVE, device_key=compress(phone.private.public_key()))
        code = live_code(sign_card_cwt(claims, KEY), NOW, phone.private)
        assert isinstance(show(code, memory=memory), VerifiedCard)
    assert len(memory) == 2
    assert len(card_checks) == 8


def test_texts_of_other_lengths_and_characters_are_refused(memory):
    text = live_code(CARD, NOW)
    body = text[4:]
    for other in (
        "RC1:",
        "RC1:0",
        "RC1:00",
        "RC1:" + body[:96],
        "RC1:" + body[:108],
        "RC1:" + body.lower(),
        text + " ",
        text + "\n",
        text + "0",
        text + "000",
        text[:-1],
        text[:-3],
        text + "=",
        "RC1:" + text,
        "RC1: " + body,
        "RC1:" + "0" * MAX_LIVE_CHARS,
        "RC1:" + "0" * 3_000_000,
    ):
        assert show(other, memory=memory) == BAD_SIGNATURE


def test_each_bit_of_a_live_code_counts(memory):
    raw = b45_decode(live_code(CARD, NOW).encode()[4:])
    for place in range(0, len(raw), 3):
        changed = raw[:place] + bytes((raw[place] ^ 1 << place % 8,)) + raw[place + 1 :]
        assert isinstance(show(b"RC1:" + b45_encode(changed), memory=memory), Refused)


def test_a_signature_of_another_length_is_refused_when_the_text_is_made():
    with pytest.raises(ValueError, match="64"):
        live_text(CARD, NOW, b"short")
