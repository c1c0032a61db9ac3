"""The decision tool's core: cases as JSON in, decisions out, through the code that service and gates run.

A case is one tap with all that is known at that moment (``schema/case-1.schema.json``); holders are
compiled to profiles with a horizon round the tap, exactly as the service would do it for a reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entitlements.case_parts import Forms, person, read_state, read_tap
from entitlements.compile import (
    CompiledService,
    account_keys,
    compile_profile,
    compile_service,
    delegate_grants,
)
from entitlements.decide import decide
from entitlements.documents import load_services
from entitlements.durations import parse_duration, parse_instant
from entitlements.errors import CaseError
from entitlements.jsontext import TextError, line_of, lines, read_json
from entitlements.model import CardState, Decision, Instant, Outcome, ServiceId, SiteId, ZoneId
from entitlements.profile import Horizon
from entitlements.shapes import check, schema
from entitlements.situation import Acting, Moment, Subject
from entitlements.world import World, load_world

HORIZON_BEFORE = 86_400
"""Seconds before the tap at which the horizon starts: profiles are recompiled daily."""
HORIZON_AFTER = 30 * 86_400
"""Seconds after the tap at which it ends."""
FIRST_YEAR = Instant(0)
LAST_YEAR = Instant(7_258_118_400)
"""2200-01-01: a tap after that is a slip of the pen."""


def run(world_text: str, services_text: str, cases_text: str) -> list[dict[str, Any]]:
    """Decide every case.

    Returns:
        For each case, in order, ``{"id", "outcome", "reason", "band"?, "pence"?, "effects"?}``.

    Raises:
        WorldError: the world document cannot be used.
        DocumentError: a service document cannot be used.
        CaseError: a case cannot be run; its message says where and why.
    """
    world = load_world(world_text)
    services = {document.id: compile_service(document, world) for document in load_services(services_text)}
    return [_result(case["id"], _decide(case, services, world)) for case in load_cases(cases_text)]


def load_cases(text: str) -> list[dict[str, Any]]:
    """The cases of a file, each of the right shape.

    Raises:
        CaseError: with the id of the case, or its place (``#3``) where it has none, or ``(file)``.
    """
    try:
        value = read_json(text)
    except TextError as error:
        raise CaseError("(file)", str(error)) from None
    if not isinstance(value, list):
        raise CaseError("(file)", "cases are a JSON list. Write [ ... ].")
    seen: set[str] = set()
    for index, case in enumerate(value):
        name = _name(case, index)
        problems = check(case, schema("case-1"))
        if problems:
            positions = lines(text)
            told = "; ".join(
                f"line {line_of(f'/{index}{problem.pointer}', positions)}, {problem}" for problem in problems
            )
            raise CaseError(name, told)
        if name in seen:
            raise CaseError(name, "the id stands twice. Give each case its own id.")
        seen.add(name)
    return value


def compare(results: Sequence[Mapping[str, Any]], cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs from the cases' ``expect``, one sentence a case; only what ``expect`` states is compared."""
    told = []
    found = {result["id"]: result for result in results}
    for case in cases:
        expect = case.get("expect")
        if expect is None:
            continue
        result = found[case["id"]]
        # No effects and an empty list of them say the same.
        if any(
            (result.get(key) or None) != (wanted or None) if key == "effects" else result.get(key) != wanted
            for key, wanted in expect.items()
        ):
            told.append(f"{case['id']}: expected {dict(expect)}, got {dict(result)}")
    return told


def _name(case: Any, index: int) -> str:
    name = case.get("id") if isinstance(case, dict) else None
    return name if isinstance(name, str) else f"#{index + 1}"


def _decide(case: Mapping[str, Any], services: Mapping[ServiceId, CompiledService], world: World) -> Decision:
    service = services.get(case["service"])
    if service is None:
        raise CaseError(case["id"], f"there is no service {case['service']}. Known: {', '.join(sorted(services))}.")
    _check_names(case, services, world)
    reader = case.get("reader", {})
    at = Instant(parse_instant(case["at"]) + parse_duration(reader.get("clock_correction", "PT0S")))
    if not FIRST_YEAR <= at < LAST_YEAR:
        raise CaseError(case["id"], f"/at: {case['at']} is not between 1970 and 2200.")
    moment = Moment(
        at=at,
        site=SiteId(case["site"]),
        zone=None if case.get("zone") is None else ZoneId(case["zone"]),
        online=reader.get("online", True),
        cache_age=parse_duration(reader.get("cache_age", "PT0S")),
        clock_trusted=reader.get("clock_trusted", True),
    )
    try:
        state = read_state(case.get("state", {}), reader, service)
    except Forms as error:
        raise CaseError(case["id"], str(error)) from None
    return decide(service, _subject(case, service, world, at), moment, read_tap(case.get("tap", {})), state)


def _check_names(case: Mapping[str, Any], services: Mapping[ServiceId, CompiledService], world: World) -> None:
    sites = set(world.sites).union(*world.site_sets.values(), *(one.sites or () for one in services.values()))
    if case["site"] not in sites:
        raise CaseError(case["id"], f"there is no site {case['site']}. Known: {', '.join(sorted(sites))}.")
    for who in ("holder", "presented_by"):
        for name in (case.get(who) or {}).get("blocked", {}):
            if name != "*" and name not in services:
                raise CaseError(case["id"], f"/{who}/blocked: there is no service {name}.")


def _subject(case: Mapping[str, Any], service: CompiledService, world: World, at: Instant) -> Subject:
    horizon = Horizon(start=Instant(at - HORIZON_BEFORE), end=Instant(at + HORIZON_AFTER))
    holder = person(case["holder"])
    acting = None
    presenter = case.get("presented_by")
    if presenter is not None and presenter["id"] != holder.id:
        grants = delegate_grants(holder, world.tenants[service.tenant])
        blocks = compile_profile(person(presenter), [service], world, horizon).blocks
        acting = Acting(grants=grants.get(presenter["id"], ()), blocks=blocks)
    state = case.get("card", {}).get("state", "active")
    return Subject(
        card=None if state == "unknown" else CardState(state),
        profile=compile_profile(holder, [service], world, horizon),
        keys=account_keys(holder, service, at),
        acting=acting,
    )


def _result(case_id: str, decision: Decision) -> dict[str, Any]:
    result: dict[str, Any] = {
        "id": case_id,
        "outcome": decision.outcome.value,
        "reason": str(decision.reason),
    }
    if decision.outcome is Outcome.ALLOW and decision.band is not None:
        result["band"] = decision.band
        result["pence"] = decision.pence
    if decision.effects:
        result["effects"] = [{"account": effect.account, "units": effect.units} for effect in decision.effects]
    return result
