"""If these fail, a reader loads a feed that its council never signed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.credential import TokenError, sign_card, sign_compact, verify_compact
from entitlements.credential.encoding import b64url_encode
from entitlements.credential.jws import MAX_DOCUMENT_CHARS
from tests.support.cards import KEY, KEYS, NEIGHBOUR, RBKC, STRANGER, WCC, as_bytes, card_claims, header, token

TYP = "rescard-manifest+json"


def code_of(text, **arguments):
    with pytest.raises(TokenError) as caught:
        verify_compact(text, KEYS, **{"typ": TYP} | arguments)
    return caught.value.code


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_a_signed_document_comes_back_byte_for_byte(payload):
    text = sign_compact(payload, TYP, KEY)
    assert verify_compact(text, KEYS, TYP) == payload
    assert verify_compact(text.encode(), KEYS, TYP, issuer=WCC) == payload


def test_a_document_without_typ_is_read_only_by_who_asks_for_none():
    text = sign_compact(b"x", None, KEY)
    assert verify_compact(text, KEYS, None) == b"x"
    assert code_of(text) == "document_bad_signature"
    assert code_of(sign_compact(b"x", TYP, KEY), typ=None) == "document_bad_signature"


def test_a_document_of_another_kind_is_refused():
    assert code_of(sign_compact(b"x", "statuslist+jwt", KEY)) == "document_bad_signature"
    assert code_of(sign_card(card_claims(), KEY)) == "document_bad_signature"


def test_a_stranger_signs_nothing():
    assert code_of(token(header(typ=TYP), b"x", STRANGER)) == "document_bad_signature"


def test_a_key_that_is_not_known_yet_can_be_told_from_a_forgery():
    assert code_of(sign_compact(b"x", TYP, STRANGER)) == "document_unknown_key"


def test_the_neighbours_key_does_not_sign_our_feed():
    text = sign_compact(b"x", TYP, NEIGHBOUR)
    assert verify_compact(text, KEYS, TYP, issuer=RBKC) == b"x"
    assert code_of(text, issuer=WCC) == "document_unknown_key"


def test_a_tampered_document_is_refused():
    head, payload, signature = sign_compact(b'{"feed":7}', TYP, KEY).split(".")
    other = b64url_encode(b'{"feed":8}').decode()
    for text in (
        f"{head}.{other}.{signature}",
        f"{head}.{payload}.",
        f"{head}.{payload}.{signature}=",
        f"{head}.{payload}",
        f"{head}.{payload}.{signature}.{signature}",
        f"{head}.{payload}=.{signature}",
        f"é{head}.{payload}.{signature}",
        "",
    ):
        assert code_of(text) == "document_bad_signature"


def test_a_header_that_brings_its_own_key_is_refused():
    jwk = STRANGER.verification_key.to_jwk()
    assert code_of(token(header(typ=TYP, jwk=jwk), b"x", STRANGER)) == "document_bad_signature"
    assert code_of(token(as_bytes(header(typ=TYP))[:-1] + b',"alg":"ES256"}', b"x")) == "document_bad_signature"


def test_an_overlong_document_is_refused_before_it_is_decoded():
    assert code_of(sign_compact(bytes(MAX_DOCUMENT_CHARS), TYP, KEY)) == "document_bad_signature"
