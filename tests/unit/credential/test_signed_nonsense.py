"""If these fail, claims that no issuer should have signed are believed, or read in two ways by two parsers.

All tokens here are well signed: only a faulty issuer, or a thief of its key, could make them.
"""

import pytest

from entitlements.credential.claims import BAD_CLAIMS
from tests.support.cards import BOTH_PATHS, KEYS, NOW, STRANGER, as_bytes, header, token, wire


@pytest.fixture(params=BOTH_PATHS.values(), ids=list(BOTH_PATHS))
def verify(request):
    return request.param


def test_claims_with_a_key_twice_are_refused(verify):
    claims = as_bytes(wire())
    for twice in (
        claims[:-1] + b',"exp":' + str(NOW + 10**8).encode() + b"}",
        claims.replace(b'{"iss"', b'{"iss":"rbkc","iss"'),
        claims.replace(b'"idx":4711', b'"idx":1,"idx":4711'),
        claims[:-1] + b',"\\u0065xp":' + str(NOW + 10**8).encode() + b"}",
        claims[:-1] + b',"unknown":{"a":1,"a":2}}',
    ):
        assert verify(token(header(), twice), KEYS, NOW) == BAD_CLAIMS


@pytest.mark.parametrize(
    "change",
    [
        {"exp": None},
        {"exp": str(NOW + 1000)},
        {"exp": "1e308"},
        {"exp": 1e308},
        {"exp": NOW + 1000.0},
        {"exp": NOW + 1000.5},
        {"exp": True},
        {"exp": [NOW + 1000]},
        {"exp": -1},
        {"exp": 2**63},
        {"exp": 10**400},
        {"exp": NOW - 3600},
        {"iat": None},
        {"iat": str(NOW)},
        {"iat": float(NOW)},
        {"iat": False},
        {"iat": -1},
        {"nbf": NOW - 10},
        {"nbf": "soon"},
        {"aud": "library"},
        {"aud": None, "iss": None},
        {"iss": "rbkc"},
        {"iss": ["wcc"]},
        {"iss": "WCC"},
        {"iss": "wcc\u0000"},
        {"jti": None},
        {"jti": 7},
        {"jti": "AQIDBAUGBw"},
        {"jti": "AQIDBAUGBwg="},
        {"jti": "AQIDBAUGBwh"},
        {"jti": "AQIDBAUGBwé"},
        {"fn": None},
        {"fn": "42"},
        {"fn": -1},
        {"fn": 2**63},
        {"fn": 4.2},
        {"ch": None},
        {"ch": "STATIC"},
        {"ch": "paper"},
        {"ch": 1},
        {"status": None},
        {"status": []},
        {"status": {}},
        {"status": {"status_list": {"idx": 1}}},
        {"status": {"status_list": {"idx": True, "uri": "https://a.example"}}},
        {"status": {"status_list": {"idx": 1.0, "uri": "https://a.example"}}},
        {"status": {"status_list": {"idx": 2**32, "uri": "https://a.example"}}},
        {"status": {"status_list": {"idx": -1, "uri": "https://a.example"}}},
        {"status": {"status_list": {"idx": 1, "uri": "file:///etc/passwd"}}},
        {"cnf": {}},
        {"cnf": {"jwk": {}}},
        {"cnf": {"jwk": {**STRANGER.verification_key.to_jwk(), "d": "AAAA"}}},
        {"cnf": {"jwk": {"kty": "oct", "k": "AAAA"}}},
    ],
    ids=str,
)
def test_signed_nonsense_is_no_card(verify, change):
    assert verify(token(header(), wire(**change)), KEYS, NOW) == BAD_CLAIMS


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"card"',
        b"{",
        b"\xff\xfe",
        b"\xef\xbb\xbf" + as_bytes(wire()),
        as_bytes(wire()).decode().encode("utf-16"),
        as_bytes(wire()).replace(b'"wcc"', b'"wc\xff"'),
        as_bytes(wire()).replace(b'"fn":42', b'"fn":NaN'),
        as_bytes(wire()).replace(b'"fn":42', b'"fn":Infinity'),
        as_bytes(wire()).replace(b'"fn":42', b'"fn":042'),
        as_bytes(wire()).replace(b'"fn":42', b'"fn":4.2e1'),
        as_bytes(wire()).replace(b'"fn":42', b'"fn":' + b"9" * 300),
        as_bytes(wire())[:-1] + b',"x":"\\ud800"}',
        as_bytes(wire())[:-1] + b',"x":1e999}',
        as_bytes(wire()) + b"\x00",
        as_bytes(wire()) + b"{}",
        b'{"a":' + b"[" * 200,
    ],
)
def test_signed_bytes_that_are_no_strict_json_are_no_card(verify, payload):
    assert verify(token(header(), payload), KEYS, NOW) == BAD_CLAIMS
