"""What one decision rests on beside the rules: account keys and the state behind limits, for one holder in one feed.

Everything comes from memory: the feed's tables, this site's own entries, the presence book. Gathered in one go, without
a wait in between, so that no decision sees half of a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import msgspec

from entitlements.compiled import CompiledService
from entitlements.model import CardState, Decision, Instant, Outcome, Reason, TenantId, ZoneId
from entitlements.profile import AccountKeys, DelegateGrant, Profile
from entitlements.service import BookingRule
from entitlements.situation import Acting, Booking, Moment, State, UpstreamCheck
from entitlements.wire.state import Acting as WireActing
from entitlements.wire.state import Booking as WireBooking
from entitlements.wire.state import Holder
from readers.holdings import Holdings
from readers.needs import Needs
from readers.own import Own, OwnBook, OwnCheckIn, OwnLoan, OwnUnits
from readers.presence import PresenceBook, VisitorKey, card_key, scope_key
from readers.replay import ReplayBook

_NO_KEYS: Final[AccountKeys] = {}
_UNREAD: Final = Holder(index=-1)


class SiteState:
    """What all lanes of the site share beside the feeds."""

    __slots__ = ("own", "presence", "replay")

    def __init__(self, presence: PresenceBook, own: OwnBook, replay: ReplayBook) -> None:
        self.presence = presence
        self.own = own
        self.replay = replay


class Party:
    """One card in one feed and its holder: whose rights are used. What is sparse is read when it is asked for."""

    __slots__ = ("_holder", "card", "feed", "holdings", "index", "key", "profile")

    def __init__(
        self, feed: str, holdings: Holdings, *, index: int, tag: int, card: CardState, profile: Profile
    ) -> None:
        self.feed = feed
        self.holdings = holdings
        self.index = index
        self.card = card
        self.profile = profile
        self.key: VisitorKey = card_key(TenantId(feed.partition("/")[0]), index, tag)
        self._holder: Holder | None = _UNREAD

    @property
    def holder(self) -> Holder | None:
        """What the feed keeps of the holder."""
        if self._holder is _UNREAD:
            self._holder = self.holdings.holder(self.index)
        return self._holder

    def keys(self, service: CompiledService | None) -> AccountKeys:
        """Account keys of the holder, for a service with those of its own."""
        holder = self.holder
        if holder is None:
            return _NO_KEYS
        own = None if service is None else holder.own.get(service.id)
        return {**holder.keys, **own} if own else holder.keys

    def visitor_keys(self, scopes: Sequence[str], keys: AccountKeys) -> tuple[VisitorKey, ...]:
        """Keys of presence by these scopes; whoever has no key of a scope is known by the person, or by the card."""
        found: list[VisitorKey] = []
        for scope in scopes:
            name = scope if scope in keys else "person"
            key = self.key if scope == "card" or name not in keys else scope_key(self.feed, name, keys[name])
            if key not in found:
                found.append(key)
        return tuple(found) or (self.key,)


def state_for(
    party: Party,
    needs: Needs,
    keys: AccountKeys,
    moment: Moment,
    *,
    site: SiteState,
    lane: str,
    zone: ZoneId | None,
) -> State:
    """The state behind the limits of one service for one holder.

    Args:
        party: whose rights are used.
        needs: what the service asks for.
        keys: :meth:`Party.keys` for the service.
        moment: of the decision; ``online`` is that of the feed.
        lane: the lane that asks; a person whom another lane has just released counts as inside.
        zone: where the lane leads, for the heads in it.
    """
    presence = site.presence.of(party.visitor_keys(needs.scopes, keys), lane=lane, zone=zone)
    if not needs.holder:
        return State(presence=presence)
    holdings, own, at = party.holdings, site.own, moment.at
    person = keys.get("person")
    booking: Booking | None = None
    upstream: dict[str, UpstreamCheck] = {}
    loans: tuple[date, ...] = ()
    if person is not None:
        if needs.booking is not None:
            near = nearest(_checked(holdings.bookings(needs.booking.resource, person), own), needs.booking, at)
            if near is not None:
                start, end = Instant(near.start), Instant(near.end)
                booking = Booking(start=start, end=end, checked_in=near.checked_in)
        if needs.pool is not None:
            loans = _loans(needs.pool, person, holdings, own)
        for name in needs.upstreams:
            word = holdings.upstream(name, person)
            if word is not None:
                upstream[name] = UpstreamCheck(age=max(0, at - word.at), not_blocked=word.not_blocked)
    return State(
        ledger=own.ledger(holdings) if needs.ledger else None,
        leases={} if moment.online else _leases(needs, keys, holdings, own),
        presence=presence,
        upstream=upstream,
        booking=booking,
        loans=loans,
    )


def _leases(needs: Needs, keys: AccountKeys, holdings: Holdings, own: OwnBook) -> Mapping[str, int]:
    """Units that are left to this site while it is cut off, by account, for whoever has these keys."""
    left: dict[str, int] = {}
    for lease in needs.leases:
        names = (keys.get(scope) or keys.get("person") for scope in lease.scopes)
        spent = max((own.leased(lease.account, name, holdings) for name in names if name is not None), default=0)
        left[lease.account] = max(0, lease.units - spent)
    return left


def _checked(found: tuple[tuple[str, WireBooking], ...], own: OwnBook) -> list[WireBooking]:
    """Bookings, with what this site knows of people having come."""
    return [
        msgspec.structs.replace(booking, checked_in=True)
        if not booking.checked_in and own.checked_in(name)
        else booking
        for name, booking in found
    ]


def nearest(bookings: Sequence[WireBooking], rule: BookingRule, at: int) -> WireBooking | None:
    """The booking to decide by: one that opens the door now, else the nearest in time; the earlier of two as near."""

    def order(booking: WireBooking) -> tuple[bool, int, int]:
        opens = booking.start - rule.early
        apart = opens - at if at < opens else at - booking.end + 1 if at >= booking.end else 0
        released = rule.late is not None and not booking.checked_in and at > booking.start + rule.late
        return apart > 0 or released, apart, booking.start

    return min(bookings, key=order, default=None)


def _loans(pool: str, person: str, holdings: Holdings, own: OwnBook) -> tuple[date, ...]:
    known = dict(holdings.loans(pool, person))
    days = [date.fromisoformat(loan.due) for loan in known.values()]
    days += [date.fromisoformat(loan.due) for tap, loan in own.loans(pool, person).items() if tap not in known]
    return tuple(days)


def acting_for(grants: WireActing, presenter: Profile) -> Acting:
    """What the decision is told of somebody who presents their own card for another."""
    return Acting(
        grants=tuple(
            DelegateGrant(
                scopes=frozenset(grant.scopes),
                start=None if grant.from_ is None else Instant(grant.from_),
                until=None if grant.until is None else Instant(grant.until),
                max_pence=grant.max_pence,
            )
            for grant in grants.grants
        ),
        blocks=presenter.blocks,
    )


def own_of(
    party: Party, service: CompiledService, needs: Needs, decision: Decision, moment: Moment, own: OwnBook
) -> tuple[Own, ...]:
    """What an allowed tap takes at this site; nothing for the same visit again."""
    if decision.outcome is not Outcome.ALLOW or decision.reason != Reason.OK:
        return ()
    at = moment.at
    taken: list[Own] = [
        OwnUnits(
            feed=party.feed,
            account=effect.account,
            key=effect.key,
            at=at,
            units=effect.units,
            offline=not moment.online,
        )
        for effect in decision.effects
        if effect.key is not None
    ]
    person = party.keys(service).get("person")
    if person is None:
        return tuple(taken)
    if needs.booking is not None:
        found = party.holdings.bookings(needs.booking.resource, person)
        near = nearest(_checked(found, own), needs.booking, at)
        if near is not None and not near.checked_in:
            taken.append(OwnCheckIn(feed=party.feed, booking=near.booking, at=at))
    if needs.pool is not None:
        due = date.fromordinal(service.time.day(at)) + timedelta(days=needs.loan_days)
        taken.append(OwnLoan(feed=party.feed, pool=needs.pool, key=person, at=at, due=due.isoformat()))
    return tuple(taken)
