"""From the bytes of a code to a decision, against one raw ES256 verification of the same bytes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from entitlements.credential.claims import CardClaims, Channel, UnverifiedPresentation, VerifiedCard
from entitlements.credential.cose import parse_sign1, signature_input
from entitlements.credential.cwt import EXTERNAL_AAD, card_text, sign_card_cwt
from entitlements.credential.encoding import b64url_decode
from entitlements.credential.es256 import compress, generate_private_key, sign_message
from entitlements.credential.jwt import sign_card
from entitlements.credential.keys import KeySet, SigningKey
from entitlements.credential.live import live_message, live_text
from entitlements.credential.presentation import VerifiedMemory, verify_presentation
from entitlements.credential.sitesecrets import NO_SECRETS, SiteSecrets
from entitlements.decide import decide
from entitlements.model import CardId, CardIndex, Decision, Instant, Outcome, TenantId, ZoneId
from entitlements.situation import NOTHING, PLAIN_TAP, Moment, Subject
from entitlements.wire.rows import card_tag
from tests.benchmarks.measure import Result, compare, row
from tests.benchmarks.world import NOW, SITE, gym, gym_profile, small_cache
from tests.support.chips import make_chip, tap

CARDS = 512
"""Different cards in the first-visit round, so that nothing of one is remembered for the next."""
PHONES = 64
"""Live cards and chips that were seen before."""
CHIP_MASTERS = (bytes.fromhex("00112233445566778899AABBCCDDEEFF"),)
"""As between two rotations: one master to try."""
CHIP_FIRST, CHIP_AGAIN = 2.25, 0.6
"""Bars of our own for a chip: four CMACs and a block of AES beside the signature, which stay when the card was seen."""
KEY = SigningKey.generate(TenantId("wcc"))

Present = Callable[[bytes, VerifiedMemory | None], Decision]
Check = Callable[[], None]


def run() -> list[Result]:
    """First visit and repeat visit of each form of card and of a chip, and a live code whose card was seen before."""
    present = _gate("qr", NO_SECRETS)
    touch = _gate("nfc-ndef", SiteSecrets(chip={"wcc": CHIP_MASTERS}))
    memory = VerifiedMemory()
    jwts = [sign_card(_claims(number), KEY).encode() for number in range(CARDS)]
    cwts = [sign_card_cwt(_claims(number), KEY) for number in range(CARDS)]
    texts = [card_text(cwt).encode() for cwt in cwts]
    codes, code_checks = _live_codes()
    links, link_checks = _chip_links()
    shown = [(present, data) for data in (jwts[0], texts[0], *codes)] + [(touch, link) for link in links]
    for show, data in shown:
        decision = show(data, memory)
        if decision.outcome is not Outcome.ALLOW:
            raise RuntimeError(f"the benchmark's card is not let in: {decision}")
    next_jwt, next_text, next_code = itertools.cycle(jwts), itertools.cycle(texts), itertools.cycle(codes)
    next_link = itertools.cycle(links)
    times = compare(
        {
            "raw jwt": _raw([_signed_jwt(token) for token in jwts]),
            "jwt first": lambda: present(next(next_jwt), None),
            "jwt again": lambda: present(jwts[0], memory),
            "raw cwt": _raw([_signed_cwt(cwt) for cwt in cwts]),
            "cwt first": lambda: present(next(next_text), None),
            "cwt again": lambda: present(texts[0], memory),
            "raw live": _raw(code_checks),
            "live again": lambda: present(next(next_code), memory),
            "raw chip": _raw(link_checks),
            "chip first": lambda: touch(next(next_link), None),
            "chip again": lambda: touch(next(next_link), memory),
        },
        rounds=151,
        seconds=0.004,  # short turns: what else the machine does falls on all alike
    )
    against = "raw ES256 verify"
    return [
        row("static card (JWT), first visit, bytes to decision", against, times, "jwt first", "raw jwt", 1.25),
        row("static card (JWT), seen before, bytes to decision", against, times, "jwt again", "raw jwt", 0.10),
        row("static card (RP1), first visit, bytes to decision", against, times, "cwt first", "raw cwt", 1.25),
        row("static card (RP1), seen before, bytes to decision", against, times, "cwt again", "raw cwt", 0.10),
        row("live code (RC1), card seen before, to decision", against, times, "live again", "raw live", 1.35),
        row("chip (NTAG 424 DNA), first visit, link to decision", against, times, "chip first", "raw chip", CHIP_FIRST),
        row("chip (NTAG 424 DNA), seen before, link to decision", against, times, "chip again", "raw chip", CHIP_AGAIN),
    ]


def _card_id(number: int) -> CardId:
    return CardId(hashlib.sha256(str(number).encode()).digest()[:8])


def _claims(number: int, channel: Channel = Channel.STATIC, device_key: bytes | None = None) -> CardClaims:
    return CardClaims(
        issuer=TenantId("wcc"),
        card_id=_card_id(number),
        index=CardIndex(number),
        status_uri="https://cards.example.gov.uk/v1/tenants/wcc/status/0",
        issued_at=Instant(NOW - 86_400),
        expires_at=Instant(NOW + 86_400 * 700),
        issue_number=number,
        channel=channel,
        device_key=device_key,
    )


def _gate(media: str, secrets: SiteSecrets) -> Present:
    """What a gate does with the bytes of a code, but for its devices."""
    keys = KeySet([KEY.verification_key])
    service = gym()
    profile = gym_profile(service)
    cache = small_cache({number: (card_tag(_card_id(number)), profile) for number in range(CARDS)})
    moment = Moment(at=NOW, site=SITE, zone=ZoneId("gym"))

    def present(data: bytes, memory: VerifiedMemory | None) -> Decision:
        presentation = UnverifiedPresentation(data=data, media=media)
        card = verify_presentation(presentation, keys, NOW, memory, secrets=secrets)
        if not isinstance(card, VerifiedCard):
            raise TypeError(card)
        found = cache.lookup(card.claims.index, card_tag(card.claims.card_id))
        if found is None:
            raise LookupError(card)
        state, its_profile = found
        return decide(service, Subject(card=state, profile=its_profile), moment, PLAIN_TAP, NOTHING)

    return present


def _live_codes() -> tuple[list[bytes], list[Check]]:
    """Live codes of some phones, and of each the raw check of the phone's signature."""
    codes, checks = [], []
    for number in range(PHONES):
        phone = generate_private_key()
        cwt = sign_card_cwt(_claims(number, Channel.LIVE, compress(phone.public_key())), KEY)
        message = live_message(cwt, NOW)
        signature = sign_message(phone, message)
        codes.append(live_text(cwt, NOW, signature).encode())
        checks.append(_check(phone.public_key(), message, signature))
    return codes, checks


def _chip_links() -> tuple[list[bytes], list[Check]]:
    """What some chips said when they were read, and of each the raw check of the signature of its card."""
    links, checks = [], []
    for number in range(PHONES):
        claims = _claims(number, Channel.CHIP)
        uid = b"\x04" + number.to_bytes(6, "big")
        links.append(tap(make_chip(claims, key=KEY, master=CHIP_MASTERS[0], uid=uid)))
        checks.append(_signed_cwt(sign_card_cwt(claims, KEY)))
    return links, checks


def _signed_jwt(token: bytes) -> Check:
    signed, _, text = token.rpartition(b".")
    return _check(KEY.private.public_key(), signed, b64url_decode(text))


def _signed_cwt(cwt: bytes) -> Check:
    message = parse_sign1(cwt)
    signed = signature_input(message.protected, EXTERNAL_AAD, message.payload)
    return _check(KEY.private.public_key(), signed, message.signature)


def _check(public: ec.EllipticCurvePublicKey, signed: bytes, signature: bytes) -> Check:
    """One raw verification, all prepared."""
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    algorithm = ec.ECDSA(hashes.SHA256())
    return lambda: public.verify(der, signed, algorithm)


def _raw(checks: list[Check]) -> Check:
    turn = itertools.cycle(checks)
    return lambda: next(turn)()
