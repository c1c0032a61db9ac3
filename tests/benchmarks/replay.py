"""A month of a borough replayed under two versions of a service: 300,000 taps, against the minute it may take."""

from __future__ import annotations

import random
import time
from datetime import date

import msgspec

from entitlements.compile import CompiledService, compile_profile, compile_service
from entitlements.facts import ALWAYS, PersonFacts
from entitlements.model import Instant, PersonId, SiteId, TenantId, ZoneId
from entitlements.profile import Horizon, Profile
from entitlements.service import ServiceDocument, Window
from entitlements.simulate import ReplayTap, simulate
from tests.benchmarks.measure import Result, within_a_minute
from tests.benchmarks.world import DAY, NOW, service, world

TAPS = 300_000
"""A month of a borough."""
PEOPLE = 40_000
SEED = 20_260_601


def _month(old: CompiledService, new: CompiledService, sites: list[str], zone: str | None) -> list[ReplayTap]:
    dice = random.Random(SEED)
    known = world()
    horizon = Horizon(start=Instant(NOW - DAY), end=Instant(NOW + 32 * DAY))
    crowd: list[tuple[str, Profile, Profile, dict[str, str]]] = []
    kinds: list[tuple[Profile, Profile]] = []
    for age in (14, 17, 30, 45, 61, 67, 80):
        for evidence in ((), ("universal_credit",), ("disability",), ("student",)):
            facts = PersonFacts(
                id=PersonId("anyone"),
                date_of_birth=date(2026 - age, 3, 3),
                residency={TenantId("wcc"): ALWAYS},
                evidence=dict.fromkeys(evidence, ALWAYS),
            )
            kinds.append(tuple(compile_profile(facts, [one], known, horizon) for one in (old, new)))  # type: ignore[arg-type]
    for number in range(PEOPLE):
        before, after = dice.choice(kinds)
        crowd.append((f"p{number}", before, after, {"person": f"p{number}", "household": f"h{number // 3}"}))
    taps = []
    for _ in range(TAPS):
        person, before, after, keys = dice.choice(crowd)
        taps.append(
            ReplayTap(
                at=Instant(NOW + dice.randrange(30 * DAY)),
                site=SiteId(dice.choice(sites)),
                zone=None if zone is None else ZoneId(zone),
                direction="out" if dice.random() < 0.3 else "in",
                person=person,
                old_profile=before,
                new_profile=after,
                keys=keys,
            )
        )
    return taps


def _measured(name: str, old: CompiledService, draft: ServiceDocument, sites: list[str], zone: str | None) -> Result:
    new = compile_service(draft, world())
    taps = _month(old, new, sites, zone)
    started = time.perf_counter()
    found = simulate(old, new, taps)
    seconds = time.perf_counter() - started
    if found.taps + found.exits != TAPS or not (found.now_allowed or found.now_refused):
        raise RuntimeError(f"the replay changed nothing: {found.sentences()}")
    return within_a_minute(f"replay of {TAPS:,} taps, {name}, two versions", seconds)


def run() -> list[Result]:
    """The gym (windows, presence, capacity, prices) and the recycling centre (a household quota)."""
    gym = service("wcc.leisure.gym-offpeak")
    when = gym.document.when
    if when is None:
        raise RuntimeError("the gym has no hours")
    later = msgspec.structs.replace(when, windows=(Window(days=frozenset(range(7)), start=7 * 3600, until=20 * 3600),))
    tip = service("wcc.waste.hwrc")
    limits = tuple(msgspec.structs.replace(limit, max=4) for limit in tip.document.limits)
    return [
        _measured(
            "gym",
            gym,
            msgspec.structs.replace(gym.document, when=later),
            ["porchester", "queen-mother"],
            "gym",
        ),
        _measured(
            "recycling centre", tip, msgspec.structs.replace(tip.document, limits=limits), ["hwrc-a", "hwrc-b"], None
        ),
    ]
