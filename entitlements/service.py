"""The service document, format ``rescard.service/1``, as values.

:func:`~entitlements.documents.load_services` reads them from text; the shape is fixed by
``schema/service-1.schema.json`` (JSON Schema 2020-12) and these types are what remains once a document has
passed it. Durations are whole seconds, times of day whole seconds since local midnight, dates tenant-local and
inclusive.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from entitlements.model import AreaId, ServiceId, TenantId, ZoneId

FORMAT = "rescard.service/1"

Scope = Literal["person", "household", "vehicle", "permit"]
"""By what a quota is kept: never by card, so that a renewed card resets nothing."""
Kind = Literal["access", "spend", "consume", "book", "loan"]
Statement = Literal["evidence", "member_of", "permit", "role", "linked"]

ACCEPTED_UNASKED = frozenset(("static", "live", "chip"))
"""Presentations that a service accepts where its document says nothing of them: all rest on the council's signature."""
ONLY_WHERE_NAMED = frozenset(("totp", "uid"))
"""Google's rotating code, which whoever checks it can also make, and a chip's bare serial number, which anybody can
copy: only for services whose document names them."""
PRESENTATION_KINDS = ACCEPTED_UNASKED | ONLY_WHERE_NAMED

MAX_SPEND_PENCE = 10_000_000
"""A hundred thousand pounds: more in one payment is a slip of the keyboard, and no till takes it."""


# --- who ---


class All(msgspec.Struct, frozen=True, kw_only=True, tag="all"):
    items: tuple[Expression, ...]


class Any(msgspec.Struct, frozen=True, kw_only=True, tag="any"):
    items: tuple[Expression, ...]


class Not(msgspec.Struct, frozen=True, kw_only=True, tag="not"):
    item: Expression


class Age(msgspec.Struct, frozen=True, kw_only=True, tag="age"):
    """Completed years: ``low <= age < high``; an open side is ``None``."""

    low: int | None = None
    high: int | None = None


class ResidentOf(msgspec.Struct, frozen=True, kw_only=True, tag="resident_of"):
    tenants: tuple[TenantId, ...]


class Holds(msgspec.Struct, frozen=True, kw_only=True, tag="holds"):
    """Holds at least one of the named statements of one kind."""

    statement: Statement
    names: tuple[str, ...]


Expression = All | Any | Not | Age | ResidentOf | Holds

# --- where, when, valid ---


class Valid(msgspec.Struct, frozen=True, kw_only=True):
    """Service dates, inclusive."""

    start: date | None = None
    until: date | None = None


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """``sites`` holds site ids and ``@set`` names; no zones means every zone."""

    sites: tuple[str, ...]
    zones: tuple[ZoneId, ...] = ()


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """``[start, until)`` by the wall clock on ``days`` (0 is Monday); ``until <= start`` ends on the next day."""

    days: frozenset[int]
    start: int
    until: int
    holidays: Literal["include", "exclude", "only"] = "include"


class When(msgspec.Struct, frozen=True, kw_only=True):
    """``windows`` is ``None`` where the service is open all day; ``closed`` holds ``@calendar`` names and dates."""

    windows: tuple[Window, ...] | None = None
    closed: tuple[str, ...] = ()
    holidays: str = "@uk-bank-holidays"
    """Calendar that the windows' ``holidays`` word means."""


# --- requires ---


class Prerequisite(msgspec.Struct, frozen=True, kw_only=True, tag="prerequisite"):
    name: str
    scope: Literal["site", "once"] = "site"


class Pin(msgspec.Struct, frozen=True, kw_only=True, tag="pin"):
    pass


class Presentation(msgspec.Struct, frozen=True, kw_only=True, tag="presentation"):
    """``kinds`` are of :data:`PRESENTATION_KINDS`; any other word, which the linter refuses, fits nothing."""

    kinds: frozenset[str]


class Upstream(msgspec.Struct, frozen=True, kw_only=True, tag="upstream"):
    """Another system's word, not older than ``max_age`` seconds."""

    name: str
    check: Literal["not_blocked"] = "not_blocked"
    max_age: int
    if_unknown: Literal["deny", "allow", "refer"] = "deny"


Requirement = Prerequisite | Pin | Presentation | Upstream

# --- limits ---


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A quota's period. ``year_start`` is (month, day); ``anchor`` seconds of day of a ``night``; ``days`` of
    ``rolling``.
    """

    name: Literal["day", "week", "month", "year", "night", "rolling", "grant"]
    year_start: tuple[int, int] = (1, 1)
    anchor: int = 12 * 3600
    days: int = 1


class Quota(msgspec.Struct, frozen=True, kw_only=True, tag="quota"):
    account: str
    unit: str
    period: Period
    max: int
    scope: Scope = "person"
    overshoot: Literal["finish_session"] | None = None
    counts: Literal["used", "created"] = "used"
    """``created``: units are taken when something is booked, so a tap neither takes nor tests them."""


class SpendCap(msgspec.Struct, frozen=True, kw_only=True):
    period: Period
    max_pence: int


class Confirm(msgspec.Struct, frozen=True, kw_only=True):
    over_pence: int
    by: tuple[str, ...] = ("holder",)
    """``holder``, ``delegate`` or ``delegate:<scope>``: whose word counts."""


class Balance(msgspec.Struct, frozen=True, kw_only=True, tag="balance"):
    account: str
    unit: str = "GBP"
    confirm: Confirm | None = None
    hold: int | None = None
    """Seconds for which an unconfirmed spend is held (by the service)."""
    cap: SpendCap | None = None
    scope: Scope = "person"


class BookingRule(msgspec.Struct, frozen=True, kw_only=True, tag="booking"):
    """``early`` and ``late`` are seconds before and after the start; ``late`` ``None`` never releases."""

    resource: str
    early: int = 0
    late: int | None = None
    party_max: int | None = None


class LoanRule(msgspec.Struct, frozen=True, kw_only=True, tag="loan"):
    pool: str
    max_out: int
    period: int | None = None
    renewals: int = 0
    overdue_days: int | None = None


class Capacity(msgspec.Struct, frozen=True, kw_only=True, tag="capacity"):
    max: int
    zone: ZoneId | None = None


Limit = Quota | Balance | BookingRule | LoanRule | Capacity

# --- presence, delegation, price, offline ---


class PresenceRule(msgspec.Struct, frozen=True, kw_only=True):
    anti_passback: Literal["person", "card"] | None = None
    reset: Literal["local_midnight"] | None = None
    min_gap: int | None = None
    max_stay: int | None = None
    one_at_a_time: Literal["person", "card", "household", "vehicle", "permit"] | None = None


class ActsFor(msgspec.Struct, frozen=True, kw_only=True):
    """``needs`` is what the council asks for before it records a delegation; a gate only sees the recorded one."""

    scopes: frozenset[str]
    max_pence: int | None = None
    needs: tuple[str, ...] = ()


class AccompaniedBy(msgspec.Struct, frozen=True, kw_only=True):
    children_under: int
    max: int
    relations: tuple[str, ...] = ()


class Delegated(msgspec.Struct, frozen=True, kw_only=True):
    acts_for: ActsFor | None = None
    accompanied_by: AccompaniedBy | None = None


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """``when`` ``None`` is the default band (``true`` in the document)."""

    name: str
    pence: int
    when: Expression | None = None


class Offline(msgspec.Struct, frozen=True, kw_only=True):
    """What holds when the site is cut off; ``max_stale`` in seconds."""

    max_stale: int | None = None
    mode: Literal["normal", "staff_only"] = "normal"
    lease: tuple[tuple[str, int], ...] = ()
    on_overspend: Literal["allow_and_flag", "deny"] = "deny"
    """How the service treats units spent twice within leases when they meet; a gate never looks at it."""
    capacity: Literal["enforce", "local_only", "ignore"] = "enforce"
    presence: Literal["enforce", "local_only", "ignore"] = "enforce"
    spend: Literal["deny"] = "deny"
    bookings: Literal["cached_today", "deny"] = "cached_today"


EVERY_BLOCK = frozenset(("person", "card", "delegate"))


class ServiceDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One service, whole: ``extends`` and ``patch`` are already applied."""

    id: ServiceId
    tenant: TenantId
    area: AreaId
    """``area`` of the document, or the second dotted part of the id (``leisure`` of ``wcc.leisure.gym-offpeak``)."""
    kind: Kind
    title: str
    description: str = ""
    valid: Valid = Valid()
    who: Expression | None = None
    where: Where | None = None
    when: When | None = None
    requires: tuple[Requirement, ...] = ()
    limits: tuple[Limit, ...] = ()
    presence: PresenceRule = PresenceRule()
    delegation: Delegated = Delegated()
    price: tuple[Band, ...] = ()
    deny: frozenset[str] = EVERY_BLOCK
    """Whose blocks the document names; all three refuse in every service."""
    items: tuple[str, ...] | None = None
    """``allow_only_items``: item ids and ``@item_list`` names; ``None`` allows every item."""
    offline: Offline = Offline()


def accepted_presentations(document: ServiceDocument) -> frozenset[str]:
    """Kinds of presentation that open a service: those that every rule of it names."""
    rules = [rule.kinds for rule in document.requires if isinstance(rule, Presentation)]
    return frozenset.intersection(*rules) & PRESENTATION_KINDS if rules else ACCEPTED_UNASKED


def asks_pin(document: ServiceDocument) -> bool:
    """Whether a service asks for a PIN."""
    return any(isinstance(rule, Pin) for rule in document.requires)


def rule_kinds(document: ServiceDocument) -> frozenset[str]:
    """Names of the rule kinds that a document uses, e.g. ``{"who", "limits.quota", "presence.min_gap"}``.

    For service and reader to say plainly which kinds they hold no state for.
    """
    kinds = set()
    for name, used in (
        ("valid", document.valid != Valid()),
        ("who", document.who is not None),
        ("where", document.where is not None),
        ("when", document.when is not None),
        ("price", bool(document.price)),
        ("allow_only_items", document.items is not None),
        ("delegation.acts_for", document.delegation.acts_for is not None),
        ("delegation.accompanied_by", document.delegation.accompanied_by is not None),
    ):
        if used:
            kinds.add(name)
    kinds.add("deny")  # blocks win in every service, whether the document says so or not
    kinds.update(f"requires.{_tag(requirement)}" for requirement in document.requires)
    kinds.update(f"limits.{_tag(limit)}" for limit in document.limits)
    kinds.update(_named("presence", document.presence))
    kinds.update(_named("offline", document.offline))
    return frozenset(kinds)


def _tag(value: msgspec.Struct) -> str:
    return str(value.__struct_config__.tag)


def _named(prefix: str, value: msgspec.Struct) -> set[str]:
    """Names of the fields that differ from their defaults."""
    blank = type(value)()
    return {f"{prefix}.{name}" for name in value.__struct_fields__ if getattr(value, name) != getattr(blank, name)}
