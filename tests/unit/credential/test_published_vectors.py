"""If these fail, our ES256 is not the world's: other people's honest tokens are refused, or forged ones let in.

Vectors run against each reader's own way to check a signature: the lean one of gates and documents, PyJWT's and that of
the second reader of CWTs. A result that differs from the published one is listed with its reason. Published tokens are
no cards of ours, so what is beside the signature in a reader of cards is held to our own vectors and attacks.
"""

import json

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential import (
    InvalidEncodingError,
    InvalidKeyError,
    KeySet,
    Refused,
    TokenError,
    VerificationKey,
    verify_card,
    verify_card_pyjwt,
    verify_compact,
    verify_cwt,
    verify_cwt_cbor2,
)
from entitlements.credential.claims import BAD_SIGNATURE
from entitlements.credential.cwt_cbor2 import good_signature
from entitlements.credential.encoding import b64url_decode, b64url_encode
from entitlements.credential.jws import read_kid, split_compact
from entitlements.model import TenantId
from tests.support.cards import NOW, as_bytes, header, wire
from tests.support.cwt import PAYLOAD, encode, headers
from tests.support.vectors import published_json

ISSUER = TenantId("wcc")
PYJWS = pyjwt.PyJWS()


def by_pyjwt(token, keys):
    """What :func:`verify_card_pyjwt` does up to the claims, for a token that is of no kind."""
    try:
        parts = split_compact(token.encode("ascii"), len(token))
        key = keys.get(read_kid(parts.header, None))
        if key is None:
            raise TokenError("document_unknown_key", "no such key")
        for part in parts:
            b64url_decode(part)
        return PYJWS.decode(token, key.public, ["ES256"])
    except (InvalidEncodingError, UnicodeEncodeError, pyjwt.PyJWTError):
        raise TokenError("document_bad_signature", "not good") from None


TOKEN_READERS = {"lean": lambda token, keys: verify_compact(token, keys, typ=None), "pyjwt": by_pyjwt}
SIGNATURE_READERS = {
    "lean": lambda public, message, signature: VerificationKey(issuer=ISSUER, kid="v", public=public).verifies(
        message, signature
    ),
    "pyjwt": lambda public, message, signature: PYJWS.get_algorithm_by_name("ES256").verify(message, public, signature),
    "cbor2": good_signature,
}

ONLY_ES256 = "the key is not for ES256, the one algorithm of this project"
NO_USE = "the key does not say use: sig, which is required here"


def verdict(jwks, token, read):
    """``ok``, or the code or problem with which our entry points refuse."""
    try:
        keys = KeySet.from_jwks(ISSUER, json.dumps(jwks).encode())
    except InvalidKeyError as error:
        return f"key refused: {error.problem}"
    try:
        read(token, keys)
    except TokenError as error:
        return error.code
    return "ok"


def why_refused(jwk):
    """The listed reason for which we refuse what Wycheproof calls valid, or ``None``."""
    if jwk.get("use") != "sig":
        return NO_USE
    if jwk.get("alg") != "ES256":
        return ONLY_ES256
    return None


def jose_cases(name):
    for group in published_json("wycheproof", name)["testGroups"]:
        public = group.get("public") or group["private"]
        members = public.get("keys", [public])
        for test in group["tests"]:
            token = test["jws"] if isinstance(test["jws"], str) else json.dumps(test["jws"])
            yield test, members, token


@pytest.mark.parametrize("reader", TOKEN_READERS)
@pytest.mark.parametrize(
    ("name", "accepted", "differences"),
    [
        # 44 of the 46 valid tokens, and all 5 valid key sets, need an algorithm or a key this project does not have.
        ("json_web_signature_test.json", {18, 378}, {ONLY_ES256: 28, NO_USE: 16}),
        ("json_web_key_test.json", set(), {ONLY_ES256: 5}),
    ],
)
def test_wycheproof_tokens_are_judged_as_published_but_for_listed_differences(name, accepted, differences, reader):
    seen, counted = set(), dict.fromkeys(differences, 0)
    for test, members, token in jose_cases(name):
        result = verdict({"keys": members}, token, TOKEN_READERS[reader])
        if result == "ok":
            assert test["result"] == "valid", (test["tcId"], test["comment"])
            seen.add(test["tcId"])
        elif test["result"] == "valid":
            reason = why_refused(members[0])
            assert reason is not None, (test["tcId"], test["comment"], result)
            counted[reason] += 1
    assert seen == accepted
    assert counted == differences


@pytest.mark.parametrize("reader", TOKEN_READERS)
def test_wycheproof_es256_tokens_reach_the_signature_and_fail_there(reader):
    """The refusals above are not all refusals of keys: this many tokens were refused by what they are."""
    reached = [
        verdict({"keys": members}, token, TOKEN_READERS[reader])
        for test, members, token in jose_cases("json_web_signature_test.json")
        if test["result"] == "invalid" and len(members) == 1 and why_refused(members[0]) is None
    ]
    assert len(reached) >= 35
    assert set(reached) <= {"document_bad_signature", "document_unknown_key"}


def signature_cases():
    for group in published_json("wycheproof", "ecdsa_secp256r1_sha256_p1363_test.json")["testGroups"]:
        point = bytes.fromhex(group["publicKey"]["uncompressed"])
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        for test in group["tests"]:
            yield test, public, bytes.fromhex(test["sig"])


@pytest.mark.parametrize("reader", SIGNATURE_READERS)
def test_wycheproof_signatures_are_judged_exactly_as_published(reader):
    judged = 0
    for test, public, signature in signature_cases():
        good = SIGNATURE_READERS[reader](public, bytes.fromhex(test["msg"]), signature)
        assert good == (test["result"] == "valid"), (test["tcId"], test["comment"])
        judged += 1
    assert judged == 262


def test_a_published_signature_put_under_a_card_makes_no_card_and_stops_no_reader():
    """The keys and the edges of r and s that break libraries, in both encodings and by both readers of each."""
    for test, public, signature in signature_cases():
        key = VerificationKey(issuer=ISSUER, kid="wcc-vector", public=public)
        keys = KeySet([key])
        signed = b".".join(b64url_encode(as_bytes(part)) for part in (header(kid=key.kid), wire()))
        token = signed + b"." + b64url_encode(signature)
        card = encode([encode(headers(h4=key.cose_kid)), {}, PAYLOAD, signature])
        answers = [verify(token, keys, NOW) for verify in (verify_card, verify_card_pyjwt)]
        answers += [verify(card, keys, NOW) for verify in (verify_cwt, verify_cwt_cbor2)]
        assert set(answers) == {BAD_SIGNATURE}, test["tcId"]


def test_no_published_token_is_a_card_to_either_reader():
    for name in ("json_web_signature_test.json", "json_web_key_test.json"):
        for test, members, token in jose_cases(name):
            try:
                keys = KeySet.from_jwks(ISSUER, json.dumps({"keys": members}).encode())
            except InvalidKeyError:
                continue
            answers = [verify(token.encode(), keys, NOW) for verify in (verify_card, verify_card_pyjwt)]
            assert answers[0] == answers[1], test["tcId"]
            assert isinstance(answers[0], Refused), test["tcId"]


RFC7515_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "kid": "rfc7515-a3",
    "use": "sig",
    "alg": "ES256",
}
RFC7515_SIGNED = (
    b"eyJhbGciOiJFUzI1NiJ9"
    b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
RFC7515_SIGNATURE = b"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"


def test_the_signature_of_rfc_7515_appendix_a3_is_good():
    key = VerificationKey.from_jwk(ISSUER, RFC7515_KEY)
    signature = b64url_decode(RFC7515_SIGNATURE)
    assert key.verifies(RFC7515_SIGNED, signature)
    assert not key.verifies(RFC7515_SIGNED + b"x", signature)


def test_the_token_of_rfc_7515_appendix_a3_has_no_kid_and_is_therefore_no_document_here():
    keys = KeySet.from_jwks(ISSUER, {"keys": [RFC7515_KEY]})
    with pytest.raises(TokenError) as caught:
        verify_compact(RFC7515_SIGNED + b"." + RFC7515_SIGNATURE, keys, typ=None)
    assert caught.value.code == "document_bad_signature"
