"""Coverage-guided fuzzing of everything between a camera's bytes and a verified card (atheris, libFuzzer).

    python -m tests.fuzz.codes CORPUS -runs=20000 -max_len=1200

``CORPUS`` is a folder; seeds are written into it. Each input begins with a byte that says where the rest goes in: as a
text, inside Base45, inside a signature of the council's own key. A fault is any exception, two ways of verifying that
differ, or a card that opens a gate and is not one of the seeds.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["entitlements.credential"]):
    from entitlements.credential.base45 import b45_decode, b45_encode
    from entitlements.credential.cbor import decode
    from entitlements.credential.claims import Channel, Refused, UnverifiedPresentation, VerifiedCard
    from entitlements.credential.cwt import card_text, sign_card_cwt, verify_cwt
    from entitlements.credential.cwt_cbor2 import _load, verify_cwt_cbor2
    from entitlements.credential.encoding import b64url_encode
    from entitlements.credential.errors import InvalidEncodingError
    from entitlements.credential.jwt import sign_card, verify_card, verify_card_pyjwt
    from entitlements.credential.memory import VerifiedMemory
    from entitlements.credential.presentation import verify_presentation
    from entitlements.credential.sitesecrets import SiteSecrets
    from entitlements.credential.totp import hotp, totp_secret, totp_step, totp_text
    from tests.support import cards, cwt

SECRETS = SiteSecrets(totp={"wcc": (bytes(32),)}, chip={"wcc": (bytes(16),)})
LIVE = sign_card_cwt(cards.card_claims(channel=Channel.LIVE, device_key=cards.PHONE_KEY), cards.KEY)
TEXTS = [
    sign_card(cards.card_claims(), cards.KEY).encode(),
    card_text(cwt.HONEST).encode(),
    card_text(LIVE).encode(),
    cards.live_code(LIVE, cards.NOW).encode(),
    totp_text("wcc", 1, bytes(8), hotp(totp_secret(bytes(32), bytes(8), 1), totp_step(cards.NOW))).encode(),
]
MEMORY = VerifiedMemory(capacity=64)


class Fault(Exception):
    """The input showed something that must not be."""


def as_text(data: bytes) -> None:
    """The gate's entry point, with and without a memory."""
    for media in ("qr", "nfc"):
        presentation = UnverifiedPresentation(data=data, media=media)
        first = verify_presentation(presentation, cards.KEYS, cards.NOW, secrets=SECRETS)
        if first != verify_presentation(presentation, cards.KEYS, cards.NOW, MEMORY, secrets=SECRETS):
            raise Fault("remembered and verified anew differ")
        if not isinstance(first, Refused) and data not in TEXTS:
            raise Fault("a card that nobody signed")
    if len(MEMORY) > MEMORY.capacity:
        raise Fault("the memory grows beyond its bound")


def in_base45(data: bytes) -> None:
    """What is well written in Base45 and begins a form."""
    text = b45_encode(data)
    if b45_decode(text) != data:
        raise Fault("Base45 does not come back")
    as_text(b"RP1:" + text)
    as_text(b"RC1:" + text)


def any_base45(data: bytes) -> None:
    """Any text as Base45."""
    try:
        raw = b45_decode(data)
    except InvalidEncodingError:
        return
    if b45_encode(raw) != data:
        raise Fault("two texts of one value")


def as_cwt(data: bytes) -> VerifiedCard | Refused:
    """Both ways of verifying a CWT."""
    lean = verify_cwt(data, cards.KEYS, cards.NOW)
    if lean != verify_cwt_cbor2(data, cards.KEYS, cards.NOW):
        raise Fault("the two ways of verifying a CWT differ")
    return lean


def signed_cwt(data: bytes) -> None:
    """Claims that only a holder of the council's key could bring."""
    as_cwt(cwt.cwt(data))


def signed_header(data: bytes) -> None:
    """A header that only a holder of the council's key could bring."""
    if isinstance(as_cwt(cwt.cwt(protected=data)), VerifiedCard) and data != cwt.PROTECTED:
        raise Fault("a header that is not the one")


def signed_jwt(data: bytes) -> None:
    """Claims of a JWT under the council's key."""
    token = cards.sign_texts(b64url_encode(cards.as_bytes(cards.header())), b64url_encode(data))
    if verify_card(token, cards.KEYS, cards.NOW) != verify_card_pyjwt(token, cards.KEYS, cards.NOW):
        raise Fault("the two ways of verifying a JWT differ")


def as_cbor(data: bytes) -> None:
    """Both readers of CBOR."""
    found = []
    for read in (decode, _load):
        try:
            found.append((True, read(data)))
        except InvalidEncodingError:
            found.append((False, None))
    if found[0] != found[1]:
        raise Fault("the two readers of CBOR differ")


def both_ways(data: bytes) -> None:
    """Any bytes as a CWT."""
    as_cwt(data)


DOORS: list[Callable[[bytes], None]] = [
    as_text,
    in_base45,
    any_base45,
    both_ways,
    signed_cwt,
    signed_header,
    signed_jwt,
    as_cbor,
]


def one_input(data: bytes) -> None:
    """Take one input through the door that its first byte names."""
    if data:
        DOORS[data[0] % len(DOORS)](data[1:])


def write_seeds(folder: Path) -> None:
    """Honest inputs, from which the fuzzer finds its way to the edges."""
    seeds = [(as_text, text) for text in TEXTS]
    seeds += [(in_base45, cwt.HONEST), (in_base45, LIVE), (any_base45, TEXTS[1][4:]), (both_ways, cwt.HONEST)]
    seeds += [(signed_cwt, cwt.PAYLOAD), (signed_header, cwt.PROTECTED), (as_cbor, cwt.PAYLOAD)]
    seeds += [(signed_jwt, cards.as_bytes(cards.wire())), (in_base45, b45_decode(TEXTS[3][4:]))]
    for door, data in seeds:
        seed = bytes((DOORS.index(door),)) + data
        (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)


if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
