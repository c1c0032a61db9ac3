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
    from entitlements.credential.cwt import CARD_PREFIX, card_text, sign_card_cwt, verify_cwt
    from entitlements.credential.cwt_cbor2 import _load, verify_cwt_cbor2
    from entitlements.credential.encoding import b64url_encode
    from entitlements.credential.errors import InvalidEncodingError
    from entitlements.credential.jwt import sign_card, verify_card, verify_card_pyjwt
    from entitlements.credential.live import LIVE_PREFIX
    from entitlements.credential.memory import VerifiedMemory
    from entitlements.credential.presentation import JWT_PREFIX, verify_at_till, verify_presentation, verify_static
    from entitlements.credential.sitesecrets import SiteSecrets
    from entitlements.credential.totp import hotp, totp_secret, totp_step, totp_text
    from entitlements.credential.uid import UID_MEDIA, uid_hash
    from tests.support import cards, chips, cwt

NUMBER = bytes.fromhex("04A1B2C3D4E5F6")
"""Serial number of a legacy chip."""
SECRETS = SiteSecrets(
    totp={"wcc": (bytes(32),)},
    chip={"wcc": (chips.MASTER,)},
    uid_keys={"wcc": (bytes(32),)},
    uids={uid_hash(bytes(32), NUMBER): cards.card_claims(status_uri=None)},
)
MEDIA = ("qr", "nfc-ndef", UID_MEDIA)
CHIP = chips.tap(chips.make_chip(padding=bytes))
LIVE = sign_card_cwt(cards.card_claims(channel=Channel.LIVE, device_key=cards.PHONE_KEY), cards.KEY)
TEXTS = [
    sign_card(cards.card_claims(), cards.KEY).encode(),
    card_text(cwt.HONEST).encode(),
    card_text(LIVE).encode(),
    cards.live_code(LIVE, cards.NOW).encode(),
    totp_text("wcc", 1, bytes(8), hotp(totp_secret(bytes(32), bytes(8), 1), totp_step(cards.NOW))).encode(),
    b"RU1:" + NUMBER.hex().upper().encode(),
    CHIP,
]
WITHOUT_A_CHIP = [
    sign_card(chips.chip_claims(status_uri="https://cards.wcc.example/s/1"), cards.KEY).encode(),
    card_text(sign_card_cwt(chips.chip_claims(), cards.KEY)).encode(),
]
"""What can be read off a chip in passing: signed, and no card."""
MEMORY = VerifiedMemory(capacity=64)


class Fault(Exception):
    """The input showed something that must not be."""


def as_text(data: bytes) -> None:
    """The gate's entry point, with and without a memory."""
    for media in MEDIA:
        presentation = UnverifiedPresentation(data=data, media=media)
        first = verify_presentation(presentation, cards.KEYS, cards.NOW, secrets=SECRETS)
        if first != verify_presentation(presentation, cards.KEYS, cards.NOW, MEMORY, secrets=SECRETS):
            raise Fault("remembered and verified anew differ")
        if not isinstance(first, Refused) and not _honest(data):
            raise Fault("a card that nobody signed")
    if len(MEMORY) > MEMORY.capacity:
        raise Fault("the memory grows beyond its bound")


def _honest(data: bytes) -> bool:
    """Whether a text is one of the seeds. The address that a chip's link leads to is nobody's word and may be any."""
    address, _, said = data.rpartition(b"#")
    return data in TEXTS or (bool(address) and said == CHIP.rpartition(b"#")[2])


def at_the_service(data: bytes) -> None:
    """The service's own ways in say of what they take what a gate says, and take nothing else."""
    at_a_gate = verify_presentation(UnverifiedPresentation(data=data, media="qr"), cards.KEYS, cards.NOW)
    for verify, forms in (
        (verify_static, (JWT_PREFIX, CARD_PREFIX)),
        (verify_at_till, (JWT_PREFIX, CARD_PREFIX, LIVE_PREFIX)),
    ):
        found = verify(data, cards.KEYS, cards.NOW)
        if data.startswith(forms):
            if found != at_a_gate:
                raise Fault("gate and service judge one text differently")
        elif not isinstance(found, Refused):
            raise Fault("the service takes what belongs to gates")


def in_base45(data: bytes) -> None:
    """What is well written in Base45 and begins a form."""
    text = b45_encode(data)
    if b45_decode(text) != data:
        raise Fault("Base45 does not come back")
    as_text(b"RP1:" + text)
    as_text(b"RC1:" + text)
    at_the_service(b"RP1:" + text)
    at_the_service(b"RC1:" + text)


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
    at_the_service(token)


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
    at_the_service,
]


def one_input(data: bytes) -> None:
    """Take one input through the door that its first byte names."""
    if data:
        DOORS[data[0] % len(DOORS)](data[1:])


def write_seeds(folder: Path) -> None:
    """Honest inputs, from which the fuzzer finds its way to the edges."""
    seeds = [(door, text) for text in (*TEXTS, *WITHOUT_A_CHIP) for door in (as_text, at_the_service)]
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
