"""If these fail, a stranger speaks for a reader, a copied header opens another door, or an honest reader with a wrong
clock is locked out without learning why."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.credential import (
    AssertionCode,
    AssertionRefused,
    generate_private_key,
    sign_assertion,
    sign_card,
    unverified_reader_id,
    verify_assertion,
)
from entitlements.credential.assertion import ASSERTION_TYP, CLOCK_SKEW, MAX_ASSERTION_CHARS, MAX_LIFETIME
from tests.support.cards import NOW, WCC, as_bytes, card_claims, fixed_key, token, twin

READER = "rdr_7f3a"
REQUEST = {"method": "POST", "path": "/v1/taps", "audience": "cards.wcc.example"}
AS_READER = fixed_key(WCC, 0x4444, kid=READER)
PRIVATE = AS_READER.private
PUBLIC = PRIVATE.public_key()


def assertion(**changes):
    arguments: dict[str, Any] = {"reader_id": READER, "key": PRIVATE, "now": NOW, **REQUEST}
    return sign_assertion(**arguments | changes)


def check(text, *, now=NOW, key=PUBLIC, **changes):
    return verify_assertion(text, key, now=now, **REQUEST | changes)


def forged(head=None, **changes):
    """A well-signed assertion that is wrong in one way."""
    claims = {"iss": READER, "aud": "cards.wcc.example", "iat": NOW, "exp": NOW + 30, "jti": "x", "htm": "POST"}
    claims = claims | {"htu": "/v1/taps"} | changes
    members = {"alg": "ES256", "kid": READER, "typ": ASSERTION_TYP} | (head or {})
    return token(members, {name: value for name, value in claims.items() if value is not None}, AS_READER)


def code_of(text, **arguments):
    with pytest.raises(AssertionRefused) as caught:
        check(text, **arguments)
    return caught.value.code


def test_a_reader_speaks_for_itself():
    text = assertion()
    assert unverified_reader_id(text) == READER
    claims = check(text)
    assert (claims.reader_id, claims.method, claims.path) == (READER, "POST", "/v1/taps")
    assert (claims.issued_at, claims.expires_at) == (NOW, NOW + 30)
    assert check(text.encode()) == claims


def test_no_two_assertions_share_a_request_id():
    assert len({check(assertion()).request_id for _ in range(200)}) == 200


def test_the_twin_of_an_assertion_has_the_same_request_id():
    text = assertion().encode()
    assert twin(text) != text
    assert check(twin(text)).request_id == check(text).request_id


def test_a_stranger_does_not_speak_for_a_reader():
    assert code_of(assertion(key=generate_private_key())) == AssertionCode.BAD_SIGNATURE
    assert code_of(assertion(), key=generate_private_key().public_key()) == AssertionCode.BAD_SIGNATURE


@pytest.mark.parametrize(
    "changes", [{"method": "GET"}, {"path": "/v1/cards"}, {"path": "/v1/taps/"}, {"audience": "cards.rbkc.example"}]
)
def test_a_copied_assertion_opens_no_other_door(changes):
    assert code_of(assertion(), **changes) == AssertionCode.REQUEST


@pytest.mark.parametrize("now", [NOW - CLOCK_SKEW, NOW, NOW + 30 + CLOCK_SKEW - 1])
def test_small_differences_of_clocks_do_no_harm(now):
    assert check(assertion(), now=now).reader_id == READER


@pytest.mark.parametrize("now", [NOW - CLOCK_SKEW - 1, NOW + 30 + CLOCK_SKEW, NOW + 600, NOW - 600])
def test_a_reader_with_a_wrong_clock_learns_by_how_much(now):
    with pytest.raises(AssertionRefused) as caught:
        check(assertion(), now=now)
    assert caught.value.code == AssertionCode.TIME
    assert caught.value.clock_offset == NOW - now


def test_a_forger_learns_nothing_of_our_clock():
    with pytest.raises(AssertionRefused) as caught:
        check(assertion(key=generate_private_key()), now=NOW + 600)
    assert (caught.value.code, caught.value.clock_offset) == (AssertionCode.BAD_SIGNATURE, None)


def test_an_assertion_is_kept_no_longer_than_it_can_be_replayed():
    claims = check(assertion())
    assert check(assertion(), now=claims.forget_after - 1)
    assert code_of(assertion(), now=claims.forget_after) == AssertionCode.TIME


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW + MAX_LIFETIME + 1},
        {"exp": NOW},
        {"exp": None},
        {"exp": "1e308"},
        {"exp": NOW + 30.0},
        {"iat": True},
        {"iat": -1},
        {"iat": None},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 513},
        {"jti": 5},
        {"iss": "rdr_other"},
        {"aud": ["cards.wcc.example"]},
        {"htm": None},
        {"htu": None},
        {"extra": 1},
        {"nbf": NOW},
        {"head": {"typ": "JWT"}},
        {"head": {"typ": "rescard+jwt"}},
        {"head": {"alg": "none"}},
        {"head": {"alg": "HS256"}},
        {"head": {"kid": "rdr_other"}},
        {"head": {"kid": 7}},
        {"head": {"jwk": AS_READER.verification_key.to_jwk()}},
        {"head": {"crit": ["exp"]}},
    ],
    ids=str,
)
def test_a_signed_token_of_another_shape_is_no_assertion(changes):
    assert code_of(forged(**changes)) == AssertionCode.BAD_SIGNATURE


def test_the_workshop_makes_good_assertions_otherwise():
    assert check(forged()).request_id == "x"


def test_claims_with_a_key_twice_are_refused():
    members = {"iss": READER, "aud": REQUEST["audience"], "iat": NOW, "exp": NOW + 30, "jti": "x", "htm": "POST"}
    payload = json.dumps(members | {"htu": "/v1/taps"}).encode()
    head = {"alg": "ES256", "kid": READER, "typ": ASSERTION_TYP}
    assert check(token(head, payload, AS_READER)).path == "/v1/taps"
    twice = payload[:-1] + b',"htu":"/v1/taps"}'
    assert code_of(token(head, twice, AS_READER)) == AssertionCode.BAD_SIGNATURE


def test_a_card_is_no_assertion():
    card = sign_card(card_claims(), AS_READER)
    assert code_of(card) == AssertionCode.BAD_SIGNATURE
    with pytest.raises(AssertionRefused):
        unverified_reader_id(card)


@pytest.mark.parametrize("text", ["", "..", "a.b", "é.é.é", "x" * (MAX_ASSERTION_CHARS + 1), b"\xff.\xff.\xff"])
def test_what_is_no_token_at_all_is_refused(text):
    assert code_of(text) == AssertionCode.BAD_SIGNATURE
    with pytest.raises(AssertionRefused):
        unverified_reader_id(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"lifetime": 0},
        {"lifetime": MAX_LIFETIME + 1},
        {"path": "v1/taps"},
        {"path": "/v1/taps?since=1"},
        {"path": "/v1/taps#x"},
        {"path": "/" * 513},
        {"reader_id": ""},
        {"method": ""},
        {"audience": ""},
    ],
)
def test_a_reader_that_would_be_refused_learns_it_before_it_asks(changes):
    with pytest.raises(ValueError, match=r"lifetime|path|characters") as caught:
        assertion(**changes)
    assert not isinstance(caught.value, AssertionRefused)


@settings(deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300))
def test_no_text_stops_the_service(text):
    with pytest.raises(AssertionRefused):
        check(text)


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(0, 255))
def test_a_tampered_assertion_is_refused(place, value):
    data = bytearray(forged())
    place %= len(data)
    if data[place] == value:
        return
    data[place] = value
    assert code_of(bytes(data)) == AssertionCode.BAD_SIGNATURE


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "iat", "exp", "jti", "htm", "htu"]),
        st.none() | st.integers() | st.text(),
        max_size=3,
    )
)
def test_signed_claims_of_any_shape_do_not_stop_the_service(changes):
    data = token({"alg": "ES256", "kid": READER, "typ": ASSERTION_TYP}, as_bytes(changes), AS_READER)
    assert code_of(data) == AssertionCode.BAD_SIGNATURE
    if changes:
        with suppress(AssertionRefused):  # a changed text may still be a good one, e.g. another jti
            check(forged(**changes))
