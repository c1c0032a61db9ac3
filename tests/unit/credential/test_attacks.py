"""Each attack of RFC 8725 that applies, and each line of the strict-wrapper list, against both ways of verifying.

If one of these fails, somebody without the council's key opens a gate, or one card counts as two.
"""

import hmac
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential import CardForm, Refused, VerifiedCard, sign_card, sign_compact
from entitlements.credential.claims import BAD_CLAIMS, BAD_SIGNATURE, UNKNOWN_KEY
from entitlements.credential.encoding import b64url_decode, b64url_encode
from entitlements.credential.jwt import MAX_CARD_CHARS
from entitlements.model import Reason
from tests.support.cards import (
    BOTH_PATHS,
    KEY,
    KEYS,
    NEIGHBOUR,
    NOW,
    STRANGER,
    as_bytes,
    card_claims,
    header,
    sign_texts,
    token,
    twin,
    wire,
)

HONEST = sign_card(card_claims(), KEY).encode()
HEAD, PAYLOAD, SIGNATURE = HONEST.split(b".")


@pytest.fixture(params=BOTH_PATHS.values(), ids=list(BOTH_PATHS))
def verify(request):
    return request.param


def test_an_honest_card_is_verified(verify):
    card = verify(HONEST, KEYS, NOW)
    assert card == VerifiedCard(
        claims=card_claims(), form=CardForm.JWT, kid=KEY.kid, digest=sha256(HEAD + b"." + PAYLOAD).digest()
    )


def test_another_issuers_json_style_is_verified_too(verify):
    members = dict(reversed(wire().items()))
    spaced = b"{ " + as_bytes(members)[1:-1] + b" }"
    head = as_bytes(dict(reversed(header().items())))
    card = verify(token(head, spaced), KEYS, NOW)
    assert isinstance(card, VerifiedCard)
    assert card.claims == card_claims()


def test_next_years_card_with_one_claim_more_opens_this_years_gate(verify):
    card = verify(token(header(), wire(zoo={"a": [1, 2.5, None]}, sub=5)), KEYS, NOW)
    assert isinstance(card, VerifiedCard)
    assert card.claims == card_claims()


# RFC 8725 section 2.1: weak signatures and insufficient signature validation; 3.1 and 3.2: algorithm verification.


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "", "HS256", "RS256", "ES384", "ES512", "ES256K", "es256", "EdDSA"]
)
def test_the_token_does_not_choose_its_algorithm(verify, alg):
    head = b64url_encode(as_bytes(header(alg=alg)))
    assert verify(sign_texts(head, PAYLOAD), KEYS, NOW) == BAD_SIGNATURE
    assert verify(head + b"." + PAYLOAD + b".", KEYS, NOW) == BAD_SIGNATURE


def test_the_public_key_is_no_shared_secret(verify):
    public = KEY.private.public_key()
    for secret in (
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint),
    ):
        for alg in ("HS256", "ES256"):
            signed = b64url_encode(as_bytes(header(alg=alg))) + b"." + PAYLOAD
            mac = b64url_encode(hmac.digest(secret, signed, "sha256"))
            assert verify(signed + b"." + mac, KEYS, NOW) == BAD_SIGNATURE


@pytest.mark.parametrize(
    "typ", [None, "JWT", "", "rescard+JWT", "application/rescard+jwt", "reader-assertion+jwt", 1, ["rescard+jwt"]]
)
def test_a_token_of_another_kind_is_no_card(verify, typ):
    assert verify(token(header(typ=typ), wire()), KEYS, NOW) == BAD_SIGNATURE


def test_a_signed_document_is_no_card(verify):
    document = sign_compact(as_bytes(wire()), "rescard-manifest+json", KEY).encode()
    assert verify(document, KEYS, NOW) == BAD_SIGNATURE


@pytest.mark.parametrize("kid", [None, 7, ["x"], {"a": 1}, True])
def test_a_card_must_name_its_key_by_a_string(verify, kid):
    assert verify(token(header(kid=kid), wire()), KEYS, NOW) == BAD_SIGNATURE


@pytest.mark.parametrize(
    "kid", ["", "wcc-unknown", KEY.kid + "\x00", KEY.kid.swapcase(), "../../dev/null", "' or 1=1 --", "é"]
)
def test_a_kid_is_looked_up_exactly_and_nowhere_else(verify, kid):
    refused = verify(token(header(kid=kid), wire()), KEYS, NOW)
    assert refused == UNKNOWN_KEY
    assert refused.reason is Reason.BAD_SIGNATURE


def test_a_stranger_who_names_our_key_is_refused(verify):
    assert verify(token(header(), wire(), STRANGER), KEYS, NOW) == BAD_SIGNATURE


def test_a_stranger_who_names_his_own_key_is_refused(verify):
    assert verify(sign_card(card_claims(), STRANGER).encode(), KEYS, NOW) == UNKNOWN_KEY


def test_a_council_cannot_issue_cards_of_its_neighbour(verify):
    forged = token(header(kid=NEIGHBOUR.kid), wire(iss="wcc"), NEIGHBOUR)
    assert verify(forged, KEYS, NOW) == BAD_CLAIMS


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": STRANGER.verification_key.to_jwk()},
        {"jku": "https://attacker.example/jwks.json"},
        {"x5u": "https://attacker.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"x5t": "AAAA"},
        {"crit": []},
        {"crit": ["exp"], "exp": NOW},
        {"crit": ["b64"], "b64": False},
        {"b64": True},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"epk": {}},
        {"unheard-of": 1},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_a_header_that_brings_anything_of_its_own_is_refused(verify, extra):
    assert verify(token(header(**extra), wire()), KEYS, NOW) == BAD_SIGNATURE


def test_an_embedded_key_is_not_believed(verify):
    forged = token(header(jwk=STRANGER.verification_key.to_jwk()), wire(), STRANGER)
    assert verify(forged, KEYS, NOW) == BAD_SIGNATURE


# RFC 8725 section 2.4 and the strict wrapper: duplicate keys, encodings.


def test_a_header_with_a_key_twice_is_refused(verify):
    head = as_bytes(header())
    for twice in (
        head.replace(b'{"alg"', b'{"alg":"none","alg"'),
        head[:-1] + b',"alg":"ES256"}',
        head[:-1] + b',"kid":"' + KEY.kid.encode() + b'"}',
        head[:-1] + b',"\\u0074yp":"rescard+jwt"}',
    ):
        assert verify(token(twice, wire()), KEYS, NOW) == BAD_SIGNATURE


def test_padding_and_foreign_characters_make_no_second_text_of_a_card(verify):
    for other in (
        HONEST + b"=",
        HONEST + b"==",
        HONEST + b"\n",
        HONEST + b" ",
        b" " + HONEST,
        b"\xef\xbb\xbf" + HONEST,
        HONEST + b"\x00",
        HONEST + b".",
        b"." + HONEST,
        HONEST + b"." + SIGNATURE,
        HEAD + b"." + PAYLOAD,
        HEAD + b".." + PAYLOAD + b"." + SIGNATURE,
        HEAD + b".." + SIGNATURE,
        b"." + PAYLOAD + b"." + SIGNATURE,
        HEAD + b"." + PAYLOAD + b"." + SIGNATURE[:40] + b"\n" + SIGNATURE[40:],
        HEAD + b"." + PAYLOAD + b"." + SIGNATURE.replace(b"-", b"+").replace(b"_", b"/") + b"=",
    ):
        assert verify(other, KEYS, NOW) == BAD_SIGNATURE


def test_spare_bits_of_the_signature_make_no_second_text_of_a_card(verify):
    # 64 bytes leave 4 spare bits in the last of 86 characters: one of A, Q, g, w.
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place = alphabet.index(SIGNATURE[-1])
    for spare in range(1, 16):
        assert verify(HONEST[:-1] + alphabet[place + spare : place + spare + 1], KEYS, NOW) == BAD_SIGNATURE


@pytest.mark.parametrize("tail", [b"=", b"==", b"?", b"\n", b"#"])
def test_texts_that_are_no_base64url_are_refused_even_if_well_signed(verify, tail):
    """As Wycheproof's tokens 360 to 375, which are signed with keys this project does not have."""
    assert verify(sign_texts(HEAD + tail, PAYLOAD), KEYS, NOW) == BAD_SIGNATURE
    assert verify(sign_texts(HEAD, PAYLOAD + tail), KEYS, NOW) == BAD_SIGNATURE
    assert verify(sign_texts(HEAD, tail + PAYLOAD), KEYS, NOW) == BAD_SIGNATURE


def test_set_spare_bits_are_refused_even_if_well_signed(verify):
    payload = as_bytes(wire()) + b" " * (-(len(as_bytes(wire())) + 2) % 3)
    text = b64url_encode(payload)
    assert len(payload) % 3 == 1  # two characters end it, of which the last has four spare bits
    assert isinstance(verify(sign_texts(HEAD, text), KEYS, NOW), VerifiedCard)
    other = text[:-1] + bytes([text[-1] + 1])
    assert verify(sign_texts(HEAD, other), KEYS, NOW) == BAD_SIGNATURE


# Signature values.

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("r", [0, 1, N - 1, N, N + 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, N - 1, N, N + 1, 2**256 - 1])
def test_signatures_at_the_edges_are_refused(verify, r, s):
    """r = s = 0 passed for any message in Java ("psychic signatures", CVE-2022-21449)."""
    signature = b64url_encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    assert verify(HEAD + b"." + PAYLOAD + b"." + signature, KEYS, NOW) == BAD_SIGNATURE


def test_signatures_of_another_length_or_form_are_refused(verify):
    raw = b64url_decode(SIGNATURE)
    der = KEY.private.sign(HEAD + b"." + PAYLOAD, ec.ECDSA(hashes.SHA256()))
    longer_numbers = (b"\0" + raw[:32] + b"\0" + raw[32:], raw[:32] + b"\0" + raw[32:])
    for other in (b"", raw[:63], raw + b"\0", b"\0" + raw, raw[:32], der, raw * 2, *longer_numbers):
        assert verify(HEAD + b"." + PAYLOAD + b"." + b64url_encode(other), KEYS, NOW) == BAD_SIGNATURE


def test_the_twin_of_a_signature_is_the_same_card(verify):
    other = twin(HONEST)
    assert other != HONEST
    first, second = verify(HONEST, KEYS, NOW), verify(other, KEYS, NOW)
    assert isinstance(first, VerifiedCard)
    assert first == second
    assert first.digest == second.digest


def test_each_signed_bit_counts(verify):
    for place in range(0, len(HONEST), 7):
        changed = bytearray(HONEST)
        changed[place] ^= 1
        assert isinstance(verify(bytes(changed), KEYS, NOW), Refused)


# Length, times and the answer.


def test_an_overlong_token_is_refused_before_anything_is_decoded(verify):
    room = MAX_CARD_CHARS - len(token(header(), wire(x="")))
    fits = token(header(), wire(x="a" * (room * 3 // 4 - 4)))
    assert len(fits) <= MAX_CARD_CHARS
    assert isinstance(verify(fits, KEYS, NOW), VerifiedCard)
    assert verify(token(header(), wire(x="a" * room)), KEYS, NOW) == BAD_SIGNATURE
    assert verify(b"." * 10_000_000, KEYS, NOW) == BAD_SIGNATURE


def test_an_expired_card_says_so_only_if_it_was_honest(verify):
    expired = card_claims(issued_at=NOW - 100, expires_at=NOW)
    refused = verify(sign_card(expired, KEY).encode(), KEYS, NOW)
    assert refused.reason is Reason.CARD_EXPIRED
    assert isinstance(verify(sign_card(expired, KEY).encode(), KEYS, NOW - 1), VerifiedCard)
    assert verify(token(header(), wire(iat=NOW - 100, exp=NOW), STRANGER), KEYS, NOW) == BAD_SIGNATURE


def test_a_card_from_the_future_puts_the_clock_in_doubt(verify):
    fresh = sign_card(card_claims(issued_at=NOW + 121), KEY).encode()
    assert verify(fresh, KEYS, NOW).reason is Reason.CLOCK_UNTRUSTED
    assert isinstance(verify(fresh, KEYS, NOW + 1), VerifiedCard)
    assert isinstance(verify(fresh, KEYS, NOW, 121), VerifiedCard)


def test_every_bad_signature_gets_the_very_same_answer(verify):
    answers = {
        verify(data, KEYS, NOW)
        for data in (
            HONEST[:-8] + b"AAAAAAAA",
            token(header(), wire(), STRANGER),
            token(header(alg="none"), wire()),
            token(header(typ="JWT"), wire()),
            HEAD + b"." + PAYLOAD + b".",
            b"eyJ",
            b"",
            b"\xff" * 400,
        )
    }
    assert answers == {BAD_SIGNATURE}


def test_a_reader_without_keys_refuses_and_does_not_fail(verify):
    assert verify(HONEST, KEYS.without(KEY.kid).without(NEIGHBOUR.kid), NOW) == UNKNOWN_KEY
