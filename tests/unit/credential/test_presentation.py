"""If these fail, a gate takes something for a card that is none, or remembers a card longer than it is good."""

from hashlib import sha256

import pytest

from entitlements.credential import (
    CardForm,
    Channel,
    KeySet,
    Refused,
    SigningKey,
    UnverifiedPresentation,
    VerifiedCard,
    VerifiedMemory,
    sign_card,
    verify_card,
    verify_presentation,
)
from entitlements.model import CardId, Reason
from tests.support.cards import KEY, KEYS, NOW, STRANGER, WCC, card_claims, twin


def shown(data: bytes | str) -> UnverifiedPresentation:
    return UnverifiedPresentation(data=data.encode() if isinstance(data, str) else data, media="qr")


@pytest.fixture
def checks(monkeypatch):
    """Counts how many times a signature is checked."""
    counted = []

    def counting(*arguments):
        counted.append(arguments)
        return verify_card(*arguments)

    monkeypatch.setattr("entitlements.credential.presentation.verify_card", counting)
    return counted


@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff", b"https://wcc.example", b"BEGIN:VCARD", b"ey", b" eyJ", b"HC1:6BF", b"rp1:X"]
)
def test_a_parcel_label_is_not_called_a_forged_card(data):
    refused = verify_presentation(shown(data), KEYS, NOW)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.detail) == (Reason.PRESENTATION_NOT_ACCEPTED, "not a card code")


def test_a_forged_card_is_called_so():
    refused = verify_presentation(shown(sign_card(card_claims(), STRANGER)), KEYS, NOW, VerifiedMemory())
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.BAD_SIGNATURE


def test_a_picture_of_a_live_card_is_static():
    card = verify_presentation(shown(sign_card(card_claims(channel=Channel.LIVE), KEY)), KEYS, NOW)
    assert isinstance(card, VerifiedCard)
    assert (card.form, card.claims.channel, card.presentation) == (CardForm.JWT, Channel.LIVE, Channel.STATIC)


def test_a_repeat_visit_costs_no_signature_check(checks):
    memory, card = VerifiedMemory(), shown(sign_card(card_claims(), KEY))
    first = verify_presentation(card, KEYS, NOW, memory)
    assert verify_presentation(card, KEYS, NOW + 60, memory) is first
    assert len(checks) == 1


def test_a_remembered_card_expires_to_the_second(checks):
    memory, card = VerifiedMemory(), shown(sign_card(card_claims(expires_at=NOW + 10), KEY))
    assert isinstance(verify_presentation(card, KEYS, NOW, memory), VerifiedCard)
    assert isinstance(verify_presentation(card, KEYS, NOW + 9, memory), VerifiedCard)
    refused = verify_presentation(card, KEYS, NOW + 10, memory)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.CARD_EXPIRED
    assert len(memory) == 0
    assert len(checks) == 1


def test_a_remembered_card_survives_a_reader_clock_set_back():
    memory, card = VerifiedMemory(), shown(sign_card(card_claims(), KEY))
    first = verify_presentation(card, KEYS, NOW, memory)
    refused = verify_presentation(card, KEYS, NOW - 86400, memory)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.CLOCK_UNTRUSTED
    assert verify_presentation(card, KEYS, NOW, memory) == first


def test_a_card_of_a_key_taken_out_is_refused_at_once():
    memory, card = VerifiedMemory(), shown(sign_card(card_claims(), KEY))
    assert isinstance(verify_presentation(card, KEYS, NOW, memory), VerifiedCard)
    refused = verify_presentation(card, KEYS.without(KEY.kid), NOW, memory)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.detail) == (Reason.BAD_SIGNATURE, "unknown key")
    assert len(memory) == 0


def test_a_new_key_under_an_old_name_revives_no_card():
    memory, card = VerifiedMemory(), shown(sign_card(card_claims(), KEY))
    assert isinstance(verify_presentation(card, KEYS, NOW, memory), VerifiedCard)
    usurper = SigningKey.of(WCC, STRANGER.private, kid=KEY.kid)
    refused = verify_presentation(card, KeySet([usurper.verification_key]), NOW, memory)
    assert isinstance(refused, Refused)
    assert refused.detail == "bad signature"


def test_fetching_the_same_keys_again_forgets_nobody(checks):
    memory, card = VerifiedMemory(), shown(sign_card(card_claims(), KEY))
    verify_presentation(card, KEYS, NOW, memory)
    again = KeySet.from_jwks(WCC, KeySet([KEY.verification_key]).to_jwks())
    assert isinstance(verify_presentation(card, again, NOW, memory), VerifiedCard)
    assert len(checks) == 1


def test_refused_codes_take_no_room_in_the_memory():
    memory = VerifiedMemory()
    for data in (b"eyJ", b"eyJ.a.b", b"junk", sign_card(card_claims(), STRANGER).encode(), b"eyJ" + b"A" * 5000):
        assert isinstance(verify_presentation(shown(data), KEYS, NOW, memory), Refused)
    assert len(memory) == 0


def test_the_memory_stays_within_its_bound_and_keeps_the_regulars(checks):
    memory = VerifiedMemory(capacity=3)
    cards = [shown(sign_card(card_claims(card_id=CardId(bytes([n] * 8))), KEY)) for n in range(5)]
    for card in cards[:3]:
        verify_presentation(card, KEYS, NOW, memory)
    verify_presentation(cards[0], KEYS, NOW, memory)  # the regular
    verify_presentation(cards[3], KEYS, NOW, memory)
    verify_presentation(cards[4], KEYS, NOW, memory)
    assert len(memory) == 3
    assert len(checks) == 5
    verify_presentation(cards[0], KEYS, NOW, memory)
    assert len(checks) == 5
    verify_presentation(cards[1], KEYS, NOW, memory)
    assert len(checks) == 6


def test_a_memory_without_room_is_refused_when_made():
    with pytest.raises(ValueError, match="capacity"):
        VerifiedMemory(capacity=0)


def test_the_twin_of_a_remembered_card_is_the_same_card_for_replay():
    memory = VerifiedMemory()
    token = sign_card(card_claims(), KEY).encode()
    first = verify_presentation(shown(token), KEYS, NOW, memory)
    second = verify_presentation(shown(twin(token)), KEYS, NOW, memory)
    assert isinstance(first, VerifiedCard)
    assert isinstance(second, VerifiedCard)
    assert first.digest == second.digest == sha256(token.rpartition(b".")[0]).digest()
