"""Making and cancelling bookings. Units that a service counts when something is booked are taken and given back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.bookings.models import BookingRequest, is_released
from cardservice.bookings.telling import booking_rules, tellings
from cardservice.catalogue.loading import Catalogue, load_catalogue
from cardservice.db import queries
from cardservice.errors import conflict, not_found
from cardservice.feed.telling import tell_all
from cardservice.feed.writer import lock_tenant
from cardservice.ledger.accounts import holder_of, instant, moment_of, period_of, quotas
from cardservice.ledger.entries import Entry, Kind, post
from cardservice.ledger.keys import keyring
from cardservice.ledger.people import facts_of
from cardservice.ledger.problems import refused, wrong_value
from cardservice.ledger.rights import refuse_without_right
from entitlements.compile import CompiledService
from entitlements.facts import PersonFacts
from entitlements.model import Reason
from entitlements.service import BookingRule, Quota

LONGEST: Final = timedelta(days=31)
AHEAD: Final = timedelta(days=2 * 366)
"""Nobody books longer or further ahead; the year is mistyped."""


async def book(call: Call, wish: BookingRequest) -> Any:
    """Make a booking.

    Raises:
        ApiProblem: 404 for an unknown service or person; 422 for a service without bookings, a wrong time or too large
            a party; 409 where the person has no right to it then, its hours are over, the quota of bookings is used up
            or somebody else has the resource.
    """
    issue_number = await lock_tenant(call.conn, call.tenant)
    catalogue = await load_catalogue(call.conn, call.tenant)
    service = catalogue.service(wish.service)
    if service is None:
        raise not_found("service", wish.service[:80])
    rule = _rule(service, wish)
    _check_times(call, wish, rule)
    if rule.party_max is not None and wish.party > rule.party_max:
        raise wrong_value("/party", f"at most {rule.party_max} may come")
    facts = await facts_of(call.conn, call.tenant, wish.person_id, today=catalogue.today(call.now))
    if facts is None:
        raise not_found("person", wish.person_id)
    refuse_without_right(service, facts, catalogue.world, wish.start)
    last = moment_of(instant(wish.end)) or wish.end
    if not (service.is_open(instant(wish.start)) and service.is_open(instant(last - timedelta(seconds=1)))):
        raise refused(Reason.OUTSIDE_HOURS, f"“{service.document.title}” is not open for all of that time.")
    created = [quota for quota in quotas(service) if quota.counts == "created"]
    for quota in created:
        await _refuse_used_up(call, service, quota, facts, catalogue)
    named = {"owner": str(service.tenant), "resource": rule.resource}
    await queries().bookings.lock_resource(call.conn, **named)
    if await queries().bookings.taken(call.conn, **named, start=wish.start, end=wish.end, now=call.now):
        raise refused("resource_taken", f"Somebody else has {rule.resource} for a part of that time.")
    row = await queries().bookings.add(
        call.conn,
        tenant=call.tenant,
        **named,
        person_id=wish.person_id,
        service_id=str(service.id),
        starts_at=wish.start,
        ends_at=wish.end,
        party=wish.party,
        created_by=call.actor.name,
        now=call.now,
    )
    ring = await keyring(call.conn, call.tenant)
    entries = [_entry(call, service, quota, facts, row, "booking") for quota in created]
    await post(call.conn, call.tenant, entries, keyring=ring, issue_number=issue_number, now=call.now)
    wanted = tellings(row, catalogue, ring)
    await tell_all(call.conn, call.tenant, wanted, issue_number=issue_number, now=call.now)
    await audit(call, "booking.made", f"booking:{row['booking_id']}", person=str(wish.person_id), **named)
    return row


async def cancel(call: Call, booking_id: UUID) -> Any:
    """Cancel a booking. What was counted for it is given back unless it has begun.

    Raises:
        ApiProblem: 404, or 409 where it was cancelled, used or over before.
    """
    issue_number = await lock_tenant(call.conn, call.tenant)
    before = await queries().bookings.get(call.conn, tenant=call.tenant, booking_id=booking_id)
    if before is None:
        raise not_found("booking", booking_id)
    if before["state"] != "open":
        raise conflict("booking_cancelled", "This booking was cancelled before.")
    if before["checked_in_at"] is not None or before["ends_at"] <= call.now:
        raise conflict("booking_used", "This booking was used, or is over.")
    row = await queries().bookings.cancel(
        call.conn, tenant=call.tenant, booking_id=booking_id, now=call.now, cancelled_by=call.actor.name
    )
    ring = await keyring(call.conn, call.tenant)
    if before["starts_at"] > call.now:
        taken = queries().bookings.entries(call.conn, tenant=call.tenant, booking_id=booking_id)
        back = [_given_back(call, taken_row) async for taken_row in taken]
        await post(call.conn, call.tenant, back, keyring=ring, issue_number=issue_number, now=call.now)
    wanted = tellings(row, await load_catalogue(call.conn, call.tenant), ring)
    await tell_all(call.conn, call.tenant, wanted, issue_number=issue_number, now=call.now)
    await audit(call, "booking.cancelled", f"booking:{booking_id}", person=str(row["person_id"]))
    return row


def _rule(service: CompiledService, wish: BookingRequest) -> BookingRule:
    rules = [rule for rule in booking_rules(service) if wish.resource in (None, rule.resource)]
    if not rules:
        raise wrong_value("/service", f"{service.document.title} has no such resource to book")
    if len(rules) > 1:
        raise wrong_value("/resource", "name one: " + ", ".join(rule.resource for rule in rules))
    return rules[0]


def _check_times(call: Call, wish: BookingRequest, rule: BookingRule) -> None:
    if wish.end <= wish.start:
        raise wrong_value("/end", "it is not after the start")
    if wish.end <= call.now:
        raise wrong_value("/end", "it is over")
    if rule.late is not None and is_released(wish.start + timedelta(seconds=rule.late), call.now):
        raise wrong_value("/start", "it is so long ago that the booking would be released at once")
    if wish.end - wish.start > LONGEST:
        raise wrong_value("/end", f"a booking is for {LONGEST.days} days at most")
    if wish.start > call.now + AHEAD:
        raise wrong_value("/start", "it lies years ahead")


async def _refuse_used_up(
    call: Call, service: CompiledService, quota: Quota, facts: PersonFacts, catalogue: Catalogue
) -> None:
    """A booking counts when it is made, in the period of that time."""
    since, until = period_of(service, quota.period, instant(call.now), facts, catalogue.world)
    scope, holder = holder_of(facts, service, quota.scope, instant(call.now))
    used = await queries().ledger.used(
        call.conn,
        tenant=call.tenant,
        area=str(service.area),
        account=quota.account,
        scope=scope,
        holder=holder,
        since=moment_of(since),
        until=moment_of(until),
    )
    if used + 1 > quota.max:
        resets = moment_of(until)
        raise refused(
            Reason.QUOTA_USED,
            f"All {quota.max} {quota.unit} of this period are used.",
            resets_at=None if resets is None else resets.isoformat(),
        )


def _entry(call: Call, service: CompiledService, quota: Quota, facts: PersonFacts, row: Any, kind: Kind) -> Entry:
    scope, holder = holder_of(facts, service, quota.scope, instant(call.now))
    return Entry(
        entry_id=row["booking_id"],
        origin=call.tenant,
        area=str(service.area),
        account=quota.account,
        scope=scope,
        holder=holder,
        units=1,
        at=row["created_at"],
        kind=kind,
        service_id=str(service.id),
        person_id=row["person_id"],
        actor=call.actor.name,
    )


def _given_back(call: Call, row: Any) -> Entry:
    """The unit goes back to the period that it was taken from."""
    at: datetime = row["happened_at"]
    return Entry(
        entry_id=uuid4(),
        origin=call.tenant,
        area=row["area"],
        account=row["account"],
        scope=row["scope"],
        holder=row["holder"],
        units=-row["units"],
        at=at,
        kind="cancellation",
        service_id=row["service_id"],
        person_id=row["person_id"],
        actor=call.actor.name,
    )
