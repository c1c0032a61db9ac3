"""A profile: all that a gate needs to know of a person, without knowing the person.

Many residents share one profile (design.md, in-memory entitlement cache), so it holds nothing that tells them
apart: no id, no date of birth, no fact. Instants are absolute, so a 16th birthday works on a reader that has
been offline for days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

import msgspec

from entitlements.model import Instant, ServiceId


class Verdict(IntEnum):
    """What the person rules say within one segment. Outside every segment the answer is "not eligible"."""

    ELIGIBLE = 0
    UNKNOWN = 1
    NEEDS_ADULT = 2
    """Eligible, but a child under the service's ``accompanied_by`` age, who may not come alone."""
    TOO_YOUNG = 3
    """Not eligible, by age only, of a service to which an adult may bring such a child."""


class Horizon(msgspec.Struct, frozen=True, kw_only=True):
    """The time for which profiles are compiled: ``[start, end)``."""

    start: Instant
    end: Instant

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError("a horizon must end after it starts")


class Segment(msgspec.Struct, frozen=True, gc=False):
    """A grant of one service during ``[start, until)``.

    ``start`` is ``None`` where the segment had begun before the horizon, ``until`` is ``None`` where it
    reaches the horizon's end: so a profile does not change merely because the horizon moved on by a day.
    """

    start: Instant | None
    until: Instant | None
    verdict: Verdict
    band: str | None = None
    pence: int | None = None


class Profile:
    """Immutable, hashable by content; equal profiles are stored once (:class:`ProfilePool`).

    Args:
        grants: service id and its segments, by time; a service that is absent is not open to this person within the
            horizon. Sorted by service id here.
        prerequisites: per name that the compiled services ask for, the sites where it was done (``*`` for all).
        blocks: service ids, or ``*`` for all services.
    """

    __slots__ = ("_hash", "blocks", "by_service", "done", "grants", "prerequisites")

    grants: tuple[tuple[ServiceId, tuple[Segment, ...]], ...]
    prerequisites: tuple[tuple[str, tuple[str, ...]], ...]
    blocks: tuple[str, ...]
    by_service: Mapping[ServiceId, tuple[Segment, ...]]
    done: Mapping[str, tuple[str, ...]]
    _hash: int

    def __init__(
        self,
        *,
        grants: Iterable[tuple[ServiceId, tuple[Segment, ...]]] = (),
        prerequisites: Iterable[tuple[str, tuple[str, ...]]] = (),
        blocks: Iterable[str] = (),
    ) -> None:
        put = object.__setattr__
        put(self, "grants", tuple(sorted((name, tuple(segments)) for name, segments in grants if segments)))
        put(self, "prerequisites", tuple(sorted((name, tuple(sorted(sites))) for name, sites in prerequisites)))
        put(self, "blocks", ("*",) if "*" in (listed := tuple(sorted(blocks))) else listed)
        put(self, "by_service", dict(self.grants))
        put(self, "done", dict(self.prerequisites))
        put(self, "_hash", hash((self.grants, self.prerequisites, self.blocks)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a profile is immutable: {name}")

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Profile):
            return NotImplemented
        return (self.grants, self.prerequisites, self.blocks) == (other.grants, other.prerequisites, other.blocks)

    def __repr__(self) -> str:
        return f"Profile(grants={self.grants!r}, prerequisites={self.prerequisites!r}, blocks={self.blocks!r})"

    def segments(self, service: ServiceId) -> tuple[Segment, ...]:
        """Segments of a service in time order; empty where it is not open to this person."""
        return self.by_service.get(service, ())

    def to_wire(self) -> list[Any]:
        """Canonical JSON-able form: ``[grants, prerequisites, blocks]``.

        A segment is ``[start, until, verdict]`` or ``[start, until, verdict, band, pence]``. Equal profiles
        give equal lists.
        """
        return [
            [[name, [_segment_to_wire(segment) for segment in segments]] for name, segments in self.grants],
            [[name, list(sites)] for name, sites in self.prerequisites],
            list(self.blocks),
        ]

    @classmethod
    def from_wire(cls, wire: Any) -> Profile:
        """Read :meth:`to_wire`'s form.

        Raises:
            msgspec.ValidationError: ``wire`` does not have that form.
        """
        grants, prerequisites, blocks = msgspec.convert(wire, _Wire)
        return cls(
            grants=tuple((ServiceId(name), tuple(map(_segment_from_wire, rows))) for name, rows in grants),
            prerequisites=prerequisites,
            blocks=blocks,
        )


_Wire = tuple[
    tuple[tuple[str, tuple[tuple[Any, ...], ...]], ...],
    tuple[tuple[str, tuple[str, ...]], ...],
    tuple[str, ...],
]


class _Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    start: int | None
    until: int | None
    verdict: Verdict
    band: str | None = None
    pence: int | None = None


def _segment_to_wire(segment: Segment) -> list[Any]:
    row: list[Any] = [segment.start, segment.until, int(segment.verdict)]
    if segment.band is not None:
        row += [segment.band, segment.pence]
    return row


def _segment_from_wire(row: tuple[Any, ...]) -> Segment:
    read = msgspec.convert(row, _Row)
    return Segment(
        None if read.start is None else Instant(read.start),
        None if read.until is None else Instant(read.until),
        read.verdict,
        read.band,
        read.pence,
    )


class ProfilePool:
    """Profiles interned by content: the dense number of a profile is its place in ``profiles``."""

    __slots__ = ("_numbers", "profiles")

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        self.profiles: list[Profile] = []
        self._numbers: dict[Profile, int] = {}
        for profile in profiles:
            self.number(profile)

    def number(self, profile: Profile) -> int:
        """The profile's number, a new one where its content was not seen before."""
        number = self._numbers.get(profile)
        if number is None:
            number = self._numbers[profile] = len(self.profiles)
            self.profiles.append(profile)
        return number

    def __len__(self) -> int:
        return len(self.profiles)


class DelegateGrant(msgspec.Struct, frozen=True, kw_only=True):
    """One delegation as the gate sees it: sparse data of a card, kept apart from the shared profiles.

    ``[start, until)`` are absolute; ``None`` is open. ``max_pence`` caps one action.
    """

    scopes: frozenset[str]
    start: Instant | None = None
    until: Instant | None = None
    max_pence: int | None = None

    def holds(self, at: Instant) -> bool:
        """Whether it is in force."""
        return (self.start is None or self.start <= at) and (self.until is None or at < self.until)

    def covers(self, pence: int) -> bool:
        """Whether one action may be of so much."""
        return self.max_pence is None or pence <= self.max_pence


AccountKeys = Mapping[str, str]
"""Scope (``person``, ``household``, ``vehicle``, ``permit``) -> opaque key under which the ledger keeps this
card's units.
"""
