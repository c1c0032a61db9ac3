"""The state behind limits, as the feed carries it to gates: sparse, keyed by opaque account keys.

An account key is a keyed hash that the service makes per (tenant, area) from a person, household, vehicle or permit: a
gate can count by it and can tell nothing from it, and two areas cannot be joined by it. Every change replaces one
thing whole under its own id, so applying it twice does no harm. Money is not here: it is spent at the service only.
"""

from __future__ import annotations

import msgspec

from entitlements.wire.change import Change


class ActingGrant(msgspec.Struct, frozen=True, kw_only=True):
    """One delegation. Instants are epoch seconds, ``[from_, until)``; ``None`` is open."""

    scopes: tuple[str, ...]
    from_: int | None = msgspec.field(default=None, name="from")
    until: int | None = None
    max_pence: int | None = None


class Acting(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody for whom the holder of a card may act: the index and tag of their card, and the grants."""

    index: int
    tag: int
    grants: tuple[ActingGrant, ...]


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate keeps of one card's holder beside the row.

    ``keys`` by scope (``person``, ``household``); ``own`` are further scopes of single services (``permit``...);
    ``acts_for`` are those for whom this card may be presented.
    """

    index: int
    keys: dict[str, str] = {}
    own: dict[str, dict[str, str]] = {}
    acts_for: tuple[Acting, ...] = ()


class Units(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the ledger: units taken (negative: given back) at the event's time, in epoch seconds.

    ``entry`` is the tap's id where a tap took them, so that the gate knows its own again.
    """

    entry: str
    account: str
    key: str
    at: int
    units: int


class Booking(msgspec.Struct, frozen=True, kw_only=True):
    """A booking ``[start, end)`` (epoch seconds) of a resource by the person of ``key``; ``gone`` removes it."""

    booking: str
    resource: str
    key: str
    start: int
    end: int
    checked_in: bool = False
    gone: bool = False


class Loan(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a pool that the person of ``key`` has out, due on a local day (ISO 8601); ``gone`` when returned."""

    loan: str
    pool: str
    key: str
    due: str
    gone: bool = False


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """The last word of another system on the person of ``key``, and when it was said (epoch seconds)."""

    name: str
    key: str
    at: int
    not_blocked: bool | None


class HolderChange(Change, frozen=True, kw_only=True, tag="holder"):
    """The sparse data of one card, whole."""

    holder: Holder


class UnitsChange(Change, frozen=True, kw_only=True, tag="units"):
    """A new entry of the ledger."""

    entry: Units


class BookingChange(Change, frozen=True, kw_only=True, tag="booking"):
    """A booking as it is now."""

    booking: Booking


class LoanChange(Change, frozen=True, kw_only=True, tag="loan"):
    """A loan as it is now."""

    loan: Loan


class UpstreamChange(Change, frozen=True, kw_only=True, tag="upstream"):
    """Another system's word as it is now."""

    upstream: Upstream


class StateSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, in the ``meta`` part of a snapshot: entries of periods that still count, open bookings and loans."""

    holders: list[Holder] = []
    units: list[Units] = []
    bookings: list[Booking] = []
    loans: list[Loan] = []
    upstreams: list[Upstream] = []
