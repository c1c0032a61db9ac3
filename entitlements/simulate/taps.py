"""What is replayed: past taps with what was known then, and the state at the start."""

from __future__ import annotations

from typing import Literal

import msgspec

from entitlements.model import CardState, Instant, Outcome, SiteId, ZoneId
from entitlements.profile import AccountKeys, Profile
from entitlements.situation import NOTHING, PLAIN_TAP, Acting, State, TapInput


class ReplayTap(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One past presentation, as it would be decided under the old and under the new document.

    ``person`` is an opaque key, only ever compared and shown in examples. The two profiles are compiled by the caller
    with a horizon that holds ``at``, and are best interned: most taps share one with many others. Units, presence and
    heads are kept by the replay itself; of ``known`` only what it cannot keep is used: other systems' answers, the
    booking, the balance, loans, and the leases of a site that was offline. ``recorded`` is what the gate then did.
    """

    at: Instant
    site: SiteId
    person: str
    new_profile: Profile | None
    old_profile: Profile | None = None
    zone: ZoneId | None = None
    direction: Literal["in", "out"] = "in"
    card: CardState | None = CardState.ACTIVE
    keys: AccountKeys = msgspec.field(default_factory=dict)
    acting: Acting | None = None
    tap: TapInput = PLAIN_TAP
    known: State = NOTHING
    online: bool = True
    cache_age: int = 0
    clock_trusted: bool = True
    recorded: Outcome | None = None


class Inside(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who was inside a site when the replay begins; ``key`` as for the service's presence scope."""

    site: SiteId
    key: str
    since: Instant
    zone: ZoneId | None = None
    heads: int = 1


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """State at the first tap, the same for both documents: what really was.

    ``entries`` are ``(account, key, units, at)`` of the periods that reach into the replay.
    """

    entries: tuple[tuple[str, str, int, Instant], ...] = ()
    inside: tuple[Inside, ...] = ()


EMPTY = Start()
"""Nobody inside, nothing used."""
