"""``decide()`` for a service with all eleven kinds of rule, against casbin and cedarpy on an equal policy.

What the two cannot express is given to them for free: local time (neither knows time zones, so weekday, minute of the
day and holiday come ready in the request), age in years, units used in the period, heads in the zone. What they cannot
answer is not asked of them: the reason, the price and the units taken. Each is used as its own documentation says is
fastest, with everything parsed and built before the clock starts:

* casbin 1.43: one model in memory, one policy, attributes of objects in the matcher, logging off. (``FastEnforcer``
  only speeds up the search among many policies; here there is one. pycasbin has no cached enforcer, and a cache of
  answers would be none at a gate, where every request differs.)
* cedarpy 4.12: ``PolicySet`` and ``Entities`` handles, parsed once; the request in the faster of its two forms.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any, Final

import casbin
import cedarpy

from entitlements.compile import CompiledService, compile_profile, compile_service, delegate_grants
from entitlements.decide import decide
from entitlements.documents import parse_services
from entitlements.facts import ALWAYS, Delegation, PersonFacts
from entitlements.model import CardState, Instant, Outcome, PersonId, SiteId, TenantId, ZoneId
from entitlements.profile import Horizon
from entitlements.situation import Acting, Moment, Presence, State, Subject, TapInput, UpstreamCheck
from entitlements.world import parse_world
from tests.benchmarks.measure import Result, Work, compare, row

NOW: Final = Instant(1_780_308_000)
"""2026-06-01T10:00:00Z: Monday, 11:00 in London."""
DAY: Final = 86_400
BAR: Final = 0.025
"""At least forty times faster."""

WORLD: Final[dict[str, Any]] = {
    "schema": "rescard.world/1",
    "tenants": {"wcc": {"timezone": "Europe/London"}},
    "site_sets": {"@pools": ["porchester", "queen-mother", "marshall-street", "seymour"]},
    "calendars": {"@uk-bank-holidays": ["2026-05-25", "2026-08-31", "2026-12-25"], "@works": ["2026-06-15"]},
}
DOCUMENT: Final[dict[str, Any]] = {
    "schema": "rescard.service/1",
    "id": "wcc.leisure.pool",
    "tenant": "wcc",
    "kind": "access",
    "title": "Pool with a helper",
    "valid": {"from": "2026-04-01", "until": "2027-03-31"},
    "who": {
        "all": [
            {"resident_of": "wcc"},
            {"age": {"gte": 16}},
            {"any": [{"age": {"gte": 60}}, {"evidence": ["universal_credit", "carer", "student"]}]},
        ]
    },
    "where": {"sites": ["@pools"], "zones": ["pool"]},
    "when": {
        "windows": [
            {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "until": "16:00", "holidays": "exclude"},
            {"days": ["sat", "sun"], "from": "12:00", "until": "18:00"},
        ],
        "closed": "@works",
    },
    "requires": [
        {"prerequisite": "induction"},
        {"factor": "pin"},
        {"presentation": ["live", "chip"]},
        {"upstream": "crm", "max_age": "PT15M"},
    ],
    "limits": [
        {"quota": {"id": "swims", "unit": "visit", "period": "week", "max": 5}},
        {"capacity": {"zone": "pool", "max": 80}},
    ],
    "presence": {"anti_passback": "person", "reset": "local_midnight", "min_gap": "PT2M"},
    "delegation": {"acts_for": {"scopes": ["help", "use"]}},
    "price": [
        {"band": "senior", "when": {"age": {"gte": 60}}, "pence": 0},
        {"band": "concession", "when": True, "pence": 290},
    ],
    "deny": {"blocks": ["person", "card", "delegate"]},
    "offline": {"max_stale": "PT24H", "lease": {"swims": 1}},
}

CEDAR: Final = """
permit (principal, action == Action::"enter", resource in SiteSet::"pools")
when {
  context.card == "active" && context.cache_age <= 86400 && context.clock_trusted &&
  context.zone == "pool" &&
  context.day >= 20544 && context.day <= 20908 &&
  context.acting && ["help", "use"].containsAny(context.scopes) &&
  principal.residency.contains("wcc") && principal.age >= 16 &&
  (principal.age >= 60 || ["universal_credit", "carer", "student"].containsAny(principal.evidence)) &&
  principal.inductions.contains(resource) &&
  context.pin == "right" &&
  ["live", "chip"].contains(context.presentation) &&
  context.crm_age <= 900 && context.crm_not_blocked &&
  ((context.weekday <= 4 && context.minute >= 540 && context.minute < 960 && !context.holiday) ||
   (context.weekday >= 5 && context.minute >= 720 && context.minute < 1080)) &&
  !context.closed &&
  (!context.inside || context.since_midnight < 0) &&
  context.used + context.units <= 5 &&
  context.heads + 1 <= 80
};
forbid (principal, action, resource) when { principal.blocked || context.delegate_blocked };
"""

CASBIN_MODEL: Final = """
[request_definition]
r = sub, obj, act, ctx

[policy_definition]
p = obj, act, eft

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = r.act == p.act && r.ctx.card == 'active' && r.ctx.cache_age <= 86400 && r.ctx.clock_trusted \
&& !r.sub.blocked && !r.ctx.delegate_blocked && r.obj in r.ctx.pools && r.ctx.zone == 'pool' \
&& r.ctx.day >= 20544 && r.ctx.day <= 20908 && r.ctx.acting && r.ctx.scope in ('help', 'use') \
&& 'wcc' in r.sub.residency && r.sub.age >= 16 \
&& (r.sub.age >= 60 || r.sub.evidence in ('universal_credit', 'carer', 'student')) \
&& r.obj in r.sub.inductions && r.ctx.pin == 'right' && r.ctx.presentation in ('live', 'chip') \
&& r.ctx.crm_age <= 900 && r.ctx.crm_not_blocked \
&& ((r.ctx.weekday <= 4 && r.ctx.minute >= 540 && r.ctx.minute < 960 && !r.ctx.holiday) \
|| (r.ctx.weekday >= 5 && r.ctx.minute >= 720 && r.ctx.minute < 1080)) \
&& !r.ctx.closed && (!r.ctx.inside || r.ctx.since_midnight < 0) \
&& r.ctx.used + r.ctx.units <= 5 && r.ctx.heads + 1 <= 80
"""


TAP: Final[dict[str, Any]] = {
    "card": "active",
    "cache_age": 60,
    "clock_trusted": True,
    "zone": "pool",
    "day": 20_605,
    "acting": True,
    "delegate_blocked": False,
    "pin": "right",
    "presentation": "live",
    "crm_age": 60,
    "crm_not_blocked": True,
    "weekday": 0,
    "minute": 660,
    "holiday": False,
    "closed": False,
    "inside": False,
    "since_midnight": 0,
    "used": 4,
    "units": 1,
    "heads": 41,
}
"""The tap of the benchmark, as the other two are told of it."""
REFUSED: Final[tuple[dict[str, Any], ...]] = (
    {"card": "lost"},
    {"cache_age": 86_401},
    {"clock_trusted": False},
    {"delegate_blocked": True},
    {"zone": "sauna"},
    {"pin": "wrong"},
    {"presentation": "static"},
    {"crm_age": 901},
    {"crm_not_blocked": False},
    {"minute": 960},
    {"minute": 539},
    {"inside": True},
    {"used": 5},
    {"units": 2},
    {"heads": 80},
)
"""Changes to the tap for which each of the three must refuse: one for every rule that a single tap can break."""


class _Counted:
    """A ledger whose answer is ready, as it is ready in the others' requests; the period is still worked out."""

    __slots__ = ("_units",)

    def __init__(self, units: int) -> None:
        self._units = units

    def used(self, account: str, key: str, since: Instant | None, until: Instant | None) -> int:
        """The units."""
        return self._units


def _service() -> CompiledService:
    return compile_service(parse_services(DOCUMENT)[0], parse_world(WORLD))


def ours(**changes: Any) -> Work:
    """A delegate's tap that every rule looks at and none refuses; ``changes`` are to :data:`TAP`."""
    given = {**TAP, **changes}
    world, service = parse_world(WORLD), _service()
    holder = PersonFacts(
        id=PersonId("p1"),
        household="h1",
        date_of_birth=date(1980, 5, 5),
        residency={TenantId("wcc"): ALWAYS},
        evidence={"universal_credit": ALWAYS},
        prerequisites={"induction": frozenset((SiteId("porchester"),))},
        delegates=(Delegation(person=PersonId("p2"), scopes=frozenset(("help",))),),
    )
    horizon = Horizon(start=Instant(NOW - DAY), end=Instant(NOW + 35 * DAY))
    grants = delegate_grants(holder, world.tenants[TenantId("wcc")])["p2"]
    subject = Subject(
        card=CardState(given["card"]),
        profile=compile_profile(holder, [service], world, horizon),
        keys={"person": "p1", "household": "h1"},
        acting=Acting(grants=grants, blocks=("*",) if given["delegate_blocked"] else ()),
    )
    at = Instant(NOW + (given["minute"] - TAP["minute"]) * 60)
    moment = Moment(
        at=at,
        site=SiteId("porchester"),
        zone=ZoneId(given["zone"]),
        cache_age=given["cache_age"],
        clock_trusted=given["clock_trusted"],
    )
    tap = TapInput(pin=given["pin"], presentation=given["presentation"], units=given["units"])
    state = State(
        ledger=_Counted(given["used"]),
        leases={"swims": 1},
        presence=Presence(
            inside=given["inside"],
            since=Instant(at - 3600) if given["inside"] else None,
            last=Instant(at - 3600),
            zone_count=given["heads"],
        ),
        upstream={"crm": UpstreamCheck(age=given["crm_age"], not_blocked=given["crm_not_blocked"])},
    )
    return lambda: decide(service, subject, moment, tap, state)


def cedar(*, as_text: bool, **changes: Any) -> Callable[[], cedarpy.AuthzResult]:
    """The same in Cedar, policies and entities parsed before."""
    policies = cedarpy.PolicySet.from_str(CEDAR)
    site = {"type": "Site", "id": "porchester"}
    pools = {"type": "SiteSet", "id": "pools"}
    resident = {
        "residency": ["wcc"],
        "age": 46,
        "evidence": ["universal_credit"],
        "inductions": [{"__entity": site}],
        "blocked": False,
    }
    entities = cedarpy.Entities.from_json_str(
        json.dumps(
            [
                {"uid": pools, "attrs": {}, "parents": []},
                {"uid": site, "attrs": {}, "parents": [pools]},
                {"uid": {"type": "Resident", "id": "p1"}, "attrs": resident, "parents": []},
            ]
        )
    )
    context = {**TAP, **changes, "scopes": ["help"]}
    request = {
        "principal": {"type": "Resident", "id": "p1"},
        "action": {"type": "Action", "id": "enter"},
        "resource": site,
        "context": json.dumps(context) if as_text else context,
    }
    if as_text:
        request |= {"principal": 'Resident::"p1"', "action": 'Action::"enter"', "resource": 'Site::"porchester"'}
    return lambda: cedarpy.is_authorized(request, policies, entities)


class _Attributes:
    """An object whose attributes casbin's matcher reads."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def casbin_work(**changes: Any) -> Callable[[], bool]:
    """The same in casbin, its model and policy in memory."""
    model = casbin.Model()
    model.load_model_from_text(CASBIN_MODEL)
    enforcer = casbin.Enforcer(model)
    enforcer.add_policy("pool", "enter", "allow")
    resident = _Attributes(
        age=46, residency=("wcc",), evidence="universal_credit", inductions=("porchester",), blocked=False
    )
    pools = tuple(WORLD["site_sets"]["@pools"])
    context = _Attributes(**{**TAP, **changes}, scope="help", pools=pools)
    return lambda: enforcer.enforce(resident, "porchester", "enter", context)


def _check() -> None:
    """All three let the same tap in, and refuse it for every change that breaks a rule."""
    for changes in ({}, *REFUSED):
        mine = ours(**changes)()
        answers = (
            getattr(mine, "outcome", None) is Outcome.ALLOW,
            cedar(as_text=True, **changes)().allowed,
            cedar(as_text=False, **changes)().allowed,
            bool(casbin_work(**changes)()),
        )
        if answers != (not changes,) * 4:
            raise RuntimeError(f"the policies are not equal where {changes}: {answers}, {mine}")


def run() -> list[Result]:
    """Ours against each of the two, the faster first: all of them have to be beaten by the bar."""
    _check()
    works: dict[str, Work] = {
        "ours": ours(),
        "casbin": casbin_work(),
        "cedarpy, text": cedar(as_text=True),
        "cedarpy, dict": cedar(as_text=False),
    }
    times = compare(works)
    rows = [row("decide() alone, 11-rule service", name, times, "ours", name, BAR) for name in works if name != "ours"]
    return sorted(rows, key=lambda one: one.theirs)
