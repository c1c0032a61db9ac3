"""What a decision is made of beside the service: who, when, what was done at the reader, the state behind limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Literal, Protocol

import msgspec

from entitlements.model import CardState, Instant, SiteId, ZoneId
from entitlements.profile import AccountKeys, DelegateGrant, Profile, Segment, Verdict


class Acting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Somebody else's card is presented for the holder.

    ``grants`` are the delegations from the holder to this presenter (none for a stranger); ``blocks`` is
    ``Profile.blocks`` of the presenter.
    """

    grants: tuple[DelegateGrant, ...] = ()
    blocks: tuple[str, ...] = ()


class Subject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who is at the gate: the presented card's state, the *holder's* profile and account keys.

    ``card`` is ``None`` for a card that is not in the cache; ``profile`` is ``None`` where the card has no
    profile in this area. ``acting`` is set where a delegate's card was presented for the holder.
    """

    card: CardState | None
    profile: Profile | None = None
    keys: AccountKeys = msgspec.field(default_factory=dict)
    acting: Acting | None = None


class Moment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """When and where. ``at`` already has the reader's measured clock offset applied; ``cache_age`` in seconds."""

    at: Instant
    site: SiteId
    zone: ZoneId | None = None
    online: bool = True
    cache_age: int = 0
    clock_trusted: bool = True


class TapInput(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was done at the reader. ``children`` accompany the holder; ``units`` are those the visit or session
    will take.
    """

    pin: Literal["right", "wrong"] | None = None
    presentation: str = "static"
    units: int = 1
    amount_pence: int | None = None
    item: str | None = None
    confirmed: bool = False
    children: int = 0


class Ledger(Protocol):
    """Units already taken, by event time."""

    def used(self, account: str, key: str, since: Instant | None, until: Instant | None) -> int:
        """Units of ``account`` under ``key`` whose event lies in ``[since, until)``; ``None`` is open."""
        ...


class Presence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Presence of the person, card or permit that the service names (``CompiledService.presence_scopes``) at
    this site.

    ``since`` is the instant of entry, ``last`` that of the last admitted tap, ``zone_count`` the heads in the
    zone now.
    """

    inside: bool = False
    since: Instant | None = None
    last: Instant | None = None
    zone_count: int | None = None


class UpstreamCheck(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The last word of another system and its age in seconds; ``not_blocked`` is ``None`` where it did not say."""

    age: int
    not_blocked: bool | None


class Booking(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The holder's booking of the service's resource that is nearest in time: ``[start, end)``."""

    start: Instant
    end: Instant
    checked_in: bool = False


class State(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What limits and presence rest on. The empty state is that of a person who has never used anything.

    ``leases`` are the units left to this site per account; ``loans`` the local due dates of what the holder has out.
    """

    ledger: Ledger | None = None
    leases: Mapping[str, int] = msgspec.field(default_factory=dict)
    presence: Presence | None = None
    upstream: Mapping[str, UpstreamCheck] = msgspec.field(default_factory=dict)
    booking: Booking | None = None
    balance_pence: int | None = None
    loans: tuple[date, ...] = ()


RIGHTS = (Verdict.ELIGIBLE, Verdict.NEEDS_ADULT)
"""Verdicts under which a person has the right, be it with an adult."""
NOTHING = State()
"""State of somebody who has used nothing; also right for services without limits, presence or upstream checks."""
PLAIN_TAP = TapInput()


class Situation(msgspec.Struct, frozen=True, gc=False):
    """All of it in one value, for the requirements and limits of a service.

    ``grant`` is the service's segments of the holder's profile.
    """

    subject: Subject
    moment: Moment
    tap: TapInput
    state: State
    grant: tuple[Segment, ...]

    def key(self, scope: str) -> str | None:
        """The key units are kept by. Somebody of no recorded household is a household of one, and so on."""
        keys = self.subject.keys
        return keys.get(scope) or keys.get("person")

    @property
    def grant_start(self) -> Instant | None:
        """Start of the unbroken run of rights that holds now; ``None`` where it began before all record.

        A child's right, to be used with an adult, is a right; a time at which eligibility was not known is none.
        """
        start: Instant | None = None
        end: Instant | None = None
        for segment in self.grant:
            if segment.start is not None and segment.start > self.moment.at:
                break
            if segment.start is None or segment.start != end:
                start = segment.start
            end = segment.until if segment.verdict in RIGHTS else None
        return start


Test = Callable[[Situation], str | None]
"""One requirement or limit of a compiled service: the reason to refuse this tap, or ``None``."""
