"""What the rows of a feed refer to, out of the ``meta`` part of a snapshot or of a base and back.

Profiles, documents, world, keys, horizon, and the state behind limits. In a snapshot the profiles are in the meta part,
as JSON; in a base they are a part of their own, packed (:mod:`readers.profiles`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from entitlements.profile import Profile
from entitlements.wire.feed import FORMAT, FeedWorld, Horizon, ServiceEntry
from readers.breath import Breath
from readers.errors import SnapshotRefusedError, UnknownFormatError
from readers.holdings import Holdings, RawState
from readers.profiles import ProfileTable, empty_table


class _Formatted(msgspec.Struct):
    format: str


class _Rest(msgspec.Struct, frozen=True, kw_only=True):
    """:class:`entitlements.wire.feed.Meta` without what there may be very much of."""

    format: str
    horizon: Horizon
    services: list[ServiceEntry]
    world: FeedWorld
    keys: dict[str, Any]


class _Meta(_Rest, frozen=True, kw_only=True):
    """All of it, its profiles and the items of its state unread. In a base it has no profiles."""

    profiles: list[msgspec.Raw] = []
    state: RawState = RawState()


class Contents:
    """Profiles by number, documents by service id, and ``holdings``, the sparse tables of the state behind limits.

    Belongs to one feed; changed by the feed's changes only.
    """

    __slots__ = ("holdings", "horizon", "keys", "profiles", "profiles_at_base", "services", "world")

    def __init__(
        self,
        *,
        profiles: ProfileTable,
        services: dict[str, ServiceEntry],
        world: FeedWorld,
        keys: dict[str, Any],
        horizon: Horizon,
        holdings: Holdings | None = None,
    ) -> None:
        self.holdings = Holdings() if holdings is None else holdings
        self.profiles = profiles
        self.profiles_at_base = profiles.count
        """Profiles there were when these contents were read from a snapshot or base."""
        self.services = services
        self.world = world
        self.keys = keys
        self.horizon = horizon


def read_contents(meta: bytes, *, feed: str, profiles: ProfileTable | None = None) -> Contents:
    """Read a ``meta`` part whose digest was checked: a snapshot's, or a base's with its ``profiles``.

    Meant for a thread.

    Raises:
        UnknownFormatError: it is of a version that this reader does not know.
        SnapshotRefusedError: it does not have the form of that version.
    """
    try:
        wire = _read(meta, feed)
        if profiles is None:
            profiles = _profiles(wire.profiles)
        holdings = Holdings.read(wire.state)
    except (msgspec.DecodeError, ValueError) as error:
        raise SnapshotRefusedError(feed, f"the meta part cannot be read: {error}") from error
    return Contents(
        profiles=profiles,
        services={str(entry.document.get("id")): entry for entry in wire.services},
        world=wire.world,
        keys=wire.keys,
        horizon=wire.horizon,
        holdings=holdings,
    )


def _read(meta: bytes, feed: str) -> _Meta:
    wire: _Meta | _Formatted
    try:
        wire = msgspec.json.decode(meta, type=_Meta)
    except msgspec.DecodeError:
        # Of another form because it is of another version? To ask that first would be to read megabytes twice.
        wire = msgspec.json.decode(meta, type=_Formatted)
        if wire.format == FORMAT:
            raise
    if wire.format != FORMAT or not isinstance(wire, _Meta):
        raise UnknownFormatError(feed, f"format {wire.format!r} is not known to this reader, only {FORMAT!r}")
    return wire


def _profiles(raws: list[msgspec.Raw]) -> ProfileTable:
    table, breath = empty_table(), Breath()
    for raw in raws:
        table.append(Profile.from_wire(msgspec.json.decode(raw)))
        breath.take()
    return table


def write_contents(
    services: list[ServiceEntry],
    *,
    world: FeedWorld,
    keys: dict[str, Any],
    horizon: Horizon,
    holdings: Holdings | None = None,
) -> list[bytes]:
    """The ``meta`` part of a base in pieces. Meant for a thread, so the arguments are copies that nobody changes."""
    rest = _Rest(format=FORMAT, horizon=horizon, services=services, world=world, keys=keys)
    state = (Holdings() if holdings is None else holdings).write()
    return [msgspec.json.encode(rest)[:-1], b',"state":', *state, b"}"]
