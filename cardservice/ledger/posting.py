"""From stored taps to the state behind limits: units, bookings checked in, loans. In the transaction that stored them.

What the reader decided stands. Whose units they are, the service finds out itself from card, person and document; the
key that the reader names is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog

from cardservice.bookings.arrivals import check_in
from cardservice.catalogue.facts import load_facts
from cardservice.catalogue.loading import Catalogue, load_catalogue, service_of_version
from cardservice.db import DATABASE_AWAY, TRY_AGAIN, Connection, queries
from cardservice.feed.telling import tell_all
from cardservice.feed.writer import as_tenant, lock_tenant
from cardservice.ledger.accounts import Moves, facts_at, holder_of, household_moves, instant, quotas
from cardservice.ledger.entries import Entry, post
from cardservice.ledger.flags import Flag, raise_flags
from cardservice.ledger.keys import keyring
from cardservice.ledger.reconciliation import Posted, reconcile
from cardservice.ledger.reversals import give_back, unused_taps
from cardservice.ledger.visits import Visit
from cardservice.loans.lending import lend
from cardservice.taps.judgement import card_bytes, moment
from entitlements.compile import CompiledService
from entitlements.errors import EntitlementsError
from entitlements.facts import PersonFacts
from entitlements.model import Outcome, Reason
from entitlements.service import BookingRule, LoanRule
from entitlements.wire.taps import Passage, Tap

MAX_UNITS: Final = 1_000_000
"""Units of one tap; more is a broken number, not a visit."""

log = structlog.get_logger("ledger.posting")


@dataclass(slots=True, kw_only=True)
class _Batch:
    """Taps of one council's cards at one site, on their way into the ledger."""

    conn: Connection
    tenant: str
    origin: str
    reader_id: UUID
    now: datetime
    catalogue: Catalogue
    flags: list[Flag] = field(default_factory=list)


async def post_what_can_be(
    conn: Connection, *, tenant: str, reader: Mapping[str, Any], items: Sequence[Tap | Passage], now: datetime
) -> bool:
    """As :func:`post_taps`, but a fault of ours costs no tap: the taps stay stored and are flagged as unposted.

    A reader sends a batch until it is answered; one tap that we cannot count must not hold up all that come after it.

    Raises:
        asyncpg.PostgresError, OSError...: the database is away or asks to try again; then nothing was stored either.
    """
    try:
        async with conn.transaction():
            return await post_taps(conn, tenant=tenant, reader=reader, items=items, now=now)
    except (*DATABASE_AWAY, *TRY_AGAIN):
        raise
    except Exception:
        log.exception("taps could not be posted; they are kept and flagged", tenant=tenant)
        why = "a fault of the service, which is in its log"
        taps = [item for item in items if isinstance(item, Tap) and item.effects]
        await raise_flags(conn, tenant, [_unposted(tap, why) for tap in taps], now=now)
        return False


async def post_taps(
    conn: Connection, *, tenant: str, reader: Mapping[str, Any], items: Sequence[Tap | Passage], now: datetime
) -> bool:
    """Let allowed taps take effect, and give back what was taken where nobody passed.

    Args:
        conn: a transaction of the site's tenant in which the items have just been stored.
        tenant: of the site.
        reader: the reader's row. It speaks only of cards of councils whose feeds it is enrolled for.
        items: those that were new.

    Returns:
        Whether any feed may have got a change.
    """
    enrolled = {feed.partition("/")[0] for feed in reader["feeds"]}
    by_council: dict[str, list[Tap]] = {}
    strange = []
    for tap in (item for item in items if isinstance(item, Tap)):
        if tap.outcome is not Outcome.ALLOW or tap.direction != "entry" or tap.reason != Reason.OK:
            continue
        council = tap.card_tenant
        if council is not None and council in enrolled and tap.card is not None and tap.service is not None:
            by_council.setdefault(council, []).append(tap)
        elif tap.effects:
            strange.append(_unposted(tap, "the reader is not enrolled for that council's cards"))
    await raise_flags(conn, tenant, strange, now=now)
    unused = await unused_taps(conn, tenant, reader["site_id"], items)
    told = False
    # Tenants in the order of their names, as everybody does who locks several.
    for council in sorted(by_council.keys() | (unused.keys() & enrolled)):
        async with nullcontext() if council == tenant else as_tenant(conn, council):
            told |= await _post_council(conn, council, tenant, reader["reader_id"], by_council.get(council, ()), now)
            if council in unused:
                told |= await give_back(conn, council, tenant, unused[council], now)
    return told


async def _post_council(
    conn: Connection, council: str, origin: str, reader_id: UUID, taps: Sequence[Tap], now: datetime
) -> bool:
    if not taps:
        return False
    try:
        catalogue = await load_catalogue(conn, council)
    except EntitlementsError:
        # The catalogue is broken, which a manager has to mend; taps must not wait for it in the readers' queues.
        log.exception("taps could not be posted", tenant=council)
        why = "the council's catalogue could not be read"
        await raise_flags(conn, council, [_unposted(tap, why) for tap in taps if tap.effects], now=now)
        return False
    wanted = [tap for tap in taps if tap.effects or _keeps_records(catalogue.service(str(tap.service)))]
    if not wanted:
        return False
    issue_number = await lock_tenant(conn, council)
    batch = _Batch(conn=conn, tenant=council, origin=origin, reader_id=reader_id, now=now, catalogue=catalogue)
    visits = await _visits(batch, wanted)
    posted = [item for visit in visits for item in _entries(batch, visit)]
    ring = await keyring(conn, council)
    entries = [item.entry for item in posted]
    new = {entry.name for entry in await post(conn, council, entries, keyring=ring, issue_number=issue_number, now=now)}
    fresh = [item for item in posted if item.entry.name in new]
    batch.flags += await reconcile(conn, council, fresh, catalogue.world, now=now)
    arrivals = await check_in(conn, council, visits, catalogue, ring)
    loans, over = await lend(conn, council, origin, visits, catalogue, ring)
    await tell_all(conn, council, [*arrivals, *loans], issue_number=issue_number, now=now)
    await raise_flags(conn, council, [*batch.flags, *over], now=now)
    return True


def _keeps_records(service: CompiledService | None) -> bool:
    """Whether an allowed tap of the service changes a booking or makes a loan."""
    limits = () if service is None else service.document.limits
    return any(isinstance(limit, BookingRule | LoanRule) for limit in limits)


async def _visits(batch: _Batch, taps: Sequence[Tap]) -> list[Visit]:
    """Whom each tap was for. What cannot be told is flagged, so that no unit is lost without a word."""
    cards = {
        bytes(row["card_id"]): row
        async for row in queries().ledger.cards_by_id(
            batch.conn, tenant=batch.tenant, card_ids=[card_bytes(str(tap.card)) for tap in taps]
        )
    }
    holders = {
        row["card_index"]: row["person_id"]
        async for row in queries().ledger.cards_by_index(
            batch.conn, tenant=batch.tenant, indexes=[tap.acts_for for tap in taps if tap.acts_for is not None]
        )
    }
    people = list({*(row["person_id"] for row in cards.values()), *holders.values()})
    facts = await load_facts(batch.conn, batch.tenant, people, today=batch.catalogue.today(batch.now))
    moves = await household_moves(batch.conn, batch.tenant, people)
    allowed = {
        (row["person_id"], row["delegate"])
        async for row in queries().ledger.delegations(batch.conn, tenant=batch.tenant, people=list(holders.values()))
    }
    visits = []
    for tap in taps:
        card = cards.get(card_bytes(str(tap.card)))
        presenter = None if card is None else card["person_id"]
        person = presenter if tap.acts_for is None else holders.get(tap.acts_for)
        service = await _service(batch, tap)
        if presenter is None:
            batch.flags.append(_unposted(tap, "there is no such card"))
        elif person is None or (person != presenter and (person, str(presenter)) not in allowed):
            batch.flags.append(_unposted(tap, "nobody ever let this person act for the holder of that card"))
        elif service is None:
            batch.flags.append(_unposted(tap, "there is no such service"))
        else:
            visits.append(_visit(tap, person, facts[person], moves, service))
    return visits


def _visit(tap: Tap, person: UUID, facts: PersonFacts, moves: Moves, service: CompiledService) -> Visit:
    at = moment(tap.at)
    return Visit(tap=tap, at=at, person=person, facts=facts_at(facts, moves.get(person, ()), at), service=service)


async def _service(batch: _Batch, tap: Tap) -> CompiledService | None:
    """The service as it is in force, or as the reader knew it where that one takes no such units."""
    service = batch.catalogue.service(str(tap.service))
    known = set() if service is None else {quota.account for quota in quotas(service)}
    if service is not None and all(effect.get("account") in known for effect in tap.effects):
        return service
    if tap.service_version is None:
        return service
    older = await service_of_version(batch.conn, batch.catalogue, str(tap.service), tap.service_version)
    return older or service


def _entries(batch: _Batch, visit: Visit) -> list[Posted]:
    tap, service = visit.tap, visit.service
    known = {quota.account: quota for quota in quotas(service)}
    posted = []
    for effect in tap.effects:
        quota, units = known.get(str(effect.get("account"))), effect.get("units")
        if quota is None:
            batch.flags.append(_unposted(tap, f"the service takes no units of {effect.get('account')}", visit))
            continue
        if type(units) is not int or not 0 < abs(units) <= MAX_UNITS:
            batch.flags.append(_unposted(tap, "the units are no number that a visit can take", visit))
            continue
        scope, holder = holder_of(visit.facts, service, quota.scope, instant(visit.at))
        entry = Entry(
            entry_id=tap.tap_id,
            origin=batch.origin,
            area=str(service.area),
            account=quota.account,
            scope=scope,
            holder=holder,
            units=units,
            at=visit.at,
            kind="tap",
            service_id=str(service.id),
            person_id=visit.person,
            site_id=tap.site,
            reader_id=batch.reader_id,
            offline=not tap.online,
        )
        posted.append(
            Posted(entry=entry, quota=quota, service=service, facts=visit.facts, clock_trusted=tap.clock_trusted)
        )
    return posted


def _unposted(tap: Tap, why: str, visit: Visit | None = None) -> Flag:
    taken = [effect["units"] for effect in tap.effects if type(effect.get("units")) is int]
    return Flag(
        kind="unposted",
        sentence=f"A visit at {tap.site} was allowed, but its units stand in no account: {why}.",
        at=moment(tap.at),
        service_id=tap.service,
        person_id=None if visit is None else visit.person,
        tap_id=tap.tap_id,
        site_id=tap.site,
        units=taken[0] if len(taken) == 1 and abs(taken[0]) <= MAX_UNITS else None,
    )
