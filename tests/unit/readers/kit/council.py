"""A council with keys, cards and one feed, as the service would hold them."""

from __future__ import annotations

import hashlib
import secrets
from array import array
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential.claims import CardClaims, Channel
from entitlements.credential.cwt import card_text, sign_card_cwt
from entitlements.credential.es256 import ORDER, compress, sign_message
from entitlements.credential.jws import sign_compact
from entitlements.credential.jwt import sign_card
from entitlements.credential.keys import KeySet, SigningKey
from entitlements.credential.live import live_message, live_text
from entitlements.model import CardId, CardIndex, CardState, Instant, ServiceId, TenantId
from entitlements.profile import Profile, Segment, Verdict
from entitlements.wire.feed import (
    FORMAT,
    MANIFEST_TYP,
    AnyChange,
    CardChange,
    FeedWorld,
    Head,
    Horizon,
    Lane,
    Manifest,
    Meta,
    Part,
    ServiceEntry,
    Site,
)
from entitlements.wire.rows import card_tag, pack_row
from entitlements.wire.state import StateSnapshot

NOON = 1_780_315_200
"""2026-06-01T12:00:00Z, a Monday, 13:00 in London."""
YEAR = 365 * 86_400

GYM: dict[str, Any] = {
    "schema": "rescard.service/1",
    "id": "wcc.leisure.gym",
    "tenant": "wcc",
    "kind": "access",
    "title": "Gym",
    "who": {"resident_of": ["wcc"]},
    "where": {"sites": ["porchester"]},
    "presence": {"anti_passback": "card", "min_gap": "PT2M"},
    "offline": {"max_stale": "PT24H"},
}
WORLD: dict[str, Any] = {
    "schema": "rescard.world/1",
    "tenants": {"wcc": {"timezone": "Europe/London"}},
    "sites": ["porchester"],
}
SITE = Site(
    site="porchester",
    name="Porchester",
    lanes=(
        Lane(lane="in-1", name="Way in 1", zone="gym", direction="entry", areas=("leisure",)),
        Lane(lane="in-2", name="Way in 2", zone="gym", direction="entry", areas=("leisure",)),
        Lane(lane="out-1", name="Way out", zone="gym", direction="exit", areas=("leisure",)),
    ),
)


def profile_for(*services: str) -> Profile:
    """A profile to which these services are open without end."""
    return Profile(grants=[(ServiceId(name), (Segment(None, None, Verdict.ELIGIBLE),)) for name in services])


@dataclass
class Card:
    """One issued card: as JWT, as CWT, and the key of its phone if it is a live one."""

    claims: CardClaims
    token: bytes
    cwt: bytes
    phone: ec.EllipticCurvePrivateKey | None = None

    @property
    def paper(self) -> bytes:
        """The card's static code."""
        return card_text(self.cwt).encode()

    def live(self, at: int) -> bytes:
        """The code that the phone shows in a second."""
        assert self.phone is not None
        return live_text(self.cwt, at, sign_message(self.phone, live_message(self.cwt, at))).encode()

    def twin(self, at: int) -> bytes:
        """The same code with the signature's twin (r, n - s), which verifies as well."""
        assert self.phone is not None
        signature = sign_message(self.phone, live_message(self.cwt, at))
        s = ORDER - int.from_bytes(signature[32:], "big")
        return live_text(self.cwt, at, signature[:32] + s.to_bytes(32, "big")).encode()

    @property
    def tag(self) -> int:
        return card_tag(self.claims.card_id)


@dataclass
class Council:
    """Tenant ``wcc`` with the feed ``wcc/leisure``."""

    now: int = NOON
    epoch: str = "e1"
    feed: str = "wcc/leisure"
    number: int = 0
    issue_number: int = 0
    begins_at: int = 0
    rows: array[int] = field(default_factory=lambda: array("Q"))
    profiles: list[Profile] = field(default_factory=lambda: [profile_for("wcc.leisure.gym"), Profile()])
    services: list[ServiceEntry] = field(default_factory=lambda: [ServiceEntry(version=1, document=GYM)])
    changes: list[AnyChange] = field(default_factory=list)
    created_at: int = NOON * 1000
    format: str = FORMAT
    state: StateSnapshot = field(default_factory=StateSnapshot)

    def __post_init__(self) -> None:
        self.card_key = SigningKey.generate(TenantId("wcc"))
        self.feed_key = SigningKey.generate(TenantId("wcc"))
        self.world = FeedWorld(world=WORLD, sites={"porchester": SITE})

    @property
    def head(self) -> Head:
        return Head(epoch=self.epoch, number=self.number, issue_number=self.issue_number)

    @property
    def feed_keys(self) -> dict[str, Any]:
        return {"wcc": KeySet([self.feed_key.verification_key]).to_jwks()}

    def issue(
        self,
        *,
        in_snapshot: bool = False,
        key: SigningKey | None = None,
        lasts: int = YEAR,
        phone: ec.EllipticCurvePrivateKey | None = None,
    ) -> Card:
        """A new card, written to the feed as a change, or straight into the rows of the next snapshot.

        With a ``phone`` it is a live card, bound to the phone's key.
        """
        self.issue_number += 1
        card_id = CardId(secrets.token_bytes(8))
        claims = CardClaims(
            issuer=TenantId("wcc"),
            card_id=card_id,
            index=CardIndex(len(self.rows)),
            status_uri="https://cards.example/status/wcc/1",
            issued_at=Instant(self.now - 86_400),
            expires_at=Instant(self.now + lasts),
            issue_number=self.issue_number,
            channel=Channel.STATIC if phone is None else Channel.LIVE,
            device_key=None if phone is None else compress(phone.public_key()),
        )
        self.rows.append(0)
        signer = key or self.card_key
        card = Card(claims, sign_card(claims, signer).encode(), sign_card_cwt(claims, signer), phone)
        if in_snapshot:
            self.rows[claims.index] = pack_row(tag=card.tag, profile=0, state=CardState.ACTIVE)
        else:
            self.put(card, CardState.ACTIVE)
        return card

    def put(self, card: Card, state: CardState, profile: int = 0) -> AnyChange:
        """Write a card's state as the next change."""
        self.rows[card.claims.index] = pack_row(tag=card.tag, profile=profile, state=state)
        return self.add(
            lambda n: CardChange(
                n=n,
                tn=self.issue_number,
                at=self.now * 1000,
                index=card.claims.index,
                tag=card.tag,
                state=state,
                profile=self.profiles[profile].to_wire(),
            )
        )

    def add(self, make: Any) -> AnyChange:
        """Append the change that ``make`` makes for the next number."""
        self.number += 1
        change: AnyChange = make(self.number)
        self.changes.append(change)
        return change

    def snapshot(self) -> tuple[str, dict[str, bytes]]:
        """Signed manifest and the parts by SHA-256."""
        rows = self.rows.tobytes()
        meta = msgspec.json.encode(
            Meta(
                format=self.format,
                horizon=Horizon(begins=self.now - YEAR, ends=self.now + YEAR),
                profiles=[profile.to_wire() for profile in self.profiles],
                services=self.services,
                world=self.world,
                keys=KeySet([self.card_key.verification_key]).to_jwks(),
                state=self.state,
            )
        )
        parts = {hashlib.sha256(data).hexdigest(): data for data in (rows, meta)}
        names = [hashlib.sha256(data).hexdigest() for data in (rows, meta)]
        tenant, _, area = self.feed.partition("/")
        manifest = Manifest(
            format=self.format,
            tenant=tenant,
            area=area,
            epoch=self.epoch,
            number=self.number,
            issue_number=self.issue_number,
            created_at=self.created_at,
            cards=len(self.rows),
            rows=Part(sha256=names[0], size=len(rows)),
            meta=Part(sha256=names[1], size=len(meta)),
        )
        return sign_compact(msgspec.json.encode(manifest), MANIFEST_TYP, self.feed_key), parts
