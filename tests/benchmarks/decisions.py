"""From the bytes of a code to a decision, against one raw ES256 verification of the same bytes."""

from __future__ import annotations

import hashlib
import itertools

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from entitlements.credential.claims import CardClaims, UnverifiedPresentation, VerifiedCard
from entitlements.credential.encoding import b64url_decode
from entitlements.credential.jwt import sign_card
from entitlements.credential.keys import KeySet, SigningKey
from entitlements.credential.presentation import VerifiedMemory, verify_presentation
from entitlements.decide import decide
from entitlements.model import CardId, CardIndex, Decision, Instant, Outcome, TenantId, ZoneId
from entitlements.situation import NOTHING, PLAIN_TAP, Moment, Subject
from entitlements.wire.rows import card_tag
from tests.benchmarks.measure import Result, compare, row
from tests.benchmarks.world import NOW, SITE, gym, gym_profile, small_cache

CARDS = 512
"""Different cards in the first-visit round, so that nothing of one is remembered for the next."""


def run() -> list[Result]:
    """First visit and repeat visit."""
    key = SigningKey.generate(TenantId("wcc"))
    keys = KeySet([key.verification_key])
    service = gym()
    profile = gym_profile(service)
    tokens = []
    ids = []
    for number in range(CARDS):
        card_id = CardId(hashlib.sha256(str(number).encode()).digest()[:8])
        ids.append(card_id)
        claims = CardClaims(
            issuer=TenantId("wcc"),
            card_id=card_id,
            index=CardIndex(number),
            status_uri="https://cards.example.gov.uk/v1/tenants/wcc/status/0",
            issued_at=Instant(NOW - 86_400),
            expires_at=Instant(NOW + 86_400 * 700),
            issue_number=number,
        )
        tokens.append(sign_card(claims, key).encode())
    cache = small_cache({number: (card_tag(card_id), profile) for number, card_id in enumerate(ids)})
    moment = Moment(at=NOW, site=SITE, zone=ZoneId("gym"))

    def present(data: bytes, memory: VerifiedMemory | None) -> Decision:
        card = verify_presentation(UnverifiedPresentation(data=data, media="qr"), keys, NOW, memory)
        if not isinstance(card, VerifiedCard):
            raise TypeError(card)
        found = cache.lookup(card.claims.index, card_tag(card.claims.card_id))
        if found is None:
            raise LookupError(card)
        state, its_profile = found
        return decide(service, Subject(card=state, profile=its_profile), moment, PLAIN_TAP, NOTHING)

    prepared = []
    for token in tokens:
        signed, _, text = token.rpartition(b".")
        raw = b64url_decode(text)
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        prepared.append((signed, der))
    public = key.private.public_key()
    algorithm = ec.ECDSA(hashes.SHA256())
    fresh, raw_turn = itertools.cycle(tokens), itertools.cycle(prepared)

    def raw_verify() -> None:
        signed, der = next(raw_turn)
        public.verify(der, signed, algorithm)

    memory = VerifiedMemory()
    regular = tokens[0]
    decision = present(regular, memory)
    if decision.outcome is not Outcome.ALLOW or cache.lookup(0, card_tag(ids[0])) is None:
        raise RuntimeError(f"the benchmark's card is not let in: {decision}")
    times = compare(
        {
            "raw": raw_verify,
            "first": lambda: present(next(fresh), None),
            "again": lambda: present(regular, memory),
        },
        rounds=151,
        seconds=0.004,  # short turns: what else the machine does falls on all alike
    )
    against = "raw ES256 verify"
    return [
        row("static card, first visit, bytes to decision", against, times, "first", "raw", 1.25),
        row("static card, seen before, bytes to decision", against, times, "again", "raw", 0.10),
    ]
