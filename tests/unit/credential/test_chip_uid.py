"""Legacy cards known by their serial number: who they let in, and why they are worth so little."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.credential import (
    CardForm,
    Channel,
    KeySet,
    Refused,
    UnverifiedPresentation,
    VerifiedCard,
    verify_presentation,
)
from entitlements.credential.claims import BAD_SIGNATURE, EXPIRED
from entitlements.credential.errors import InvalidKeyError
from entitlements.credential.sitesecrets import NO_SECRETS, SiteSecrets
from entitlements.credential.uid import (
    NO_NUMBERS,
    NOT_READ_FROM_A_CHIP,
    UNKNOWN_NUMBER,
    names_a_chip,
    uid_hash,
)
from entitlements.model import CardId
from hardware.nfc import uid as reader_side
from tests.support.cards import NOW, RBKC, WCC
from tests.support.chips import chip_claims

NUMBER = bytes.fromhex("04AABBCCDDEEFF")
KEY, OLD_KEY = bytes(range(32)), bytes(range(1, 33))
TABLE = SiteSecrets(
    uid_keys={WCC: (KEY, OLD_KEY), RBKC: (bytes(32),)},
    uids={
        uid_hash(KEY, NUMBER): chip_claims(),
        uid_hash(OLD_KEY, bytes(7)): chip_claims(card_id=CardId(b"old card")),
        # Not delivered like this by any service: a neighbour's card under our key is not believed.
        uid_hash(KEY, b"neighbr"): chip_claims(issuer=RBKC),
    },
)


def present(
    data: bytes, *, media: str = "nfc-uid", secrets: SiteSecrets = TABLE, now: int = NOW
) -> VerifiedCard | Refused:
    return verify_presentation(UnverifiedPresentation(data=data, media=media), KeySet(), now, secrets=secrets)


def code(number: bytes) -> bytes:
    return b"RU1:" + number.hex().upper().encode()


def test_a_registered_number_is_its_card_and_says_how_little_was_proven() -> None:
    found = present(code(NUMBER))
    assert isinstance(found, VerifiedCard)
    assert found.claims == chip_claims()
    assert (found.form, found.presentation, found.sequence) == (CardForm.UID, Channel.STATIC, None)


def test_a_number_registered_under_the_last_key_is_still_its_card() -> None:
    found = present(code(bytes(7)))
    assert isinstance(found, VerifiedCard)
    assert found.claims.card_id == b"old card"


def test_a_number_in_a_picture_or_on_a_tag_is_nothing() -> None:
    for media in ("qr", "nfc-ndef", ""):
        assert present(code(NUMBER), media=media) == NOT_READ_FROM_A_CHIP


def test_a_number_that_nobody_registered_is_an_unknown_card() -> None:
    assert present(code(b"1234567")) == UNKNOWN_NUMBER
    assert present(code(b"neighbr")) == UNKNOWN_NUMBER


def test_a_site_without_such_services_holds_no_numbers() -> None:
    assert present(code(NUMBER), secrets=NO_SECRETS) == NO_NUMBERS


def test_a_legacy_card_ends_with_its_card() -> None:
    assert present(code(NUMBER), now=chip_claims().expires_at) == EXPIRED


@pytest.mark.parametrize(
    "data",
    [b"RU1:", b"RU1:04AABBCCDDEEF", b"RU1:04aabbccddeeff", b"RU1:04AABBCCDDEEFF ", b"RU1:08AABBCC", b"RU1:88AABBCC"],
)
def test_what_is_no_number_of_a_chip_is_refused(data: bytes) -> None:
    assert present(data) == BAD_SIGNATURE


@given(st.binary(max_size=12))
def test_reader_and_meaning_agree_on_which_numbers_name_a_chip(number: bytes) -> None:
    presented = reader_side.octets(number)
    assert (presented is not None) == names_a_chip(number)
    if presented is not None:
        assert present(presented) != BAD_SIGNATURE


@given(st.binary(max_size=60))
def test_no_octets_raise_anything(data: bytes) -> None:
    assert isinstance(present(b"RU1:" + data), (Refused, VerifiedCard))


@pytest.mark.parametrize("wrong", [{"uid_keys": {WCC: (bytes(31),)}}, {"uids": {b"short": chip_claims()}}])
def test_a_table_that_cannot_be_right_is_refused_whole(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidKeyError):
        SiteSecrets(**wrong)


def test_the_secrets_show_in_no_log() -> None:
    shown = repr(TABLE)
    assert KEY.hex() not in shown
    assert uid_hash(KEY, NUMBER).hex() not in shown
    assert "04" not in shown
