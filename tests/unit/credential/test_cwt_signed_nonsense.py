"""If these fail, claims that no issuer should have signed are believed, or read in two ways by two parsers.

All cards here are well signed: only a faulty issuer, or a thief of its key, could make them.
"""

import cbor2
import pytest

from entitlements.credential import VerifiedCard, sign_card_cwt
from entitlements.credential.claims import BAD_CLAIMS
from tests.support.cards import KEY, KEYS, NOW, card_claims
from tests.support.cwt import CWT_PATHS, PAYLOAD, cwt, members


@pytest.fixture(params=CWT_PATHS.values(), ids=list(CWT_PATHS))
def verify(request):
    return request.param


P256_X = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
CNF = {1: {1: 2, -1: 1, -2: P256_X, -3: True}}


@pytest.mark.parametrize(
    "change",
    [
        {"c4": None},
        {"c4": str(NOW + 1000)},
        {"c4": 1e308},
        {"c4": float(NOW + 1000)},
        {"c4": NOW + 1000.5},
        {"c4": True},
        {"c4": [NOW + 1000]},
        {"c4": cbor2.CBORTag(1, NOW + 1000)},
        {"c4": -1},
        {"c4": 2**63},
        {"c4": 2**64},
        {"c4": NOW - 3600},
        {"c6": None},
        {"c6": float(NOW)},
        {"c6": False},
        {"c6": -1},
        {"c5": NOW - 10},
        {"c3": "library"},
        {"c3": None, "c1": None},
        {"c1": "rbkc"},
        {"c1": "WCC"},
        {"c1": b"wcc"},
        {"c1": "wcc\0"},
        {"c1": "ẃcc"},
        {"c1": ""},
        {"c1": "a" * 17},
        {"c1": 7},
        {"c7": None},
        {"c7": "AQIDBAUGBwg"},
        {"c7": bytes(8)},
        {"c7": bytes(14)},
        {"c7": bytes(16)},
        {"c7": bytes(17)},
        {"c7": bytes(19)},
        {"c7": bytes(20)},
        {"c7": bytes(8) + b"\1\0\0\0" + b"\0\0\0\1\0\0\0"},
        {"c7": bytes(8) + b"\0\xff\xff\xff" + b"\0\0\0\1"},
        {"c7": bytes(8) + b"\1\0\0\0" + b"\xff" * 8},
        {"c7": bytes(8) + b"\1\0\0" + b"\0\0\0\0\xff\xff\xff\xff"},
        {"c-65537": 0},
        {"c-65537": 3},
        {"c-65537": "live"},
        {"c-65537": True},
        {"c-65537": 1.0},
        {"c8": {}},
        {"c8": b"\2" + P256_X},
        {"c8": {1: {}}},
        {"c8": {1: {**CNF[1], -3: P256_X}}},
        {"c8": {1: {**CNF[1], -1: 2}}},
        {"c8": {1: {**CNF[1], 1: 4}}},
        {"c8": {1: {**CNF[1], -2: b"\xff" * 32}}},
        {"c8": {1: {**CNF[1], -2: P256_X + b"\0"}}},
        {"c8": {1: {**CNF[1], -4: b"d" * 32}}},
        {"c8": {**CNF, 3: b"kid"}},
        {"c8": {2: b"encrypted"}},
        {"c9": 1.5},
        {"c9": cbor2.CBORTag(32, "https://wcc.example")},
        {"c9": cbor2.undefined},
        {"c9": [[[[[[[[1]]]]]]]]},
    ],
    ids=str,
)
def test_signed_nonsense_is_no_card(verify, change):
    assert verify(cwt(members(**change)), KEYS, NOW) == BAD_CLAIMS


def test_a_device_key_in_its_one_form_is_read(verify):
    card = verify(cwt(members(**{"c8": CNF, "c-65537": 1})), KEYS, NOW)
    assert isinstance(card, VerifiedCard)
    assert card.claims.device_key == b"\3" + P256_X


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xf6",
        b"\x80",
        b"\x00",
        b"\xa0",
        PAYLOAD + b"\x00",
        PAYLOAD[:-1],
        b"\xd8\x3d" + PAYLOAD,
        b"\xa5" + PAYLOAD[1:] + b"\x07\x40",  # cti twice
        b"\xa5" + PAYLOAD[1:] + b"\x04\x1a\x7f\xff\xff\xff",  # exp twice
        b"\xa5" + PAYLOAD[1:] + b"\x02\x00",  # out of order
        b"\xb8\x04" + PAYLOAD[1:],
        b"\xbf" + PAYLOAD[1:] + b"\xff",
        PAYLOAD.replace(b"\x04\x1a", b"\x18\x04\x1a"),
        PAYLOAD.replace(b"\x04\x1a", b"\x04\x1b\0\0\0\0"),
        PAYLOAD.replace(b"\x63wcc", b"\x78\x03wcc"),
        PAYLOAD.replace(b"\x63wcc", b"\x7f\x63wcc\xff"),
        PAYLOAD.replace(b"\x63wcc", b"\x63w\xffc"),
        PAYLOAD.replace(b"\x07\x4f", b"\x07\x58\x0f"),
        PAYLOAD.replace(b"\x07\x4f", b"\x07\x6f"),
        PAYLOAD.replace(b"\x06\x1a", b"\x06\x3a"),
        b"\xa1\x01" * 100,
        b"\x81" * 200,
    ],
    ids=bytes.hex,
)
def test_signed_bytes_that_are_no_strict_cbor_are_no_card(verify, payload):
    assert verify(cwt(payload), KEYS, NOW) == BAD_CLAIMS


def test_small_and_large_numbers_take_the_long_way_and_say_the_same(verify):
    for changes in (
        {"issued_at": 0, "expires_at": NOW + 1},
        {"issued_at": 65535, "expires_at": NOW + 1},
        {"issued_at": 65536, "expires_at": NOW + 1},
        {"expires_at": 2**32},
        {"expires_at": 253_402_300_799},
        {"index": 2**24 - 1, "issue_number": 2**32 - 1},
        {"index": 2**24},
        {"index": 2**32 - 1, "issue_number": 2**63 - 1},
        {"issue_number": 2**32},
        {"index": 0, "issue_number": 0},
    ):
        card = verify(sign_card_cwt(card_claims(**changes), KEY), KEYS, NOW)
        assert isinstance(card, VerifiedCard)
        assert card.claims == card_claims(**changes, status_uri=None)
