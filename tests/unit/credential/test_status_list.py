"""If these fail, a relying party opens its door to a revoked card, or a stranger's list fills its memory."""

import json
import re
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.credential.encoding import b64url_decode, b64url_encode
from entitlements.credential.errors import InvalidEncodingError
from entitlements.credential.es256 import SIGNATURE_BYTES
from entitlements.credential.jws import sign_compact
from entitlements.credential.keys import SigningKey
from entitlements.credential.status import (
    MAX_TOKEN_CHARS,
    STATUS_TYP,
    StatusList,
    StatusRefusal,
    read_status_list,
    sign_status_list,
    status_of,
    unverified_status_list,
)
from entitlements.credential.statusbits import (
    MAX_ENTRIES,
    Status,
    deflate,
    inflate,
    packed_bytes,
    status_at,
    with_statuses,
)
from entitlements.model import Instant
from tests.support.cards import KEY, KEYS, NEIGHBOUR, NOW, RBKC, STRANGER, WCC
from tests.support.vectors import published_json

URI = "https://cards.wcc.example/v1/tenants/wcc/status"

relaxed = settings(deadline=None)
bit_sizes = st.sampled_from([1, 2, 4, 8])


def listing(**changes):
    fields: dict[str, Any] = {
        "uri": URI,
        "issued_at": Instant(NOW - 60),
        "expires_at": Instant(NOW + 3600),
        "ttl": 300,
        "bits": 2,
        "packed": with_statuses(bytes(4), [(1, Status.INVALID), (6, Status.SUSPENDED)], 2),
    }
    return StatusList(**fields | changes)


def signed(payload, typ=STATUS_TYP, key=KEY):
    return sign_compact(payload if isinstance(payload, bytes) else json.dumps(payload).encode(), typ, key)


def claims(**changes):
    members = {
        "sub": URI,
        "iat": NOW - 60,
        "exp": NOW + 3600,
        "ttl": 300,
        "status_list": {"bits": 2, "lst": lst(bytes(4))},
    }
    return {name: value for name, value in (members | changes).items() if value is not ...}


def lst(packed):
    return b64url_encode(zlib.compress(packed)).decode()


def read(token, keys=KEYS, now=NOW, uri=URI, **more):
    return read_status_list(token, keys, now, uri=uri, **more)


# The draft's own vectors

ANOTHER_ZLIB = re.fullmatch(r"[0-9.]+", zlib.ZLIB_RUNTIME_VERSION) is None
"""zlib-ng and others have a word in their version. They write the same array in other octets, as the draft allows."""


def of_the_draft(number):
    """A vector, the array that it is of, and its statuses by index."""
    vector = published_json("status-list", "vectors.json")[number]
    bits, statuses = vector["bits"], {int(index): status for index, status in vector.get("statuses", {}).items()}
    if "bytes_hex" in vector:
        return vector, bytes.fromhex(vector["bytes_hex"]), statuses
    return vector, with_statuses(bytes(packed_bytes(vector["size"], bits)), statuses.items(), bits), statuses


@pytest.mark.skipif(
    ANOTHER_ZLIB,
    reason=f"zlib {zlib.ZLIB_RUNTIME_VERSION} compresses in its own way: inflated octets are compared below",
)
@pytest.mark.parametrize("number", range(6))
def test_our_lists_are_the_drafts_byte_for_byte(number):
    vector, packed, _ = of_the_draft(number)
    assert b64url_encode(deflate(packed)).decode() == vector["lst"]


@pytest.mark.parametrize("number", range(6))
def test_our_lists_and_the_drafts_are_one_array_whatever_zlib_there_is(number):
    vector, packed, statuses = of_the_draft(number)
    bits, ours = vector["bits"], deflate(packed)
    assert ours[:2] == b64url_decode(vector["lst"].encode())[:2] == b"\x78\xda", "the highest level, as the draft asks"
    assert zlib.decompress(ours) == packed
    assert inflate(b64url_decode(vector["lst"].encode()), len(packed)) == packed
    token = signed(claims(status_list={"bits": bits, "lst": vector["lst"]}))
    for index, status in statuses.items():
        assert status_of(token, KEYS, index, NOW, uri=URI) == status
    read_back = read(token)
    assert isinstance(read_back, StatusList)
    assert read_back.entries == vector["size"]
    assert read_back.packed == packed


def test_the_drafts_first_two_examples_are_read_status_by_status():
    # Section "Compressed Byte Array", one bit; section "2-bit Status List", as printed in the draft.
    ones = inflate(b64url_decode(b"eNrbuRgAAhcBXQ"), 2)
    assert ones is not None
    assert [status_at(ones, index, 1) for index in range(16)] == [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    twos = inflate(b64url_decode(b"eNo76fITAAPfAgc"), 3)
    assert twos is not None
    assert [status_at(twos, index, 2) for index in range(12)] == [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]


# Bits


@given(bits=bit_sizes, size=st.integers(1, 40), data=st.data())
@relaxed
def test_each_card_keeps_its_own_status_whatever_becomes_of_its_neighbours(bits, size, data):
    entries = size * 8 // bits
    one_change = st.tuples(st.integers(0, entries - 1), st.integers(0, 2**bits - 1))
    changes = data.draw(st.lists(one_change, max_size=60))
    expected = dict.fromkeys(range(entries), 0) | dict(changes)
    packed = with_statuses(bytes(size), changes, bits)
    assert {index: status_at(packed, index, bits) for index in range(entries)} == expected
    in_two_steps = with_statuses(with_statuses(bytes(size), changes[:30], bits), changes[30:], bits)
    assert in_two_steps == packed


@given(bits=bit_sizes, size=st.integers(0, 5), beyond=st.integers(0, 2**70))
@relaxed
def test_a_card_beyond_the_list_is_never_taken_for_a_valid_one(bits, size, beyond):
    packed, end = bytes(size), size * 8 // bits
    assert status_at(packed, end + beyond, bits) is None
    assert status_at(packed, -1 - beyond, bits) is None
    for index in (end + beyond, -1 - beyond):
        with pytest.raises(IndexError):
            with_statuses(packed, [(index, 0)], bits)


@pytest.mark.parametrize(("status", "bits"), [(4, 2), (-1, 2), (2, 1), (256, 8)])
def test_a_status_that_does_not_fit_spills_into_no_neighbour(status, bits):
    with pytest.raises(ValueError, match="does not fit"):
        with_statuses(bytes(2), [(0, status)], bits)


# Compression


@given(packed=st.binary(max_size=3000), quick=st.booleans())
@relaxed
def test_both_ways_to_compress_are_plain_zlib(packed, quick):
    compressed = deflate(packed, quick=quick)
    assert zlib.decompress(compressed) == packed
    assert inflate(compressed, len(packed)) == packed
    assert not packed or inflate(compressed, len(packed) - 1) is None


@given(compressed=st.binary(max_size=200))
@relaxed
def test_rubbish_is_no_list(compressed):
    try:
        packed = inflate(compressed, 1000)
    except InvalidEncodingError:
        return
    assert packed is None or zlib.decompress(compressed) == packed


@pytest.mark.parametrize(
    "spoil", [lambda z: z[:-1], lambda z: z + b"\0", lambda z: z[:-4] + b"\0\0\0\0", lambda _: b""]
)
def test_a_list_that_is_cut_off_or_spoilt_is_no_list(spoil):
    with pytest.raises(InvalidEncodingError):
        inflate(spoil(deflate(b"\x01" * 50)), 1000)


def test_a_zip_bomb_is_put_down_unopened(monkeypatch):
    bomb = zlib.compress(bytes(packed_bytes(MAX_ENTRIES, 2) * 20), 9)
    given_out = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self):
            self._real = real()

        def decompress(self, data, most):
            produced = self._real.decompress(data, most)
            given_out.append(len(produced))
            return produced

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    token = signed(claims(status_list={"bits": 2, "lst": b64url_encode(bomb).decode()}))
    assert read(token) is StatusRefusal.TOO_LARGE
    assert sum(given_out) <= packed_bytes(MAX_ENTRIES, 2) + 1


# Tokens


def test_a_revoked_and_a_suspended_card_are_told_from_a_valid_one():
    token = sign_status_list(listing(), KEY)
    asked = [status_of(token, KEYS, index, NOW, uri=URI) for index in range(8)]
    expected = [Status.VALID] * 8
    expected[1], expected[6] = Status.INVALID, Status.SUSPENDED
    assert asked == expected
    assert status_of(token, KEYS, 16, NOW, uri=URI) is StatusRefusal.OUT_OF_BOUNDS
    assert status_of(token, KEYS, -1, NOW, uri=URI) is StatusRefusal.OUT_OF_BOUNDS


@given(
    bits=bit_sizes,
    packed=st.binary(max_size=100),
    issued_at=st.integers(0, NOW),
    lasts=st.none() | st.integers(1, 10**9),
    ttl=st.none() | st.integers(1, 10**9),
    quick=st.booleans(),
)
@relaxed
def test_what_was_signed_is_what_is_read(bits, packed, issued_at, lasts, ttl, quick):
    expires_at = None if lasts is None else issued_at + lasts
    made = listing(bits=bits, packed=packed, issued_at=issued_at, expires_at=expires_at, ttl=ttl)
    token = sign_status_list(made, KEY, quick=quick)
    assert unverified_status_list(token) == made
    expected = StatusRefusal.EXPIRED if expires_at is not None and expires_at <= NOW else made
    assert read(token) == expected


def test_a_list_ends_with_its_last_second():
    token = sign_status_list(listing(), KEY)
    assert isinstance(read(token, now=NOW + 3599), StatusList)
    assert read(token, now=NOW + 3600) is StatusRefusal.EXPIRED


def test_a_list_from_the_future_is_refused_beyond_the_leeway():
    token = sign_status_list(listing(issued_at=Instant(NOW + 10)), KEY)
    assert isinstance(read(token, leeway=10), StatusList)
    assert read(token, leeway=9) is StatusRefusal.FROM_THE_FUTURE


def test_the_neighbours_list_says_nothing_of_our_cards():
    theirs = sign_status_list(listing(), NEIGHBOUR)
    assert read(theirs, issuer=WCC) is StatusRefusal.UNKNOWN_KEY
    assert isinstance(read(theirs, issuer=RBKC), StatusList)
    other = sign_status_list(listing(uri=URI.replace("wcc/status", "rbkc/status")), KEY)
    assert read(other) is StatusRefusal.OTHER_LIST


def test_a_key_that_was_not_published_signs_no_list():
    assert read(sign_status_list(listing(), STRANGER)) is StatusRefusal.UNKNOWN_KEY
    namesake = SigningKey.of(WCC, STRANGER.private, KEY.kid)
    assert read(sign_status_list(listing(), namesake)) is StatusRefusal.BAD_SIGNATURE


@pytest.mark.parametrize("typ", ["JWT", "rescard+jwt", "statuslist+cwt", "application/statuslist+jwt", None])
def test_no_other_token_of_the_council_passes_for_its_list(typ):
    assert read(signed(claims(), typ=typ)) is StatusRefusal.BAD_SIGNATURE


@given(place=st.integers(0), bit=st.integers(0, 7))
@relaxed
def test_a_list_with_one_bit_changed_is_refused(place, bit):
    token = bytearray(sign_status_list(listing(), KEY).encode())
    token[place % len(token)] ^= 1 << bit
    assert isinstance(read(bytes(token)), StatusRefusal)


def test_an_unsigned_list_is_refused():
    header, payload, _ = sign_status_list(listing(), KEY).split(".")
    none = b64url_encode(b'{"alg":"none","kid":"%b","typ":"statuslist+jwt"}' % KEY.kid.encode()).decode()
    zeros = b64url_encode(bytes(SIGNATURE_BYTES)).decode()
    for token in (f"{header}.{payload}.", f"{none}.{payload}.", f"{header}.{payload}.{zeros}", f"{header}.{payload}"):
        assert read(token) is StatusRefusal.BAD_SIGNATURE


WRONG = {
    "no subject": {"sub": ...},
    "subject is a number": {"sub": 5},
    "subject is no address": {"sub": "wcc"},
    "no iat": {"iat": ...},
    "iat is text": {"iat": str(NOW)},
    "iat is a float": {"iat": float(NOW)},
    "iat is true": {"iat": True},
    "iat is negative": {"iat": -1},
    "exp is a float out of range": {"exp": 1e308},
    "exp is text": {"exp": "1e308"},
    "exp is null": {"exp": None},
    "exp is before iat": {"exp": NOW - 61},
    "ttl is nought": {"ttl": 0},
    "ttl is negative": {"ttl": -5},
    "ttl is null": {"ttl": None},
    "ttl is a float": {"ttl": 300.5},
    "no list": {"status_list": ...},
    "list is text": {"status_list": "eNpjAAAAAQAB"},
    "list is an array": {"status_list": []},
    "no bits": {"status_list": {"lst": lst(b"")}},
    "3 bits": {"status_list": {"bits": 3, "lst": lst(b"")}},
    "0 bits": {"status_list": {"bits": 0, "lst": lst(b"")}},
    "16 bits": {"status_list": {"bits": 16, "lst": lst(b"")}},
    "bits are true": {"status_list": {"bits": True, "lst": lst(b"")}},
    "bits are text": {"status_list": {"bits": "2", "lst": lst(b"")}},
    "no lst": {"status_list": {"bits": 2}},
    "lst is null": {"status_list": {"bits": 2, "lst": None}},
    "lst is padded": {"status_list": {"bits": 2, "lst": lst(b"\0") + "=="}},
    "lst is not base64url": {"status_list": {"bits": 2, "lst": "é"}},
    "lst is not compressed": {"status_list": {"bits": 2, "lst": b64url_encode(b"\0\0\0").decode()}},
    "lst is gzip": {"status_list": {"bits": 2, "lst": b64url_encode(zlib.compress(b"\0", wbits=31)).decode()}},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_signed_document_that_is_no_list_is_refused(wrong):
    assert isinstance(read(signed(claims())), StatusList), "right but for that"
    assert read(signed(claims(**wrong))) is StatusRefusal.MALFORMED


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"{", b'{"sub":1,"sub":1}', b"\xff", b"[" * 5000])
def test_a_signed_text_that_is_no_json_object_is_refused(payload):
    assert read(signed(payload)) is StatusRefusal.MALFORMED


def test_a_subject_that_stands_twice_is_refused():
    twice = json.dumps(claims())[:-1] + f', "sub": "{URI}"}}'
    assert read(signed(twice.encode())) is StatusRefusal.MALFORMED


def test_a_list_that_says_more_than_it_must_is_still_read():
    more = claims(iss="https://wcc.example", aggregation="x")
    more["status_list"]["aggregation_uri"] = "https://wcc.example/all"
    assert isinstance(read(signed(more)), StatusList)


def test_a_list_beyond_the_length_cap_is_not_decoded():
    assert read("." * (MAX_TOKEN_CHARS + 1)) is StatusRefusal.BAD_SIGNATURE
    assert unverified_status_list("a." + "A" * MAX_TOKEN_CHARS + ".b") is StatusRefusal.MALFORMED


@given(token=st.text(max_size=80) | st.binary(max_size=80))
@relaxed
def test_nothing_that_is_fetched_stops_a_relying_party(token):
    assert isinstance(read(token), StatusRefusal)
    if isinstance(token, str):
        assert isinstance(unverified_status_list(token), StatusRefusal)


@pytest.mark.parametrize(
    "wrong",
    [
        {"uri": "ftp://x"},
        {"uri": "https://x.example/" + "a" * 120},
        {"issued_at": 1.5},
        {"expires_at": NOW - 61},
        {"ttl": 0},
        {"bits": 3},
        {"packed": bytes(packed_bytes(MAX_ENTRIES, 2) + 1)},
    ],
)
def test_the_service_cannot_make_a_list_that_nobody_reads(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: "):
        listing(**wrong)
