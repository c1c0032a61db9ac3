"""The worked services and documents made from them, and a strategy for any valid document."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from entitlements.documents import parse_services
from entitlements.errors import DocumentError
from entitlements.lint import KnownFacts
from entitlements.service import ServiceDocument
from entitlements.world import World, parse_world
from tests.support.vectors import own_json

Json = dict[str, Any]

KNOWN = KnownFacts(
    evidence=frozenset(("universal_credit", "disability", "carer", "student", "care_plan")),
    member_of=frozenset(("library",)),
    permit=frozenset(("ev_vehicle",)),
    role=frozenset(("partner", "parent")),
    linked=frozenset(("parent_consent",)),
    prerequisites=frozenset(("open-plus-induction",)),
    upstreams=frozenset(("lms",)),
)
"""What the two councils of the worked services record."""


@lru_cache(maxsize=1)
def world() -> World:
    """The world of the worked services."""
    return parse_world(own_json("decisions", "world.json"))


@lru_cache(maxsize=1)
def _worked() -> dict[str, Json]:
    return {service["id"]: service for service in own_json("decisions", "services.json")}


def service_ids() -> list[str]:
    """Ids of the eight worked services."""
    return list(_worked())


def worked(name: str) -> Json:
    """A worked service by the last part of its id, as JSON that may be changed."""
    return copy.deepcopy(next(service for key, service in _worked().items() if key.rpartition(".")[2] == name))


def document(value: Json) -> ServiceDocument:
    """One document from JSON."""
    return parse_services(value)[0]


def changed(name: str, change: Callable[[Json], object]) -> ServiceDocument:
    """A worked service with a change to its JSON."""
    value = worked(name)
    change(value)
    return document(value)


def titles() -> dict[str, str]:
    """What the councils call their sites and facts."""
    return dict(own_json("explain", "titles.json"))


# --- any document ---

_NAMES = st.sampled_from(
    ["disability", "student", "library", "parent_consent", "parent", "x", "ev_vehicle", "care_plan"]
)
_AGES = st.integers(0, 130)
_leaf = st.one_of(
    st.tuples(_AGES, st.integers(1, 40)).map(lambda pair: {"age": {"gte": pair[0], "lt": pair[0] + pair[1]}}),
    _AGES.map(lambda years: {"age": {"gte": years}}),
    st.integers(1, 130).map(lambda years: {"age": {"lt": years}}),
    st.lists(st.sampled_from(["wcc", "rbkc", "elsewhere"]), min_size=1, unique=True).map(
        lambda names: {"resident_of": names}
    ),
    st.tuples(st.sampled_from(["evidence", "member_of", "permit", "role", "linked"]), _NAMES).map(
        lambda pair: {pair[0]: pair[1]}
    ),
)
conditions = st.recursive(
    _leaf,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"all": items}),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"any": items}),
        inner.map(lambda item: {"not": item}),
        st.tuples(inner, _AGES).map(lambda pair: {**pair[0], "age": {"gte": pair[1]}}),
    ),
    max_leaves=8,
)
"""Any condition, as JSON."""

_TIMES = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02d}:{quarter % 4 * 15:02d}")
_DAYS = st.lists(
    st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1, max_size=7, unique=True
)
windows = st.fixed_dictionaries(
    {"from": _TIMES, "until": _TIMES},
    optional={"days": _DAYS, "holidays": st.sampled_from(["include", "exclude", "only"])},
)
_DATES = st.dates(min_value=date(2020, 1, 1)).map(str)
_DURATIONS = st.sampled_from(["PT0S", "PT2M", "PT15M", "PT1H", "PT24H", "P7D", "P28D"])
_PERIODS = st.one_of(
    st.sampled_from(["day", "week", "month", "grant"]).map(lambda name: {"period": name}),
    st.just({"period": "year", "year_start": "04-01"}),
    st.just({"period": "night", "anchor": "12:00"}),
    st.integers(1, 400).map(lambda days: {"period": "rolling", "days": days}),
)
_SCOPES = st.sampled_from(["person", "household", "vehicle", "permit"])
_LIMITS = st.one_of(
    st.tuples(_PERIODS, st.integers(0, 50), _SCOPES, st.sampled_from(["visit", "entry", "kWh", "pence"])).map(
        lambda parts: {"quota": {"id": "units", "max": parts[1], "scope": parts[2], "unit": parts[3], **parts[0]}}
    ),
    st.fixed_dictionaries(
        {"account": st.just("purse")},
        optional={
            "confirm": st.fixed_dictionaries(
                {"over_pence": st.integers(0, 9000)},
                optional={"by": st.just(["holder", "delegate", "delegate:spend"])},
            ),
            "hold": _DURATIONS,
            "per_period": _PERIODS.map(lambda period: {**period, "max_pence": 4000}),
        },
    ).map(lambda rule: {"balance": rule}),
    st.fixed_dictionaries(
        {"resource": st.just("room-1")},
        optional={"early": _DURATIONS, "late": _DURATIONS, "party_max": st.integers(1, 9)},
    ).map(lambda rule: {"booking": rule}),
    st.fixed_dictionaries(
        {"pool": st.just("things"), "max_out": st.integers(0, 3)},
        optional={"period": _DURATIONS, "renewals": st.integers(0, 3), "block_if_overdue_days": st.integers(0, 30)},
    ).map(lambda rule: {"loan": rule}),
    st.fixed_dictionaries({"max": st.integers(0, 90)}, optional={"zone": st.just("gym")}).map(
        lambda rule: {"capacity": rule}
    ),
)
_REQUIRES = st.one_of(
    st.sampled_from(["site", "once"]).map(lambda scope: {"prerequisite": "open-plus-induction", "scope": scope}),
    st.just({"factor": "pin"}),
    st.lists(st.sampled_from(["static", "live", "chip", "tattoo"]), min_size=1, unique=True).map(
        lambda kinds: {"presentation": kinds}
    ),
    st.tuples(st.sampled_from(["lms", "other"]), _DURATIONS, st.sampled_from(["deny", "allow", "refer"])).map(
        lambda parts: {"upstream": parts[0], "max_age": parts[1], "if_unknown": parts[2]}
    ),
)
_PRICES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 900), conditions).map(
        lambda parts: {"band": parts[0], "pence": parts[1], "when": parts[2]}
    ),
    max_size=3,
)


@st.composite
def documents(draw: st.DrawFn) -> Json:
    """Any valid service document, as JSON."""
    value: Json = {
        "schema": "rescard.service/1",
        "id": "wcc.leisure.any",
        "tenant": draw(st.sampled_from(["wcc", "rbkc"])),
        "kind": draw(st.sampled_from(["access", "spend", "consume", "book", "loan"])),
        "title": "Any service",
    }
    parts: dict[str, st.SearchStrategy[Any]] = {
        "who": conditions,
        "valid": st.fixed_dictionaries({}, optional={"from": _DATES, "until": _DATES}),
        "where": st.fixed_dictionaries(
            {"sites": st.lists(st.sampled_from(["@wcc-leisure", "@none", "porchester"]), min_size=1, unique=True)},
            optional={"zones": st.just(["gym"])},
        ),
        "when": st.fixed_dictionaries(
            {},
            optional={
                "windows": st.lists(windows, min_size=1, max_size=4),
                "closed": st.lists(st.one_of(st.just("@library-closures"), st.just("@none"), _DATES), max_size=3),
                "holidays": st.sampled_from(["@uk-bank-holidays", "@none"]),
            },
        ),
        "requires": st.lists(_REQUIRES, max_size=3),
        "limits": st.lists(_LIMITS, max_size=3),
        "presence": st.fixed_dictionaries(
            {},
            optional={
                "anti_passback": st.sampled_from(["person", "card"]),
                "reset": st.sampled_from(["local_midnight", "never"]),
                "min_gap": _DURATIONS,
                "max_stay": _DURATIONS,
                "one_at_a_time": st.sampled_from(["person", "card", "household", "vehicle", "permit"]),
            },
        ),
        "delegation": st.fixed_dictionaries(
            {},
            optional={
                "acts_for": st.fixed_dictionaries(
                    {"scopes": st.just(["use", "spend"])}, optional={"max_pence_per_action": st.integers(0, 9000)}
                ),
                "accompanied_by": st.fixed_dictionaries(
                    {"children_under": st.integers(0, 18), "max": st.integers(0, 5)},
                    optional={"relations": st.just(["parent"])},
                ),
            },
        ),
        "price": st.tuples(_PRICES, st.booleans()).map(
            lambda pair: pair[0] + ([{"band": "rest", "pence": 500, "when": True}] if pair[1] else [])
        ),
        "offline": st.fixed_dictionaries(
            {},
            optional={
                "max_stale": _DURATIONS,
                "mode": st.sampled_from(["normal", "staff_only"]),
                "on_overspend": st.sampled_from(["allow_and_flag", "deny"]),
                "capacity": st.sampled_from(["enforce", "local_only", "ignore"]),
                "presence": st.sampled_from(["enforce", "local_only", "ignore"]),
                "bookings": st.sampled_from(["cached_today", "deny"]),
            },
        ),
    }
    for key, strategy in parts.items():
        if draw(st.booleans()):
            value[key] = draw(strategy)
    if draw(st.booleans()) and any("quota" in limit for limit in value.get("limits", ())):
        value.setdefault("offline", {})["lease"] = {"units": draw(st.integers(0, 60))}
    try:
        parse_services(value)
    except DocumentError:
        reject()
    return value


def pretty(value: Json) -> str:
    """JSON text with one member a line."""
    return json.dumps(value, indent=1)
