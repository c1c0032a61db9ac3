"""One decision replayed: the same pure function, with document, facts and state as they were at the tap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from cardservice.api.call import Work
from cardservice.catalogue.loading import Catalogue, load_catalogue, service_of_version
from cardservice.db import queries
from cardservice.ledger.accounts import instant
from cardservice.taps.models import TapView
from cardservice.why.differences import may_explain
from cardservice.why.facts import facts_used
from cardservice.why.models import Rules, Step, Verdict, WhyReply
from cardservice.why.past import Person, Then, card_state, person, state_then, when
from entitlements.compile import CompiledService, account_keys, compile_profile, delegate_grants
from entitlements.decide import EXIT, decide
from entitlements.model import CardState, Decision, Instant, Outcome, Reason, SiteId, TenantId, ZoneId, deciding_step
from entitlements.model import Step as RuleStep
from entitlements.profile import Horizon
from entitlements.sentences import describe
from entitlements.situation import Acting, Moment, Subject, TapInput

DAY: Final = 86_400
"""Seconds for which the person is compiled, on both sides of the tap."""
NOT_KEPT: Final = {
    Reason.BAD_SIGNATURE: "The code’s signature was not valid. What was shown is not kept, so it cannot be replayed.",
    Reason.EXPIRED_CODE: "The live code was too old. What was shown is not kept, so it cannot be replayed.",
    Reason.REPLAYED_CODE: "The live code had been shown before. What was shown is not kept, so it cannot be replayed.",
}

Row = Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class _Case:
    """What becomes known of a tap on the way."""

    tap: Row
    zone: ZoneInfo
    service: CompiledService | None = None
    rules: Rules | None = None
    card: CardState | None = None
    person: Person | None = None
    then: Then = field(default_factory=Then)
    facts: list[str] = field(default_factory=list)
    not_known: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def at(self) -> datetime:
        """When the tap happened, by the reader's corrected clock."""
        at: datetime = self.tap["happened_at"]
        return at


async def why(work: Work, tap: Row, *, with_facts: bool) -> WhyReply:
    """Replay one tap.

    Args:
        work: a transaction of the site's tenant.
        tap: a row of ``tap_to_explain``.
        with_facts: whether the person's facts may be shown.
    """
    catalogue = await load_catalogue(work.conn, work.tenant)
    zone = catalogue.zone
    case = _Case(tap=tap, zone=zone)
    decision = await _replay(work, catalogue, case)
    recorded = Decision(outcome=Outcome(tap["outcome"]), reason=tap["reason"])
    agrees = None if decision is None else (decision.outcome, decision.reason) == (recorded.outcome, recorded.reason)
    # Where the replay differs, the step that decided at the gate is still the one to be shown.
    return WhyReply(
        tap=TapView.from_row(tap),
        recorded=_verdict(recorded, case),
        replayed=None if decision is None else _verdict(decision, case),
        agrees=agrees,
        rules=case.rules,
        steps=_steps(recorded),
        facts=case.facts if with_facts else [],
        state=case.then.told,
        may_explain=[] if agrees in (True, None) else await may_explain(work, tap, case.then.late, case.rules, zone),
        not_known=[*case.not_known, *case.then.not_known],
        changed_since=case.changed if with_facts else [],
        asked_at=work.now,
    )


async def _replay(work: Work, catalogue: Catalogue, case: _Case) -> Decision | None:
    tap = case.tap
    if tap["direction"] == "exit":
        case.not_known.append("It was a tap on the way out: leaving never needs permission, so nothing is decided.")
        return EXIT
    if tap["reason"] in NOT_KEPT:
        case.not_known.append(NOT_KEPT[tap["reason"]])
        return None
    if tap["card_id"] is None:
        case.not_known.append("No card could be read, so there is nothing to replay.")
        return None
    await _find_service(work, catalogue, case)
    if tap["card_tenant"] != work.tenant:
        case.not_known.append(f"The card is of {tap['card_tenant']}: ask that council, which alone knows its holder.")
        return None
    presented = await queries().why.card_of_tap(work.conn, tenant=work.tenant, card_id=tap["card_id"])
    if presented is None:
        case.not_known.append("No such card was ever issued by this council.")
        return Decision(outcome=Outcome.DENY, reason=Reason.UNKNOWN_CARD)
    case.card = await card_state(work.conn, work.tenant, presented, case.at)
    if case.card is None:
        case.not_known.append("The card was issued only after the time of the tap.")
    await _find_person(work, case, presented)
    if case.service is None or case.person is None:
        if case.card is not CardState.ACTIVE:
            reason = Reason.UNKNOWN_CARD if case.card is None else Reason(f"card_{case.card.value}")
            return Decision(outcome=Outcome.DENY, reason=reason)
        return None
    return await _decide(work, catalogue, case, presented)


async def _find_service(work: Work, catalogue: Catalogue, case: _Case) -> None:
    tap = case.tap
    if tap["service_id"] is None:
        case.not_known.append("The gate named no service: the lane offered none, or the card was not known to it.")
        return
    named = {"service_id": tap["service_id"], "at": case.at}
    in_force = await queries().why.version_at(work.conn, **named)
    version = tap["service_version"] if tap["service_version"] is not None else in_force
    if version is None:
        case.not_known.append(f"No version of {tap['service_id']} was in force then.")
        return
    case.service = await service_of_version(work.conn, catalogue, tap["service_id"], version)
    if case.service is None:
        case.not_known.append(f"Version {version} of {tap['service_id']} names something that no longer exists.")
        return
    document = case.service.document
    case.rules = Rules(service=document.id, title=document.title, version=version, in_force=in_force)
    async for row in queries().why.lists_changed_since(work.conn, tenant=work.tenant, at=case.at):
        case.not_known.append(
            f"The list {row['name']} was changed {when(row['updated_at'], case.zone)}; it is taken as it is now."
        )


async def _find_person(work: Work, case: _Case, presented: Row) -> None:
    holder: UUID | None = presented["person_id"]
    if case.tap["acts_for"] is not None:
        named = {"tenant": work.tenant, "card_index": case.tap["acts_for"]}
        other = await queries().why.card_by_index(work.conn, **named)
        holder = None if other is None else other["person_id"]
    if holder is None:
        case.not_known.append("The card that was acted for is not one of this council.")
        return
    found = case.person = await person(work.conn, work.tenant, holder, case.at, case.zone)
    case.changed += found.since
    if found.details_changed is not None:
        case.not_known.append(
            f"The person’s details were changed {when(found.details_changed, case.zone)}; the date of birth is taken "
            "as it is now, the household as it was."
        )


async def _decide(work: Work, catalogue: Catalogue, case: _Case, presented: Row) -> Decision:
    tap, service, holder = case.tap, case.service, case.person
    if service is None or holder is None:
        raise RuntimeError("asked to decide without a service or a person")
    at = instant(case.at)
    case.facts = facts_used(service.document, holder.facts, case.at.astimezone(case.zone).date())
    case.then = await state_then(work.conn, work.tenant, tap=tap, holder=holder, service=service, zone=case.zone)
    profile = compile_profile(
        holder.facts, [service], catalogue.world, Horizon(start=Instant(at - DAY), end=Instant(at + DAY))
    )
    subject = Subject(
        card=case.card,
        profile=profile,
        keys=account_keys(holder.facts, service, at),
        acting=await _acting(work, catalogue, case, presented),
    )
    return decide(service, subject, await _moment(work, case, service), _input(case, presented), case.then.state)


async def _acting(work: Work, catalogue: Catalogue, case: _Case, presented: Row) -> Acting | None:
    holder = case.person
    if case.tap["acts_for"] is None or holder is None or holder.id == presented["person_id"]:
        return None
    delegate = await person(work.conn, work.tenant, presented["person_id"], case.at, case.zone)
    grants = delegate_grants(holder.facts, catalogue.world.tenants[TenantId(work.tenant)])
    return Acting(grants=grants.get(str(delegate.id), ()), blocks=tuple(sorted(delegate.facts.blocked)))


async def _moment(work: Work, case: _Case, service: CompiledService) -> Moment:
    tap = case.tap
    lane = await queries().why.lane(work.conn, tenant=work.tenant, site_id=tap["site_id"], lane_id=tap["lane_id"])
    zone = None if lane is None else lane["lane"].get("zone")
    if lane is None:
        case.not_known.append(f"The lane {tap['lane_id']} is no longer there, so its zone is not known.")
    elif lane["updated_at"] > case.at:
        changed = when(lane["updated_at"], case.zone)
        case.not_known.append(f"The site was changed {changed}; the lane’s zone is taken as it is now.")
    stale = 0
    if tap["reason"] == Reason.CACHE_TOO_OLD:
        stale = (service.max_stale or 0) + 1
        case.not_known.append("How old the gate’s data were is on the gate’s word.")
    return Moment(
        at=instant(case.at),
        site=SiteId(tap["site_id"]),
        zone=None if zone is None else ZoneId(zone),
        online=tap["online"],
        cache_age=stale,
        clock_trusted=tap["clock_trusted"],
    )


_PRESENTATIONS: Final = {"nfc": "chip", "chip": "chip", "nfc-uid": "uid"}
"""What the media tells of a tap of an older reader; else its card was shown in the way it was issued for."""


def _input(case: _Case, presented: Row) -> TapInput:
    tap = case.tap
    kind: str | None = tap["presentation"]
    if kind is None:
        refused = tap["reason"] == Reason.PRESENTATION_NOT_ACCEPTED
        kind = "static" if refused else _PRESENTATIONS.get(tap["media"], str(presented["channel"]))
    units = next((effect["units"] for effect in tap["effects"] if isinstance(effect.get("units"), int)), 1)
    return TapInput(presentation=kind, units=units, item=tap["item"])


def _verdict(decision: Decision, case: _Case) -> Verdict:
    told = describe(decision, at=instant(case.at), timezone=case.zone.key)
    step = deciding_step(decision.reason)
    return Verdict(
        outcome=decision.outcome,
        reason=str(decision.reason),
        step=step,
        staff=told.staff,
        resident=f"{told.public} {told.next_step}".strip(),
    )


def _steps(decision: Decision) -> list[Step]:
    """The steps in their order, up to the one that decided."""
    deciding = deciding_step(decision.reason)
    told, passed = [], True
    for step in RuleStep:
        if step is deciding:
            told.append(Step(step=step, result="decided"))
            passed = False
        else:
            told.append(Step(step=step, result="passed" if passed else "not asked"))
    return told
