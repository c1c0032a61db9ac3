"""If these fail, somebody can hold a code to a camera over which a gate broods while the queue waits.

What a code costs is counted, not timed: checks of signatures (some 0.1 ms each), keys and codes of shared secrets (some
0.01 ms), lines of Python (well below 1 us). Within the bounds below it is a few milliseconds on any machine.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from entitlements.credential import (
    Channel,
    Refused,
    SiteSecrets,
    UnverifiedPresentation,
    VerifiedCard,
    VerifiedMemory,
    sign_card,
    sign_card_cwt,
    verify_presentation,
)
from entitlements.credential.base45 import b45_encode
from entitlements.credential.claims import CardClaims
from entitlements.credential.cwt import MAX_CWT_BYTES
from entitlements.credential.encoding import b64url_encode
from entitlements.credential.jwt import MAX_CARD_CHARS
from entitlements.credential.sitesecrets import MAX_MASTERS
from entitlements.credential.totp import hotp, totp_secret, totp_step, totp_text
from entitlements.credential.uid import UID_MEDIA, uid_hash
from tests.support.cards import KEY, KEYS, NOW, PHONE_KEY, as_bytes, card_claims, header, live_code, sign_texts, wire
from tests.support.chips import make_chip, tap
from tests.support.cwt import HONEST, PAYLOAD, cwt, encode, members

MASTERS: Final = tuple(hashlib.sha256(bytes((number,))).digest() for number in range(MAX_MASTERS))
"""As many as a site may hold; the honest codes here are of the last, which is tried last."""
UID: Final = bytes.fromhex("04112233445566")
SECRETS: Final = SiteSecrets(
    totp={"wcc": MASTERS, "rbkc": MASTERS},
    chip={"wcc": tuple(master[:16] for master in MASTERS)},
    uid_keys={"rbkc": MASTERS, "wcc": MASTERS},
    uids={uid_hash(MASTERS[-1], UID): card_claims()},
)

MOST_SIGNATURES: Final = 2
"""The council's, and the phone's own."""
MOST_POINTS: Final = 2
"""The phone's key, once to see that it is one and once to use it."""
MOST_MACS: Final = 60
"""Of each of eight masters two keys of a chip, a key of the reading and the MAC; three steps of a rotating code."""
MOST_LINES: Final = 8_000
"""Of Python. What takes most is claims of hundreds of tiny parts, which only a council could sign."""


class Cost:
    """What one presentation took: lines of Python, and calls of C functions by name."""

    def __init__(self, text: bytes, media: str, memory: VerifiedMemory | None = None) -> None:
        self.lines = 0
        self.calls: Counter[str] = Counter()
        presentation = UnverifiedPresentation(data=text, media=media)
        before: tuple[Any, Any] = sys.gettrace(), sys.getprofile()
        sys.settrace(self._line)
        sys.setprofile(self._call)
        try:
            self.result = verify_presentation(presentation, KEYS, NOW, memory, secrets=SECRETS)
        finally:
            sys.setprofile(before[1])
            sys.settrace(before[0])

    def _line(self, _frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        self.lines += event == "line"
        return self._line

    def _call(self, _frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            self.calls[argument.__name__] += 1

    @property
    def signatures(self) -> int:
        return self.calls["verify"]

    @property
    def points(self) -> int:
        return self.calls["from_public_bytes"]

    @property
    def macs(self) -> int:
        """HMACs, CMACs (each ends with ``finalize``) and blocks of AES."""
        return self.calls["finalize"] + self.calls["hmac_digest"]

    def check(self) -> None:
        assert self.signatures <= MOST_SIGNATURES, self.calls
        assert self.points <= MOST_POINTS, self.calls
        assert self.macs <= MOST_MACS, self.calls
        assert self.lines <= MOST_LINES
        # No call is one too many of itself: what is in the input cannot repeat anything without end.
        assert self.calls.total() <= MOST_LINES


LIVE: Final = card_claims(channel=Channel.LIVE, device_key=PHONE_KEY)
LIVE_CWT: Final = sign_card_cwt(LIVE, KEY)
CHIP: Final = tap(make_chip(master=MASTERS[-1][:16]))


def rotating(claims: CardClaims, master: bytes) -> bytes:
    digits = hotp(totp_secret(master, claims.card_id, claims.index), totp_step(NOW) + 1)
    return totp_text("wcc", claims.index, claims.card_id, digits).encode()


HONEST_CODES: Final[dict[str, tuple[bytes, str]]] = {
    "paper, JWT": (sign_card(card_claims(), KEY).encode(), "qr"),
    "a phone's card as JWT": (sign_card(LIVE, KEY).encode(), "qr"),
    "paper, CWT": (b"RP1:" + b45_encode(HONEST), "qr"),
    "phone": (live_code(LIVE_CWT, NOW).encode(), "qr"),
    "chip": (CHIP, "nfc-ndef"),
    "rotating code": (rotating(card_claims(), MASTERS[-1]), "qr"),
    "serial number": (b"RU1:" + UID.hex().upper().encode(), UID_MEDIA),
}


def filled(make: Callable[[bytes], bytes], piece: bytes, end: bytes, most: int) -> bytes:
    """What is made of a piece as often as the length cap lets it stand."""
    count = 1
    while len(make(piece * (count + 1) + end)) <= most:
        count += 1
    return make(piece * count + end)


def jwt_of(payload: bytes) -> bytes:
    return sign_texts(b64url_encode(as_bytes(header())), b64url_encode(payload))


def jwt_under(head: bytes) -> bytes:
    return sign_texts(b64url_encode(head), b64url_encode(as_bytes(wire())))


def crowded(claim: bytes) -> bytes:
    """Signed claims with one more, as CBOR."""
    added = bytes((PAYLOAD[0] + 1,)) + PAYLOAD[1:] + b"\x39\xff\xff" + claim
    return cwt(added)


def as_chip(octets: bytes) -> bytes:
    return b"https://cards.wcc.example#RN1:" + b64url_encode(octets) + b"." + b"0" * 32 + b"." + b"0" * 16


TINY_PARTS: Final = {
    "JWT of nested lists": filled(lambda x: jwt_of(b'{"a":' + x + b"1" + b"]" * x.count(b"[") + b"}"), b"[", b"", 1024),
    "JWT of a list of lists": filled(lambda x: jwt_of(b'{"a":[' + x + b"]}"), b"[],", b"[]", MAX_CARD_CHARS),
    "JWT of a thousand keys": filled(lambda x: jwt_of(b"{" + x + b"}"), b'"":0,', b'"a":0', MAX_CARD_CHARS),
    "JWT of one long number": filled(lambda x: jwt_of(b'{"exp":' + x + b"}"), b"9", b"", MAX_CARD_CHARS),
    "header of nested lists": filled(lambda x: jwt_under(b'{"a":' + x), b"[", b"", MAX_CARD_CHARS),
    "header of a thousand keys": filled(
        lambda x: jwt_under(b'{"kid":0,' + x + b"}"), b'"":0,', b'"a":0', MAX_CARD_CHARS
    ),
    "header of escapes": filled(lambda x: jwt_under(b'{"kid":"' + x + b'"}'), b"\\u0041", b"", MAX_CARD_CHARS),
    "CWT of nested arrays": b"RP1:" + b45_encode(crowded(b"\x81" * 300)),
    "CWT of hundreds of numbers": b"RP1:" + b45_encode(crowded(b"\x99\x01\x40" + b"\x00" * 320)),
    "CWT of hundreds of empty maps": b"RP1:" + b45_encode(crowded(b"\x99\x01\x40" + b"\xa0" * 320)),
    "CWT of a map of many keys": b"RP1:" + b45_encode(cwt(encode(members() | dict.fromkeys(range(300, 380), 0)))),
}
"""Signed, so that every part of them is looked at: nobody but a council could make those whose payload is odd."""


@pytest.mark.parametrize("name", HONEST_CODES)
def test_an_honest_code_costs_no_more_than_its_own_checks(name: str) -> None:
    text, media = HONEST_CODES[name]
    cost = Cost(text, media)
    assert isinstance(cost.result, VerifiedCard)
    cost.check()
    own = {"phone": 2, "rotating code": 0, "serial number": 0}
    assert cost.signatures == own.get(name, 1), "and the counting sees them"
    assert cost.points == {"phone": 2, "a phone's card as JWT": 2}.get(name, 0)
    shared = {"chip": 2 * MAX_MASTERS + 3, "rotating code": 2 * MAX_MASTERS, "serial number": MAX_MASTERS}
    assert cost.macs >= shared.get(name, 0)


@pytest.mark.parametrize("name", TINY_PARTS)
def test_a_code_of_as_many_parts_as_fit_costs_little_more(name: str) -> None:
    text = TINY_PARTS[name]
    assert len(text) > MAX_CARD_CHARS - 12 or len(text) > MAX_CWT_BYTES, "it fills what may be there"
    Cost(text, "qr").check()


@pytest.mark.parametrize("name", HONEST_CODES)
def test_guessing_costs_the_gate_no_more_than_a_card(name: str) -> None:
    """The last character changed: all masters are tried, and every signature up to the one that fails."""
    text, media = HONEST_CODES[name]
    honest = Cost(text, media)
    # Of a JWT the last character holds four bits and two that must be zero.
    for last in (b"A", b"Q", b"0", b"9"):
        guess = Cost(text[:-1] + last, media)
        guess.check()
        assert guess.signatures <= honest.signatures


relaxed = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],  # explaining traces lines itself
)


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, str]:
    """A code with a piece of itself or of anything put in, again and again."""
    text, media = draw(st.sampled_from([*HONEST_CODES.values(), *((text, "qr") for text in TINY_PARTS.values())]))
    place = draw(st.integers(0, len(text)))
    piece = draw(
        st.binary(max_size=8) | st.sampled_from([b".", b"#RN1:", b"https://", b"%", b":::", b"==", b"{", b"["])
    )
    repeated = piece * draw(st.sampled_from([1, 2, 50, 400]))
    return text[:place] + repeated + text[place + draw(st.integers(0, 20)) :], draw(
        st.just(media) | st.just("nfc-ndef")
    )


@relaxed
@given(edited())
def test_no_edit_of_a_code_costs_more(shown: tuple[bytes, str]) -> None:
    Cost(*shown).check()
    Cost(*shown, VerifiedMemory()).check()


@relaxed
@given(st.binary(max_size=MAX_CWT_BYTES), st.sampled_from(["paper", "phone", "chip"]))
def test_no_octets_in_the_place_of_a_card_cost_more(octets: bytes, where: str) -> None:
    text = {"paper": b"RP1:" + b45_encode(octets), "phone": live_code(octets, NOW).encode(), "chip": as_chip(octets)}
    cost = Cost(text[where], "nfc-ndef")
    assert isinstance(cost.result, Refused)
    cost.check()
