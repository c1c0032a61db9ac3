"""The page of secrets on the wire: what is wrong is refused whole, and nothing of it shows in a log."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.credential.encoding import b64url_encode
from entitlements.wire.feed import Beat, encode
from entitlements.wire.secrets import PinVerifier, SecretsPage, UidCard, check_verifier, decode_secrets

PHC = "$argon2id$v=19$m=19456,t=2,p=1$+6Gi4lWhoymuI5/uXUIeKg$EzDxdjNT4aOGOAsjx0kIKkgpyF7Kgq8kG4D2zUD8dk0"


def text(octets: bytes) -> str:
    return b64url_encode(octets).decode()


def page(**changes: Any) -> dict[str, Any]:
    return {
        "tag": "t1",
        "totp": {"wcc": [text(bytes(32)), text(b"\x01" * 32)]},
        "chip": {"rbkc": [text(b"\x02" * 16)]},
        "pins": [{"tenant": "wcc", "index": 7, "tag": 9, "verifier": PHC, "version": 3}],
        "pin_tenants": ["wcc"],
        "uids": [
            {
                "tenant": "wcc",
                "uid_hash": text(b"\x03" * 32),
                "index": 8,
                "card": text(b"\xff\x00\x00\x01abcd"),
                "issued_at": 10,
                "expires_at": 20,
                "issue_number": 0,
            }
        ],
        "uid_keys": {"wcc": [text(b"\x04" * 32)]},
    } | changes


def test_what_was_sent_is_what_the_gate_holds() -> None:
    made = decode_secrets(json.dumps(page()))
    assert made.totp_masters() == {"wcc": (bytes(32), b"\x01" * 32)}
    assert made.chip_masters() == {"rbkc": (b"\x02" * 16,)}
    assert made.uid_masters() == {"wcc": (b"\x04" * 32,)}
    assert made.uids[0].card_id == b"\xff\x00\x00\x01abcd"
    assert made.uids[0].tag == 0xFF000001
    assert decode_secrets(encode(made)) == made
    assert not made.empty
    assert decode_secrets('{"tag": "x", "something": "of a later version"}').empty


@pytest.mark.parametrize(
    "changes",
    [
        {"totp": {"wcc": [text(bytes(31))]}},
        {"totp": {"wcc": [text(bytes(32)) + "="]}},
        {"chip": {"wcc": [text(bytes(32))]}},
        {"chip": {"Wcc": [text(bytes(16))]}},
        {"chip": {"wcc": "AAAAAAAAAAAAAAAAAAAAAA"}},
        {"uid_keys": {"wcc": ["é"]}},
        {"pin_tenants": ["../wcc"]},
        {"pins": [{"tenant": "wcc", "index": 7, "tag": 1 << 32, "verifier": PHC, "version": 3}]},
        {"pins": [{"tenant": "wcc", "index": -1, "tag": 0, "verifier": PHC, "version": 3}]},
        {"pins": [{"tenant": "wcc", "index": 7, "tag": 9, "verifier": PHC, "version": 0}]},
        {"pins": [{"tenant": "wcc", "index": 7, "tag": 9, "verifier": "4711", "version": 1}]},
        {"pins": [{"tenant": "wcc", "index": 7, "tag": 9, "verifier": PHC}]},
        {"uids": [page()["uids"][0] | {"card": text(bytes(7))}]},
        {"uids": [page()["uids"][0] | {"uid_hash": text(bytes(16))}]},
        {"uids": [page()["uids"][0] | {"expires_at": 10}]},
        {"tag": None},
    ],
)
def test_a_page_with_one_wrong_value_is_not_half_believed(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        decode_secrets(json.dumps(page(**changes)))
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("m=19456", "m=4000000"),  # 4 GB at a gate of 1 GB
        ("m=19456", "m=65537"),
        ("m=19456", "m=7"),
        ("t=2", "t=17"),
        ("t=2", "t=99"),
        ("p=1", "p=9"),
        ("p=1", "p=5"),
        ("m=19456", "m=019456"),
        ("argon2id", "argon2i"),
        ("v=19", "v=16"),
        ("dk0", ""),
        ("dk0", "dk0\n"),
    ],
)
def test_no_page_can_make_a_gate_run_out_of_memory_or_time(old: str, new: str) -> None:
    with pytest.raises(ValueError, match="a verifier"):
        check_verifier(PHC.replace(old, new))


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)))
def test_nonsense_in_any_place_is_refused_and_never_a_fault(nonsense: Any) -> None:
    for name in page():
        sent = page(**{name: nonsense})
        try:
            decode_secrets(json.dumps(sent))
        except msgspec.DecodeError:
            continue
        assert isinstance(nonsense, str if name == "tag" else list)


def test_nothing_of_a_secret_shows_in_a_log() -> None:
    made = decode_secrets(json.dumps(page()))
    shown = f"{made!r} {made} {made.pins!r} {made.uids!r}"
    for secret in (PHC, text(bytes(32)), text(b"\x02" * 16), text(b"\x04" * 32), "argon2id"):
        assert secret not in shown
    assert isinstance(made, SecretsPage)
    assert isinstance(made.uids[0], UidCard)


def test_a_beat_of_an_older_service_is_still_understood() -> None:
    assert msgspec.json.decode(b'{"server_time": 1, "heads": {}}', type=Beat).secrets is None
    assert b'"secrets":"abc"' in encode(Beat(server_time=1, heads={}, secrets="abc"))


def test_a_verifier_is_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="PHC"):
        PinVerifier(tenant="wcc", index=1, tag=1, verifier="x", version=1)
