"""If these fail, the service signs cards that gates refuse, or gates believe claims that make no sense."""

import pytest

from entitlements.credential import Channel, InvalidClaimsError, Refused, generate_private_key
from entitlements.credential.claims import INSTANT_MAX, refusal_by_time
from entitlements.credential.es256 import compress, decompress, public_key_to_jwk
from entitlements.credential.jwt import claims_from_wire, claims_to_wire, sign_card
from entitlements.credential.keys import SigningKey
from entitlements.model import Outcome, Reason
from tests.support.cards import NOW, card_claims, wire


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("issuer", ""),
        ("issuer", "WCC"),
        ("issuer", "wcc\n"),
        ("issuer", "a" * 17),
        ("issuer", 7),
        ("card_id", b"1234567"),
        ("card_id", b"123456789"),
        ("card_id", "12345678"),
        ("index", -1),
        ("index", 2**32),
        ("index", True),
        ("index", 1.0),
        ("status_uri", "javascript:alert(1)"),
        ("status_uri", "https://cards.wcc.example/ s"),
        ("status_uri", 'https://cards.wcc.example/"'),
        ("status_uri", "https://cards.wcc.example/é"),
        ("status_uri", "https://" + "a" * 120),
        ("issued_at", -1),
        ("issued_at", True),
        ("issued_at", float(NOW)),
        ("expires_at", NOW - 3600),
        ("expires_at", INSTANT_MAX + 1),
        ("expires_at", float(NOW + 1)),
        ("expires_at", str(NOW + 1)),
        ("issue_number", -1),
        ("issue_number", 2**63),
        ("issue_number", None),
        ("channel", "live"),
        ("device_key", b"\x02" + bytes(31)),
        ("device_key", b"\x02" + b"\xff" * 32),
        ("device_key", b"\x04" + bytes(64)),
        ("device_key", "x" * 33),
    ],
)
def test_a_claim_out_of_range_never_becomes_a_card(field, value):
    with pytest.raises(InvalidClaimsError) as caught:
        card_claims(**{field: value})
    assert caught.value.claim == field


def test_a_card_carries_exactly_the_agreed_members_and_no_personal_data():
    assert wire() == {
        "iss": "wcc",
        "jti": "AQIDBAUGBwg",
        "iat": NOW - 3600,
        "exp": NOW + 365 * 86400,
        "fn": 42,
        "ch": "static",
        "status": {"status_list": {"idx": 4711, "uri": "https://cards.wcc.example/s/1"}},
    }


def test_a_live_card_is_bound_to_its_phone():
    public = generate_private_key().public_key()
    claims = card_claims(channel=Channel.LIVE, device_key=compress(public))
    assert claims_to_wire(claims)["cnf"] == {"jwk": public_key_to_jwk(public)}
    assert claims_from_wire(claims_to_wire(claims)) == claims
    assert decompress(compress(public)) == public


def test_a_card_is_good_until_the_second_it_expires():
    claims = card_claims()
    assert refusal_by_time(claims, claims.expires_at - 1, 0) is None
    expired = refusal_by_time(claims, claims.expires_at, 600)
    assert isinstance(expired, Refused)
    assert (expired.reason, expired.outcome) == (Reason.CARD_EXPIRED, Outcome.DENY)


def test_a_slow_reader_clock_refers_a_fresh_card_to_staff_and_does_not_call_it_forged():
    claims = card_claims()
    assert refusal_by_time(claims, claims.issued_at - 120, 120) is None
    refused = refusal_by_time(claims, claims.issued_at - 121, 120)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.outcome) == (Reason.CLOCK_UNTRUSTED, Outcome.REFER)


def test_paper_screen_and_picture_of_a_card_are_one_code():
    claims = card_claims()
    key = SigningKey.generate(claims.issuer)
    assert sign_card(claims, key) == sign_card(claims, key)
    assert sign_card(claims, key) != sign_card(claims, SigningKey.generate(claims.issuer))
