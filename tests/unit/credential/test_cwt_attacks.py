"""The attacks of RFC 8725 and each line of the strict-wrapper list, in COSE, against every way of verifying a CWT.

If one of these fails, somebody without the council's key opens a gate, or one card counts as two.
"""

import hmac
from hashlib import sha256

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential import CardForm, Refused, VerifiedCard, sign_card_cwt
from entitlements.credential.claims import BAD_CLAIMS, BAD_SIGNATURE, UNKNOWN_KEY
from entitlements.credential.cose import signature_input
from entitlements.credential.cwt import EXTERNAL_AAD, MAX_CWT_BYTES
from entitlements.credential.es256 import ORDER
from entitlements.model import Reason
from tests.support.cards import KEY, KEYS, NEIGHBOUR, NOW, STRANGER, card_claims
from tests.support.cwt import (
    CWT_PATHS,
    HONEST,
    PAYLOAD,
    PROTECTED,
    SIGNATURE,
    cwt,
    cwt_twin,
    encode,
    headers,
    members,
    message,
)

KID = KEY.verification_key.cose_kid
PLAIN = card_claims(status_uri=None)


@pytest.fixture(params=CWT_PATHS.values(), ids=list(CWT_PATHS))
def verify(request):
    return request.param


def test_an_honest_card_is_verified(verify):
    digest = sha256(signature_input(PROTECTED, EXTERNAL_AAD, PAYLOAD)).digest()
    assert verify(HONEST, KEYS, NOW) == VerifiedCard(claims=PLAIN, form=CardForm.CWT, kid=KEY.kid, digest=digest)
    assert cwt() == HONEST


def test_next_years_card_with_one_claim_more_opens_this_years_gate(verify):
    for more in ({"c9": [1, {"a": None}]}, {"c2": 5}, {"c-70000": b"x" * 90}, {"c38": True}):
        card = verify(cwt(members(**more)), KEYS, NOW)
        assert isinstance(card, VerifiedCard)
        assert card.claims == PLAIN


# RFC 8725 sections 2.1, 3.1 and 3.2: the algorithm belongs to the key.


@pytest.mark.parametrize("alg", [None, 0, -8, -35, -36, -37, 5, 4, "ES256", -47, 7, [-7], True], ids=str)
def test_the_message_does_not_choose_its_algorithm(verify, alg):
    protected = encode(headers(h1=alg))
    assert verify(cwt(protected=protected), KEYS, NOW) == BAD_SIGNATURE
    assert verify(message(protected, PAYLOAD, b""), KEYS, NOW) == BAD_SIGNATURE


def test_no_algorithm_at_all_is_refused(verify):
    for protected in (b"", b"\xa0", encode({4: KID}), encode({1: -7})):
        assert verify(cwt(protected=protected), KEYS, NOW) == BAD_SIGNATURE
        assert verify(cwt(protected=protected, unprotected=encode({1: -7, 4: KID})), KEYS, NOW) == BAD_SIGNATURE


def test_the_public_key_is_no_shared_secret(verify):
    public = KEY.private.public_key()
    signed = signature_input(PROTECTED, EXTERNAL_AAD, PAYLOAD)
    for form in (serialization.PublicFormat.UncompressedPoint, serialization.PublicFormat.CompressedPoint):
        secret = public.public_bytes(serialization.Encoding.X962, form)
        for mac in (hmac.digest(secret, signed, "sha256"), hmac.digest(secret, signed, "sha512")):
            assert verify(message(PROTECTED, PAYLOAD, mac), KEYS, NOW) == BAD_SIGNATURE


# RFC 8725 sections 2.8 and 3.11: one kind of token does not pass for another. The kind is signed as external data.


@pytest.mark.parametrize("external", [b"", b"rescard+jwt", b"rescard+cwt ", b"statuslist+cwt", b"\x00"])
def test_another_kind_of_message_of_the_same_key_is_no_card(verify, external):
    assert verify(cwt(external=external), KEYS, NOW) == BAD_SIGNATURE


@pytest.mark.parametrize("context", ["Signature", "CounterSignature", "MAC0", "Encrypt0", ""])
def test_a_signature_made_for_another_structure_is_no_card(verify, context):
    assert verify(cwt(context=context), KEYS, NOW) == BAD_SIGNATURE


def test_a_phones_signature_is_no_councils(verify):
    assert verify(message(PROTECTED, PAYLOAD, KEY.sign(PAYLOAD)), KEYS, NOW) == BAD_SIGNATURE


# Keys.


def test_a_stranger_who_names_our_key_is_refused(verify):
    assert verify(cwt(key=STRANGER), KEYS, NOW) == BAD_SIGNATURE


def test_a_stranger_who_names_his_own_key_is_refused(verify):
    refused = verify(sign_card_cwt(card_claims(), STRANGER), KEYS, NOW)
    assert refused == UNKNOWN_KEY
    assert refused.reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("kid", [b"", KID[:3], KID + b"\0", b"\0" * 4, KID[::-1], KEY.kid.encode(), b"a" * 23])
def test_a_kid_is_looked_up_exactly_and_nowhere_else(verify, kid):
    assert verify(cwt(protected=headers(h4=kid)), KEYS, NOW) == UNKNOWN_KEY


@pytest.mark.parametrize("kid", [KEY.kid, 7, [KID], {1: KID}, None, True, b"a" * 24, b"a" * 300], ids=str)
def test_a_card_must_name_its_key_by_a_short_byte_string(verify, kid):
    assert verify(cwt(protected=encode(headers(h4=kid))), KEYS, NOW) == BAD_SIGNATURE


def test_a_council_cannot_issue_cards_of_its_neighbour(verify):
    forged = cwt(members(c1="wcc"), headers(h4=NEIGHBOUR.verification_key.cose_kid), NEIGHBOUR)
    assert verify(forged, KEYS, NOW) == BAD_CLAIMS


COSE_KEY = {1: 2, -1: 1, -2: b"x" * 32, -3: b"y" * 32}


@pytest.mark.parametrize(
    ("label", "value"),
    [
        (2, [1]),  # crit
        (2, []),
        (3, "application/cwt"),  # content type
        (3, 61),
        (5, b"iv"),
        (7, []),  # countersignature
        (9, b"c"),  # counter signature of the old kind
        (11, []),
        (13, {1: "rbkc"}),  # CWT claims in the header (RFC 9597)
        (15, {}),
        (16, "rescard+cwt"),  # typ (RFC 9596): the kind is signed otherwise
        (32, b"bag"),  # x5bag
        (33, b"chain"),  # x5chain
        (34, [-16, b"hash"]),  # x5t
        (35, "https://attacker.example/cert"),  # x5u
        (-1, COSE_KEY),
        ("jwk", COSE_KEY),
        ("jku", "https://attacker.example"),
        (70000, 1),
    ],
    ids=str,
)
def test_a_header_that_brings_anything_of_its_own_is_refused(verify, label, value):
    assert verify(cwt(protected=encode(headers() | {label: value})), KEYS, NOW) == BAD_SIGNATURE
    assert verify(cwt(unprotected=encode({label: value})), KEYS, NOW) == BAD_SIGNATURE


@pytest.mark.parametrize("unprotected", [{1: -7}, {4: KID}, {1: -7, 4: KID}, {4: b"other"}, {1: 0}], ids=str)
def test_nothing_may_stand_where_nobody_signed_it(verify, unprotected):
    assert verify(cwt(unprotected=encode(unprotected)), KEYS, NOW) == BAD_SIGNATURE
    assert verify(cwt(unprotected=encode(unprotected), key=STRANGER), KEYS, NOW) == BAD_SIGNATURE


# One encoding only: everything outside the signature is as short as it can be and in its one order.


def kid_first():
    return b"\xa2\x04\x44" + KID + b"\x01\x26"


@pytest.mark.parametrize(
    "protected",
    [
        b"\xa3\x01\x26\x01\x26\x04\x44" + KID,
        b"\xa3\x01\x26\x04\x44" + KID + b"\x04\x44" + KID,
        kid_first(),
        b"\xbf\x01\x26\x04\x44" + KID + b"\xff",
        b"\xb8\x02\x01\x26\x04\x44" + KID,
        b"\xa2\x18\x01\x26\x04\x44" + KID,
        b"\xa2\x01\x38\x06\x04\x44" + KID,
        b"\xa2\x01\x26\x04\x58\x04" + KID,
        b"\xa2\x01\x26\x04\x5f\x44" + KID + b"\xff",
        b"\xa2\x01\x26\x04\xd7\x44" + KID,
        b"\xa2\x01\xfb\xc0\x1c\x00\x00\x00\x00\x00\x00\x04\x44" + KID,
        PROTECTED + b"\x00",
        PROTECTED[:-1],
        b"\x82\x26\x44" + KID,
        b"\x00",
        b"\xff" * 40,
    ],
    ids=bytes.hex,
)
def test_a_header_in_another_encoding_is_refused_even_if_well_signed(verify, protected):
    assert verify(cwt(protected=protected), KEYS, NOW) == BAD_SIGNATURE


HEADER = b"\x49" + PROTECTED
BODY = cbor2.dumps(PAYLOAD)
TAIL = b"\x58\x40" + SIGNATURE


@pytest.mark.parametrize(
    "data",
    [
        b"\xd2" + HONEST,  # tag of COSE_Sign1
        b"\xd8\x3d\xd2" + HONEST,  # tag of CWT
        b"\xd8\x3d" + HONEST,
        b"\xd9\xd9\xf7" + HONEST,  # self-described CBOR
        b"\xd1" + HONEST,  # tag of COSE_Mac0
        b"\xd8\x62" + HONEST,  # tag of COSE_Sign
        HONEST + b"\x00",
        HONEST + HONEST,
        b"\x00" + HONEST,
        HONEST[:-1],
        HONEST[1:],
        b"",
        b"\x84",
        b"\x83" + HEADER + b"\xa0" + BODY,
        b"\x85" + HEADER + b"\xa0" + BODY + TAIL + b"\x00",
        b"\x98\x04" + HONEST[1:],
        b"\x9f" + HONEST[1:] + b"\xff",
        b"\x84\x58\x09" + PROTECTED + HONEST[11:],
        b"\x84\x5f" + HEADER + b"\xff" + HONEST[11:],
        b"\x84\x69" + PROTECTED + HONEST[11:],
        b"\x84" + HEADER + b"\xbf\xff" + HONEST[12:],
        b"\x84" + HEADER + b"\xb8\x00" + HONEST[12:],
        b"\x84" + HEADER + b"\xf6" + HONEST[12:],
        b"\x84" + HEADER + b"\x80" + HONEST[12:],
        b"\x84" + HEADER + b"\xa0\x59\x00" + bytes((len(PAYLOAD),)) + PAYLOAD + TAIL,
        b"\x84" + HEADER + b"\xa0\x5a\x00\x00\x00" + bytes((len(PAYLOAD),)) + PAYLOAD + TAIL,
        b"\x84" + HEADER + b"\xa0\x5f" + BODY + b"\xff" + TAIL,
        b"\x84" + HEADER + b"\xa0\xf6" + TAIL,  # a detached payload
        b"\x84" + HEADER + b"\xa0" + PAYLOAD + TAIL,
        b"\x84" + HEADER + b"\xa0\xd8\x18" + BODY + TAIL,
        b"\x84" + HEADER + b"\xa0" + BODY + b"\x59\x00\x40" + SIGNATURE,
        b"\x84" + HEADER + b"\xa0" + BODY + b"\x5f\x58\x20" + SIGNATURE[:32] + b"\x58\x20" + SIGNATURE[32:] + b"\xff",
        b"\x84" + HEADER + b"\xa0" + BODY + b"\x82\x58\x20" + SIGNATURE[:32] + b"\x58\x20" + SIGNATURE[32:],
        b"\x84\x5b" + b"\xff" * 8 + HONEST[2:],
        b"\x84\x5b\x7f" + b"\xff" * 7 + HONEST[2:],
        b"\x9b" + b"\xff" * 8 + HONEST[1:],
        b"\x81" * 400,
    ],
    ids=lambda data: f"{data[:14].hex()}.{len(data)}",
)
def test_the_same_card_in_another_encoding_is_refused(verify, data):
    assert verify(data, KEYS, NOW) == BAD_SIGNATURE


# Signature values.


@pytest.mark.parametrize("r", [0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1])
def test_signatures_at_the_edges_are_refused(verify, r, s):
    forged = message(PROTECTED, PAYLOAD, r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    assert verify(forged, KEYS, NOW) == BAD_SIGNATURE


def test_signatures_of_another_length_or_form_are_refused(verify):
    der = KEY.private.sign(signature_input(PROTECTED, EXTERNAL_AAD, PAYLOAD), ec.ECDSA(hashes.SHA256()))
    padded = b"\0" + SIGNATURE[:32] + b"\0" + SIGNATURE[32:]
    for other in (b"", SIGNATURE[:63], SIGNATURE + b"\0", b"\0" + SIGNATURE, SIGNATURE[:32], der, padded):
        assert verify(message(PROTECTED, PAYLOAD, other), KEYS, NOW) == BAD_SIGNATURE


def test_the_twin_of_a_signature_is_the_same_card(verify):
    other = cwt_twin(HONEST)
    assert other != HONEST
    first, second = verify(HONEST, KEYS, NOW), verify(other, KEYS, NOW)
    assert isinstance(first, VerifiedCard)
    assert first == second
    assert first.digest == second.digest


def test_each_signed_bit_counts(verify):
    for place in range(len(HONEST)):
        changed = bytearray(HONEST)
        changed[place] ^= 1 << place % 8
        assert isinstance(verify(bytes(changed), KEYS, NOW), Refused)


# Length, times and the answer.


def test_an_overlong_card_is_refused_before_anything_is_parsed(verify):
    room = MAX_CWT_BYTES - len(cwt(members(c2="a" * 300)))
    fits = cwt(members(c2="a" * (300 + room)))
    assert len(fits) == MAX_CWT_BYTES
    assert isinstance(verify(fits, KEYS, NOW), VerifiedCard)
    assert verify(cwt(members(c2="a" * (301 + room))), KEYS, NOW) == BAD_SIGNATURE
    assert verify(HONEST + bytes(1_000_000), KEYS, NOW) == BAD_SIGNATURE


def test_an_expired_card_says_so_only_if_it_was_honest(verify):
    expired = card_claims(issued_at=NOW - 100, expires_at=NOW)
    assert verify(sign_card_cwt(expired, KEY), KEYS, NOW).reason is Reason.CARD_EXPIRED
    assert isinstance(verify(sign_card_cwt(expired, KEY), KEYS, NOW - 1), VerifiedCard)
    assert verify(cwt(members(c4=NOW, c6=NOW - 100), key=STRANGER), KEYS, NOW) == BAD_SIGNATURE


def test_a_card_from_the_future_puts_the_clock_in_doubt(verify):
    fresh = sign_card_cwt(card_claims(issued_at=NOW + 121), KEY)
    assert verify(fresh, KEYS, NOW).reason is Reason.CLOCK_UNTRUSTED
    assert isinstance(verify(fresh, KEYS, NOW + 1), VerifiedCard)
    assert isinstance(verify(fresh, KEYS, NOW, 121), VerifiedCard)


def test_every_bad_signature_gets_the_very_same_answer(verify):
    answers = {
        verify(data, KEYS, NOW)
        for data in (HONEST[:-8] + bytes(8), cwt(key=STRANGER), cwt(external=b""), b"\xd2" + HONEST, b"", b"\xff" * 400)
    }
    assert answers == {BAD_SIGNATURE}


def test_a_reader_without_keys_refuses_and_does_not_fail(verify):
    assert verify(HONEST, KEYS.without(KEY.kid).without(NEIGHBOUR.kid), NOW) == UNKNOWN_KEY
