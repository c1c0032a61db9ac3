"""Profiles by content: people with the same rights share one row, and one number in the cache of every gate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from cardservice.db import Connection, queries
from entitlements.profile import Profile

Digest = bytes
"""SHA-256 of a profile's canonical JSON."""

EMPTY: Final = Profile()
"""Of cards that will never open anything again, whoever holds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interned:
    """A profile as it is stored and sent."""

    digest: Digest
    body: bytes


@dataclass(slots=True)
class Pool:
    """Profiles met while compiling one area. Encoding is done once for each different one."""

    _by_profile: dict[Profile, Interned] = field(default_factory=dict)

    def intern(self, profile: Profile) -> Interned:
        """The stored form of a profile; equal profiles give the same object."""
        known = self._by_profile.get(profile)
        if known is None:
            body = msgspec.json.encode(profile.to_wire())
            known = self._by_profile[profile] = Interned(digest=hashlib.sha256(body).digest(), body=body)
        return known


async def number_profiles(
    conn: Connection, tenant: str, wanted: Iterable[tuple[str, Interned]]
) -> dict[tuple[str, Digest], int]:
    """Numbers of ``(area, profile)`` pairs; new content gets the smallest free number. Under the tenant's lock."""
    bodies = {(area, profile.digest): profile.body for area, profile in wanted}
    found = {
        (row["area"], row["digest"]): row["profile_id"]
        async for row in queries().feed.known_profiles(
            conn, tenant=tenant, areas=[area for area, _ in bodies], digests=[digest for _, digest in bodies]
        )
    }
    for area in sorted({area for area, digest in bodies if (area, digest) not in found}):
        missing = [digest for at, digest in bodies if at == area and (at, digest) not in found]
        added = queries().feed.add_profiles(
            conn, tenant=tenant, area=area, digests=missing, bodies=[bodies[area, digest] for digest in missing]
        )
        async for row in added:
            found[area, row["digest"]] = row["profile_id"]
    return found
