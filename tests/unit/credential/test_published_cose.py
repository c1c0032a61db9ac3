"""If these fail, our COSE is not the world's: others cannot check our cards, or forged ones are let in.

Published messages run against our own entry points. A result that differs from the published one is listed with its
reason, in words.
"""

import gzip
import json
from base64 import b64decode
from collections import Counter
from hashlib import sha256

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential import InvalidEncodingError, InvalidKeyError, VerificationKey
from entitlements.credential.base45 import b45_decode
from entitlements.credential.cbor import decode
from entitlements.credential.cose import parse_sign1, signature_input
from entitlements.credential.es256 import verify_digest
from entitlements.model import TenantId
from tests.support.vectors import published

RFC_9052_KEY = (
    "bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff",
    "20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e",
)
RFC_8392_KEY = (
    "143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f",
    "60f7f1a780d8a783bfb7a2dd6b2796e8128dbbcef9d3d168db9529971a36e7b9",
)
RFC_9052_C_2_1 = (
    "d28443a10126a10442313154546869732069732074686520636f6e74656e742e58408eb33e4ca31d1c465ab05aac34cc6b23d58fef5c083106"
    "c4d25a91aef0b0117e2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5a4c345cacb36"
)
RFC_8392_A_3 = (
    "d28443a10126a104524173796d6d657472696345434453413235365850a70175636f61703a2f2f61732e6578616d706c652e636f6d02656572"
    "696b77037818636f61703a2f2f6c696768742e6578616d706c652e636f6d041a5612aeb0051a5610d9f0061a5610d9f007420b7158405427c1"
    "ff28d23fbad1f29c4c7c6a555e601d6fa29f9179bc3d7438bacaca5acd08c8d4d4f96131680c429a01f85951ecee743a52b9b63632c5720912"
    "0e1c9e30"
)
COSE_WG_EXTERNAL = bytes.fromhex("11aa22bb33cc44dd55006699")
COSE_WG_EXTERNAL_SIGNATURE = (
    "10729cd711cb3813d8d8e944a8da7111e7b258c9bdca6135f7ae1adbee9509891267837e1e33bd36c150326ae62755c6bd8e540c3e8f92d7d2"
    "25e8db72b8820b"
)


def public(coordinates):
    point = b"\x04" + b"".join(map(bytes.fromhex, coordinates))
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def signed_as(message, key, external=b"", signature=None):
    protected, _, payload, own = cbor2.loads(bytes.fromhex(message)).value
    digest = sha256(signature_input(protected, external, payload)).digest()
    assert not verify_digest(key, sha256(signature_input(protected, external + b"x", payload)).digest(), own)
    return verify_digest(key, digest, signature or own)


@pytest.mark.parametrize(
    ("message", "coordinates"), [(RFC_9052_C_2_1, RFC_9052_KEY), (RFC_8392_A_3, RFC_8392_KEY)], ids=["9052", "8392"]
)
def test_the_signatures_of_rfc_9052_c_2_1_and_rfc_8392_a_3_cover_what_we_say(message, coordinates):
    assert signed_as(message, public(coordinates))
    with pytest.raises(InvalidEncodingError, match="unprotected"):  # both name their key where nobody signed it
        parse_sign1(bytes.fromhex(message), tagged=True)


def test_external_data_is_signed_as_in_the_working_groups_example():
    """cose-wg/Examples, sign1-tests/sign-pass-02."""
    signature = bytes.fromhex(COSE_WG_EXTERNAL_SIGNATURE)
    assert signed_as(RFC_9052_C_2_1, public(RFC_9052_KEY), COSE_WG_EXTERNAL, signature)


def test_the_claims_of_rfc_8392_a_1_are_read():
    claims = decode(cbor2.loads(bytes.fromhex(RFC_8392_A_3)).value[2])
    assert claims == {
        1: "coap://as.example.com",
        2: "erikw",
        3: "coap://light.example.com",
        4: 1444064944,
        5: 1443944944,
        6: 1443944944,
        7: bytes.fromhex("0b71"),
    }


# EU Digital COVID Certificates: real messages of some thirty issuers' software.

KID_UNSIGNED = "its key is named in the unprotected header, which nobody signed"
KID_FIRST = "the keys of its header are not in the order of deterministic encoding"
CONTENT_TYPE = "its header carries a content type; ours carries alg and kid only"
RSA = "it is signed with RSA, and ES256 is the one algorithm of this project"
P384 = "its header says ES256, its key is on P-384"
NO_TAG = "it does not begin with the tag of COSE_Sign1, which is asked for"
TWO_TAGS = "it carries the tag of CWT beside that of COSE_Sign1"
DIFFERENCES = {KID_UNSIGNED: 31, KID_FIRST: 57, CONTENT_TYPE: 19, RSA: 15, P384: 3, NO_TAG: 3, TWO_TAGS: 1}


def certificates():
    text = gzip.decompress(published("dgc", "dgc-testdata.jsonl.gz").read_bytes())
    return [json.loads(line) for line in text.splitlines()]


def elliptic_key(certificate):
    key = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # RSA is refused by the header, before its key is asked for
    return key


def verify(message, certificate):
    """``ok``, or what our entry points say."""
    try:
        parts = parse_sign1(message, tagged=True)
        key = VerificationKey(issuer=TenantId("wcc"), kid="dsc", public=elliptic_key(certificate))
    except (InvalidEncodingError, InvalidKeyError) as error:
        return str(error)
    return "ok" if verify_digest(key.public, parts.digest(), parts.signature) else "bad signature"


def why_refused(message, certificate):
    """The listed reason for which we refuse what is called valid; seen with another library."""
    if message[:1] != b"\xd2":
        return TWO_TAGS if message[:2] == b"\xd8\x3d" else NO_TAG
    protected, unprotected, _, _ = cbor2.loads(message).value
    header = cbor2.loads(protected) if protected else {}
    if unprotected:
        return KID_UNSIGNED
    if header.get(1) == -37:
        return RSA
    if 3 in header:
        return CONTENT_TYPE
    if list(header) == [4, 1]:
        return KID_FIRST
    if elliptic_key(certificate).curve.name == "secp384r1":
        return P384
    return None


def test_health_certificates_are_verified_as_published_but_for_listed_differences():
    counted: Counter[tuple[bool, bool]] = Counter()
    differences: Counter[str] = Counter()
    for case in certificates():
        expected = case["EXPECTEDRESULTS"].get("EXPECTEDVERIFY")
        if expected is None or "COSE" not in case:
            continue
        message, certificate = bytes.fromhex(case["COSE"]), b64decode(case["TESTCTX"]["CERTIFICATE"])
        result = verify(message, certificate)
        counted[expected, result == "ok"] += 1
        if expected and result != "ok":
            reason = why_refused(message, certificate)
            assert reason is not None, (case["file"], result)
            differences[reason] += 1
    assert counted == {(True, True): 415, (True, False): 129, (False, False): 7}
    assert differences == DIFFERENCES


def test_a_health_certificate_with_one_bit_changed_is_refused():
    tried = 0
    for case in certificates()[::9]:
        if not case["EXPECTEDRESULTS"].get("EXPECTEDVERIFY") or "COSE" not in case:
            continue
        message, certificate = bytes.fromhex(case["COSE"]), b64decode(case["TESTCTX"]["CERTIFICATE"])
        if verify(message, certificate) != "ok":
            continue
        for place in range(0, len(message), 23):
            assert verify(message[:place] + bytes((message[place] ^ 4,)) + message[place + 1 :], certificate) != "ok"
        tried += 1
    assert tried >= 30


def test_the_base45_of_health_certificates_is_read_exactly_as_published():
    judged: Counter[bool] = Counter()
    for case in certificates():
        text = case.get("PREFIX") or ""
        if not text.startswith("HC1:"):
            continue
        try:
            raw = b45_decode(text[4:].encode())
        except InvalidEncodingError:
            raw = None
        expected = case["EXPECTEDRESULTS"].get("EXPECTEDB45DECODE")
        if expected is not None:
            assert (raw is not None) == expected, case["file"]
            judged[expected] += 1
        if raw is not None and case.get("COMPRESSED"):
            assert raw.hex() == case["COMPRESSED"].lower(), case["file"]
    assert judged == {True: 537, False: 1}


FLOAT_OR_TAG = "a CBOR tag, float or simple value that is not read here"
NOT_IN_ORDER = "the keys of a CBOR map are not in order, or one stands twice"


def read_cbor(payload, *, in_order):
    try:
        return "read", decode(payload, ordered=in_order)
    except InvalidEncodingError as error:
        return str(error), None


def test_the_cbor_of_health_certificates_is_read_but_for_times_as_floats_or_tags():
    read = refused = in_order = 0
    for case in certificates():
        try:
            payload = parse_sign1(bytes.fromhex(case.get("COSE", "")), tagged=True).payload
        except InvalidEncodingError:
            continue
        assert case["EXPECTEDRESULTS"].get("EXPECTEDDECODE") is True
        whole = cbor2.loads(payload)
        result, claims = read_cbor(payload, in_order=False)
        if result == FLOAT_OR_TAG:
            refused += 1
            continue
        assert (result, claims) == ("read", whole)
        read += 1
        result, claims = read_cbor(payload, in_order=True)
        if result == "read":
            in_order += 1
            assert (claims, cbor2.dumps(claims)) == (whole, payload)
        else:
            assert result == NOT_IN_ORDER
    assert (read, refused, in_order) == (397, 21, 76)
