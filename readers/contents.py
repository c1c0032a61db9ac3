"""What the rows of a feed refer to, out of the ``meta`` part and back.

Profiles, documents, world, keys, horizon, and the state behind limits.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from entitlements.profile import Profile
from entitlements.wire.feed import FORMAT, FeedWorld, Horizon, ProfileWire, ServiceEntry
from readers.errors import SnapshotRefusedError, UnknownFormatError
from readers.holdings import Holdings, RawState

SLICE: Final = 100
"""Profiles read or written between two pauses that let the event loop have the interpreter."""


class _Formatted(msgspec.Struct):
    format: str


class _Meta(msgspec.Struct, frozen=True, kw_only=True):
    """:class:`entitlements.wire.feed.Meta` with the items of its state unread."""

    format: str
    horizon: Horizon
    profiles: list[ProfileWire]
    services: list[ServiceEntry]
    world: FeedWorld
    keys: dict[str, Any]
    state: RawState = RawState()


class Contents:
    """Profiles by number, documents by service id, and ``holdings``, the sparse tables of the state behind limits.

    Belongs to one feed; changed by the feed's changes only.
    """

    __slots__ = ("_numbers", "holdings", "horizon", "keys", "profiles", "profiles_at_base", "services", "world")

    def __init__(
        self,
        *,
        profiles: list[Profile],
        services: dict[str, ServiceEntry],
        world: FeedWorld,
        keys: dict[str, Any],
        horizon: Horizon,
        holdings: Holdings | None = None,
    ) -> None:
        self.holdings = Holdings() if holdings is None else holdings
        self.profiles = profiles
        self.profiles_at_base = len(profiles)
        self.services = services
        self.world = world
        self.keys = keys
        self.horizon = horizon
        self._numbers: dict[Profile, int] | None = None

    def number_of(self, profile: Profile) -> int:
        """The number of a profile, a new one if it was not seen before."""
        if self._numbers is None:
            # Made at the first change, not at the cold start: a gate that starts offline never needs it.
            self._numbers = {}
            for number, of_base in enumerate(self.profiles):
                self._numbers.setdefault(of_base, number)
        known = self._numbers.get(profile)
        if known is not None:
            return known
        self._numbers[profile] = added = len(self.profiles)
        self.profiles.append(profile)
        return added


def read_contents(meta: bytes, *, feed: str) -> Contents:
    """Read a ``meta`` part whose digest was checked. Meant for a thread.

    Raises:
        UnknownFormatError: it is of a version that this reader does not know.
        SnapshotRefusedError: it does not have the form of that version.
    """
    profiles: list[Profile] = []
    try:
        version = msgspec.json.decode(meta, type=_Formatted).format
        if version != FORMAT:
            raise UnknownFormatError(feed, f"format {version!r} is not known to this reader, only {FORMAT!r}")
        wire = msgspec.json.decode(meta, type=_Meta)
        for position, item in enumerate(wire.profiles):
            profiles.append(Profile.from_wire(item))
            if position % SLICE == 0:
                time.sleep(0)
        holdings = Holdings.read(wire.state)
    except (msgspec.DecodeError, ValueError) as error:
        raise SnapshotRefusedError(feed, f"the meta part cannot be read: {error}") from error
    services = {str(entry.document.get("id")): entry for entry in wire.services}
    return Contents(
        profiles=profiles,
        services=services,
        world=wire.world,
        keys=wire.keys,
        horizon=wire.horizon,
        holdings=holdings,
    )


def write_contents(
    profiles: list[Profile],
    services: list[ServiceEntry],
    *,
    world: FeedWorld,
    keys: dict[str, Any],
    horizon: Horizon,
    holdings: Holdings | None = None,
) -> bytes:
    """The ``meta`` part of these contents. Meant for a thread, so the arguments are copies that nobody changes."""
    wires = []
    for position, profile in enumerate(profiles):
        wires.append(profile.to_wire())
        if position % SLICE == 0:
            time.sleep(0)
    state = RawState() if holdings is None else holdings.write()
    return msgspec.json.encode(
        _Meta(format=FORMAT, horizon=horizon, profiles=wires, services=services, world=world, keys=keys, state=state)
    )
