"""Worlds, services and people that several tests of the rules share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from entitlements.case_parts import person
from entitlements.compile import CompiledService, compile_profile, compile_service
from entitlements.documents import parse_services
from entitlements.durations import parse_instant
from entitlements.model import CardState, Instant, SiteId
from entitlements.profile import Horizon, Profile
from entitlements.situation import Moment, Subject
from entitlements.world import World, parse_world

VECTORS = Path(__file__).parents[2] / "vectors" / "decisions"

WORLD: World = parse_world(json.loads((VECTORS / "own_world.json").read_text("utf-8")))


def compiled(**parts: Any) -> CompiledService:
    """A service at hall-a with these parts of a document."""
    document = {
        "schema": "rescard.service/1",
        "id": "wcc.test.service",
        "tenant": "wcc",
        "kind": "access",
        "title": "A service",
        "where": {"sites": ["hall-a"]},
        **parts,
    }
    # By way of text, as documents come: no word of it is the same object as a word in the code.
    (service,) = parse_services(json.loads(json.dumps(document)))
    return compile_service(service, WORLD)


def horizon(start: str, days: int = 30) -> Horizon:
    first = parse_instant(start)
    return Horizon(start=first, end=Instant(first + days * 86_400))


def profile_of(service: CompiledService, span: Horizon, **facts: Any) -> Profile:
    return compile_profile(person({"id": "p1", **facts}), [service], WORLD, span)


def subject_of(service: CompiledService, at: Instant, **facts: Any) -> Subject:
    span = Horizon(start=Instant(at - 86_400), end=Instant(at + 86_400))
    return Subject(card=CardState.ACTIVE, profile=profile_of(service, span, **facts), keys={"person": "p1"})


def moment(at: Instant, **parts: Any) -> Moment:
    return Moment(at=at, site=SiteId("hall-a"), **parts)
