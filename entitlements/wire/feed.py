"""The feed of one (tenant, service area): a signed snapshot and a gapless sequence of numbered changes.

A snapshot is two content-addressed parts under one signed manifest: ``rows``, the dense array of 8-byte rows
(:mod:`entitlements.wire.rows`), and ``meta``, JSON with what the rows refer to. A change replaces one thing whole, so
applying it twice does no harm; order and completeness come from its number.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from entitlements.model import CardState
from entitlements.wire.change import Change
from entitlements.wire.state import (
    BookingChange,
    HolderChange,
    LoanChange,
    StateSnapshot,
    UnitsChange,
    UpstreamChange,
)

FORMAT: Final = "rescard.feed/1"
MANIFEST_TYP: Final = "rescard-manifest+jwt"
"""JWS ``typ`` of the manifest; signed by a key of purpose ``feed`` of the feed's tenant."""

ProfileWire = list[Any]
"""Canonical form of a profile, as :meth:`entitlements.compile.Profile.to_wire` gives it."""


class Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Octets by what they are: lower-case hex SHA-256 and size."""

    sha256: str
    size: int


class Part(Content, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One content-addressed part of a snapshot, as it is kept and sent.

    ``zstd`` is what it unpacks to where it is a Zstandard frame (RFC 8878); without it the part is the content itself.
    Both are signed: a cache in between can neither change the part nor make a small one unpack to something else.
    """

    zstd: Content | None = None

    @property
    def content(self) -> Content:
        """What a reader keeps of it."""
        return self if self.zstd is None else self.zstd


class Horizon(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Instants (epoch seconds) between which the compiled grants are complete."""

    begins: int
    ends: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the service signs for a snapshot; ``created_at`` in ms since the epoch, at which it was whole.

    ``last_at`` is the ``at`` of change ``number``; 0 where the service keeps none of that number.

    Unknown fields are ignored, so later versions may add some.
    """

    format: str
    tenant: str
    area: str
    epoch: str
    number: int
    issue_number: int
    created_at: int
    cards: int
    rows: Part
    meta: Part
    last_at: int = 0


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One published service document (``rescard.service/1``) with its version number."""

    version: int
    document: dict[str, Any]


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One lane of a site: it offers the services of its ``areas`` that name its site and zone, or just ``services``."""

    lane: str
    name: str
    zone: str | None = None
    direction: str = "entry"
    areas: tuple[str, ...] = ()
    services: tuple[str, ...] | None = None


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A place with gates."""

    site: str
    name: str
    lanes: tuple[Lane, ...] = ()


class FeedWorld(msgspec.Struct, frozen=True, kw_only=True):
    """What documents of a feed refer to.

    ``world`` is a ``rescard.world/1`` object (tenants, site_sets, calendars, item_lists); ``sites`` by site id.
    """

    world: dict[str, Any]
    sites: dict[str, Site]


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """The ``meta`` part: profiles by number, documents, world, card-signing keys (JWKS), horizon, state."""

    format: str
    horizon: Horizon
    profiles: list[ProfileWire]
    services: list[ServiceEntry]
    world: FeedWorld
    keys: dict[str, Any]
    state: StateSnapshot = StateSnapshot()


class CardChange(Change, frozen=True, kw_only=True, tag="card"):
    """A card's row and profile, whole. ``tag`` as in :func:`entitlements.wire.rows.card_tag`."""

    index: int
    tag: int
    state: CardState
    profile: ProfileWire


class ServiceChange(Change, frozen=True, kw_only=True, tag="service"):
    """A document was published, or a version of it replaced."""

    version: int
    document: dict[str, Any]


class ServiceWithdrawn(Change, frozen=True, kw_only=True, tag="withdrawn"):
    """A service is no longer offered."""

    service: str


class WorldChange(Change, frozen=True, kw_only=True, tag="world"):
    """Sites, site sets, calendars, lists or tenants changed; replaces all of them."""

    world: FeedWorld


class KeysChange(Change, frozen=True, kw_only=True, tag="keys"):
    """The tenant's card-signing keys (JWKS); replaces the set."""

    keys: dict[str, Any]


class HorizonChange(Change, frozen=True, kw_only=True, tag="horizon"):
    """The horizon moved; the card changes that it brought were written before it."""

    horizon: Horizon


AnyChange = (
    CardChange
    | ServiceChange
    | ServiceWithdrawn
    | WorldChange
    | KeysChange
    | HorizonChange
    | HolderChange
    | UnitsChange
    | BookingChange
    | LoanChange
    | UpstreamChange
)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where a feed stands."""

    epoch: str
    number: int
    issue_number: int


class ChangesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of the changes call: changes after the asked number, oldest first, and the head."""

    head: Head
    changes: list[AnyChange]
    server_time: int


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """Heartbeat of the stream: the service's clock (ms since the epoch) and the heads by ``tenant/area``.

    ``secrets`` is the tag of the page that ``GET /v1/reader/secrets`` would answer this reader with: one that differs
    from the page it holds is a hint to ask. ``None`` where the service does not know it now.
    """

    server_time: int
    heads: dict[str, Head]
    secrets: str | None = None


_encoder = msgspec.json.Encoder()
_change_decoder: msgspec.json.Decoder[AnyChange] = msgspec.json.Decoder(AnyChange)


def encode(value: msgspec.Struct) -> bytes:
    """JSON bytes of a wire value."""
    return _encoder.encode(value)


def decode_change(data: bytes | str) -> AnyChange:
    """A change from its JSON.

    Raises:
        msgspec.DecodeError: not JSON, not a known kind of change, or of the wrong shape.
    """
    return _change_decoder.decode(data)


def feed_name(tenant: str, area: str) -> str:
    """``tenant/area``, the name of a feed on the wire and in logs."""
    return f"{tenant}/{area}"
