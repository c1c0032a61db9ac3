"""One kind of signed thing does not pass for another (RFC 8725 sections 2.7, 2.8 and 3.11), wherever it is put.

Here one key has signed everything that councils, readers and phones sign, which no council does: what is refused here
is refused by its form. If one of these fails, a status list, a manifest or a phone's greeting opens a gate.
"""

from __future__ import annotations

import hashlib
from typing import Final

import pytest

from entitlements.credential import (
    CardForm,
    Channel,
    Refused,
    SiteSecrets,
    UnverifiedPresentation,
    VerifiedCard,
    VerifiedMemory,
    card_text,
    live_text,
    sign_assertion,
    sign_card,
    sign_card_cwt,
    sign_compact,
    verify_at_till,
    verify_presentation,
    verify_static,
)
from entitlements.credential.base45 import b45_encode
from entitlements.credential.encoding import b64url_encode
from entitlements.credential.es256 import compress, sign_message
from entitlements.credential.keys import KeySet, SigningKey
from entitlements.credential.live import live_message
from entitlements.credential.status import StatusList, sign_status_list
from entitlements.credential.totp import hotp, totp_secret, totp_step, totp_text
from entitlements.model import Instant
from tests.support.cards import KEY, KEYS, NOW, PHONE, PHONE_KEY, WCC, card_claims, live_code, wire
from tests.support.chips import MASTER, chip_claims, make_chip, tap
from tests.support.cwt import PAYLOAD, PROTECTED, cwt, members, message

TOTP_MASTER: Final = bytes(range(32))
SECRETS: Final = SiteSecrets(chip={"wcc": (MASTER,)}, totp={"wcc": (TOTP_MASTER,)})
PHONES: Final = card_claims(channel=Channel.LIVE, device_key=PHONE_KEY, status_uri=None)
STATIC_CWT: Final = sign_card_cwt(card_claims(), KEY)
LIVE_CWT: Final = sign_card_cwt(PHONES, KEY)
CHIP_CWT: Final = sign_card_cwt(chip_claims(), KEY)
PHONE_JWT: Final = sign_card(card_claims(channel=Channel.LIVE, device_key=PHONE_KEY), KEY).encode()
AT: Final = (NOW * 1000).to_bytes(8, "big")


def greetings(point: bytes) -> tuple[bytes, bytes]:
    """What a phone signs to the service: to be bound, and to ask for its card."""
    link = hashlib.sha256(b"link").digest()
    return b"rescard phone bind 1\0" + link + point + AT, b"rescard phone contact 1\0wcc\0" + bytes(8) + AT


BIND, CONTACT = greetings(compress(KEY.private.public_key()))

TEXTS: Final = {
    "status list": sign_status_list(
        StatusList(
            uri="https://a.example/s", issued_at=Instant(NOW), expires_at=None, ttl=None, bits=2, packed=bytes(9)
        ),
        KEY,
    ).encode(),
    "manifest": sign_compact(b'{"feed":"wcc/leisure"}', "rescard-manifest+jwt", KEY).encode(),
    "manifest with a card's claims": sign_compact(
        str(wire()).replace("'", '"').encode(), "rescard-manifest+jwt", KEY
    ).encode(),
    "document without kind": sign_compact(str(wire()).replace("'", '"').encode(), None, KEY).encode(),
    "assertion": sign_assertion(
        reader_id=KEY.kid, key=KEY.private, method="GET", path="/", audience="rescard", now=NOW
    ).encode(),
}
"""Compact tokens that are no card."""


def proof(words: bytes) -> bytes:
    """A phone's proof in the place of a card: the words that it signed under the head of a card."""
    return message(PROTECTED, words, sign_message(KEY.private, words))


OCTETS: Final = {
    "proof of a phone that is bound": proof(BIND),
    "proof of a phone that asks": proof(CONTACT),
    "proof of a phone that shows a code": proof(live_message(LIVE_CWT, NOW)),
    "a card's claims under a phone's greeting": message(PROTECTED, PAYLOAD, sign_message(KEY.private, PAYLOAD)),
    "message of another kind": cwt(external=b"statuslist+cwt"),
    "card of a chip": CHIP_CWT,
} | {f"{name} as it stands": text for name, text in TEXTS.items()}
"""Octets that are no card by themselves."""

HONEST: Final = {
    "paper, JWT": sign_card(card_claims(), KEY).encode(),
    "paper, CWT": card_text(STATIC_CWT).encode(),
    "picture of a phone's card": card_text(LIVE_CWT).encode(),
    "a phone's card as JWT": PHONE_JWT,
    "phone": live_code(LIVE_CWT, NOW).encode(),
    "chip": tap(make_chip()),
}


def show(
    data: bytes, memory: VerifiedMemory | None = None, *, media: str = "qr", keys: KeySet = KEYS
) -> VerifiedCard | Refused:
    return verify_presentation(UnverifiedPresentation(data=data, media=media), keys, NOW, memory, secrets=SECRETS)


def shown(name: str, memory: VerifiedMemory | None, keys: KeySet = KEYS) -> VerifiedCard | Refused:
    return show(HONEST[name], memory, media="nfc-ndef" if name == "chip" else "qr", keys=keys)


def wrapped(octets: bytes) -> dict[str, bytes]:
    """Everywhere that octets can stand in place of a card; the phone's signature round them is good."""
    link = b"https://cards.wcc.example#RN1:" + b64url_encode(octets) + b"." + b"0" * 32 + b"." + b"0" * 16
    return {
        "as it is": octets,
        "as paper": b"RP1:" + b45_encode(octets),
        "in a phone's code": live_code(octets, NOW).encode(),
        "in a phone's code of the council's key": live_code(octets, NOW, KEY.private).encode(),
        "on a chip": link,
        "as the JWT's payload": sign_compact(octets, "rescard+jwt", KEY).encode(),
    }


@pytest.fixture(params=[False, True], ids=["first visit", "every honest card was seen before"])
def memory(request: pytest.FixtureRequest) -> VerifiedMemory:
    found = VerifiedMemory()
    if request.param:
        for name in HONEST:
            assert isinstance(shown(name, found), VerifiedCard)
    return found


@pytest.mark.parametrize("name", [*TEXTS, *OCTETS])
def test_what_is_no_card_is_no_card_wherever_it_is_put(memory: VerifiedMemory, name: str) -> None:
    octets = (TEXTS | OCTETS)[name]
    for where, data in wrapped(octets).items():
        for media in ("qr", "nfc-ndef"):
            assert isinstance(show(data, memory, media=media), Refused), where


@pytest.mark.parametrize("name", HONEST)
def test_a_card_in_the_place_of_another_form_is_refused_whether_it_was_seen_before_or_not(
    memory: VerifiedMemory, name: str
) -> None:
    """A memory of good cards that is asked by the hash of octets alone found the text of one where a CWT belongs."""
    for where, data in wrapped(HONEST[name]).items():
        if where != "as it is":
            assert show(data, memory, media="nfc-ndef") == show(data, None, media="nfc-ndef"), where
            assert isinstance(show(data, memory, media="nfc-ndef"), Refused), where


@pytest.mark.parametrize("name", HONEST)
def test_a_card_seen_before_gets_the_very_same_answer(name: str) -> None:
    memory = VerifiedMemory()
    first, again = shown(name, memory), shown(name, memory)
    assert first == again == shown(name, None)


@pytest.mark.parametrize("name", HONEST)
def test_a_revoked_key_ends_every_form_also_of_cards_and_phones_seen_before(name: str) -> None:
    memory = VerifiedMemory()
    assert isinstance(shown(name, memory), VerifiedCard)
    assert isinstance(shown(name, memory, KEYS.without(KEY.kid)), Refused)
    # And it does not come back with a key of the same name.
    other = SigningKey.of(WCC, PHONE, KEY.kid).verification_key
    assert isinstance(shown(name, memory, KeySet([other])), Refused)


def test_a_phones_card_opens_nothing_as_live_by_anything_but_the_phones_signature(memory: VerifiedMemory) -> None:
    for name in ("picture of a phone's card", "a phone's card as JWT"):
        card = shown(name, memory)
        assert isinstance(card, VerifiedCard)
        assert (card.presentation, card.sequence) == (Channel.STATIC, None)
    for words in (*greetings(PHONE_KEY), hashlib.sha256(LIVE_CWT).digest(), LIVE_CWT):
        forged = live_text(LIVE_CWT, NOW, sign_message(PHONE, words))
        assert isinstance(show(forged.encode(), memory), Refused)


@pytest.mark.parametrize("name", HONEST)
def test_a_till_takes_static_and_live_codes_as_a_gate_does_and_leaves_chips_to_gates(name: str) -> None:
    """Where the chip's counter was used before only its sites know. A live code says by which number it is used up."""
    card = verify_at_till(HONEST[name], KEYS, NOW)
    if name == "chip":
        assert isinstance(card, Refused)
        assert card.reason == "presentation_not_accepted"
    else:
        assert card == shown(name, None)
        assert isinstance(card, VerifiedCard)
        assert (card.sequence is not None) == (name == "phone")


@pytest.mark.parametrize("name", HONEST)
def test_who_asks_for_a_static_code_is_given_no_one_time_code(name: str) -> None:
    card = verify_static(HONEST[name], KEYS, NOW)
    if name in ("phone", "chip"):
        assert isinstance(card, Refused)
        assert card.reason == "presentation_not_accepted"
    else:
        assert card == shown(name, None)
        assert isinstance(card, VerifiedCard)


def test_digits_of_the_rotating_code_prove_no_more_than_their_own_form(memory: VerifiedMemory) -> None:
    claims = card_claims()
    digits = hotp(totp_secret(TOTP_MASTER, claims.card_id, claims.index), totp_step(NOW))
    card = show(totp_text("wcc", claims.index, claims.card_id, digits).encode(), memory)
    assert isinstance(card, VerifiedCard)
    assert (card.form, card.presentation, card.kid) == (CardForm.TOTP, Channel.STATIC, "")
    for text in (
        totp_text("rbkc", claims.index, claims.card_id, digits),
        totp_text("wcc", claims.index + 1, claims.card_id, digits),
        totp_text("wcc", claims.index, bytes(8), digits),
    ):
        assert isinstance(show(text.encode(), memory), Refused)


def test_a_claim_too_many_does_not_make_another_kind_of_card(memory: VerifiedMemory) -> None:
    """The neighbour's id in a claim that we do not know changes nothing; in the one that we know, it is refused."""
    card = show(b"RP1:" + b45_encode(cwt(members(c9="rbkc"))), memory)
    assert isinstance(card, VerifiedCard)
    assert card.claims.issuer == "wcc"
    assert isinstance(show(b"RP1:" + b45_encode(cwt(members(c1="rbkc"))), memory), Refused)


@pytest.mark.parametrize("prefix", [b"eyJ", b"RP1:", b"RC1:", b"RG1:", b"RU1:", b"https://a#RN1:"])
def test_the_largest_qr_code_of_rubbish_is_refused(memory: VerifiedMemory, prefix: bytes) -> None:
    """2,953 octets are what version 40 holds at most."""
    before = len(memory)
    for filling in (b"0", b":", b"A", b"\xff", b"."):
        data = (prefix + filling * 2953)[:2953]
        for media in ("qr", "nfc-ndef", "nfc-uid"):
            assert isinstance(show(data, memory, media=media), Refused)
    assert len(memory) == before
