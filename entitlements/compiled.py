"""A service compiled for the gate: all that :func:`~entitlements.decide.decide` reads, looked up and converted once."""

from __future__ import annotations

from entitlements.calendars import Always
from entitlements.eligibility import Condition, span_instants
from entitlements.limits import CompiledLimit, compile_confirmation, compile_limit, only_items
from entitlements.model import Decision, Instant, Outcome, Reason
from entitlements.requirements import compile_requirements, unavailable_reason
from entitlements.resolution import Resolver
from entitlements.service import Age, Balance, BookingRule, Limit, LoanRule, Quota, ServiceDocument, Upstream
from entitlements.world import World

REFERRED = frozenset((Reason.CACHE_TOO_OLD, Reason.CLOCK_UNTRUSTED, Reason.OFFLINE_STAFF_ONLY))
"""Reasons on which the gate sends the person to staff instead of refusing."""


class CompiledService:
    """A service ready to decide with: every name resolved, every time absolute or a number.

    Make with :func:`compile_service`. Attributes are read by :func:`~entitlements.decide.decide`; nothing changes them.
    ``hours`` are windows and closures within the service dates; ``accounts`` are those that a tap takes units from.
    """

    __slots__ = (
        "accounts",
        "acts_for_pence",
        "acts_for_scopes",
        "allowed",
        "area",
        "child_condition",
        "confirmations",
        "document",
        "ends",
        "exclusive",
        "grant_quota",
        "hours",
        "id",
        "ignore_presence_offline",
        "items",
        "limits",
        "max_children",
        "max_stale",
        "max_stay",
        "min_gap",
        "presence_scopes",
        "prices",
        "referred",
        "refusals",
        "requires",
        "resets_daily",
        "sites",
        "staff_only_offline",
        "starts",
        "tenant",
        "time",
        "who",
        "zones",
    )

    def __init__(self, document: ServiceDocument, world: World) -> None:
        resolve = Resolver(document, world)
        self.id = document.id
        self.tenant = document.tenant
        self.area = document.area
        self.document = document
        self.time = resolve.zone()
        self.sites = resolve.sites()
        self.zones = None if document.where is None or not document.where.zones else frozenset(document.where.zones)
        self.items = resolve.items()
        openings = resolve.openings(self.time)
        resolve.finish()

        valid = document.valid
        self.starts, self.ends = span_instants(valid.start, valid.until, self.time)
        self.hours = Always(self.starts, self.ends) if openings is None else openings

        self.who = None if document.who is None else Condition(document.who)
        self.prices = tuple((band, None if band.when is None else Condition(band.when)) for band in document.price)
        self.requires = compile_requirements(document.requires)
        self.referred = REFERRED | {
            unavailable_reason(rule)
            for rule in document.requires
            if isinstance(rule, Upstream) and rule.if_unknown == "refer"
        }

        acts_for = document.delegation.acts_for
        self.acts_for_scopes = None if acts_for is None else acts_for.scopes
        self.acts_for_pence = None if acts_for is None else acts_for.max_pence
        with_children = document.delegation.accompanied_by
        self.child_condition = None if with_children is None else Condition(Age(high=with_children.children_under))
        self.max_children = _children(document)

        rule, offline = document.presence, document.offline
        # Money and loans: a second tap is a second purchase or item, never the same visit again.
        always_new = any(isinstance(limit, (Balance, LoanRule)) for limit in document.limits)
        self.min_gap = None if always_new else rule.min_gap
        self.max_stay = rule.max_stay
        self.resets_daily = rule.reset == "local_midnight"
        self.exclusive = rule.anti_passback is not None or rule.one_at_a_time is not None
        scopes: list[str] = [scope for scope in (rule.anti_passback, rule.one_at_a_time) if scope is not None]
        if rule.min_gap is not None and not scopes:
            scopes = ["person"]
        self.presence_scopes = tuple(dict.fromkeys(scopes))
        self.ignore_presence_offline = offline.presence == "ignore"
        self.max_stale = offline.max_stale
        self.staff_only_offline = offline.mode == "staff_only"

        self._compile_limits(document)
        self.grant_quota = any(_counts_by_grant(limit) for limit in document.limits)
        # Decisions that carry nothing of the tap are made once.
        self.refusals: dict[str, Decision] = {}
        self.allowed: dict[tuple[str | None, int | None], Decision] = {
            (band, pence): Decision(outcome=Outcome.ALLOW, reason=Reason.OK, service=self.id, band=band, pence=pence)
            for band, pence in [(None, None), *((band.name, band.pence) for band in document.price)]
        }

    def _compile_limits(self, document: ServiceDocument) -> None:
        offline = document.offline
        # Units that are counted when something is booked are neither tested nor taken by a tap.
        limits = [limit for limit in document.limits if not (isinstance(limit, Quota) and limit.counts == "created")]
        balances = [limit for limit in limits if isinstance(limit, Balance)]
        tests: list[CompiledLimit] = [
            compile_limit(
                limit,
                self.time,
                bookings_offline=offline.bookings != "deny",
                ignore_capacity=offline.capacity == "ignore",
            )
            for limit in limits
        ]
        if self.items is not None:
            tests.insert(0, only_items(self.items, money=bool(balances)))
        self.limits = tuple(tests)
        self.confirmations = tuple(compile_confirmation(one.confirm) for one in balances if one.confirm is not None)
        self.accounts = tuple(limit.account for limit in limits if isinstance(limit, (Quota, Balance)))

    def is_open(self, at: Instant) -> bool:
        """Whether service dates, windows and closures are open at this instant."""
        return self.hours.contains(at)

    def next_opening(self, at: Instant) -> Instant | None:
        """The next instant after ``at`` at which the service opens; ``None`` where none lies within a year."""
        return self.hours.next_opening(at)


def _children(document: ServiceDocument) -> int:
    """How many children a holder may bring: what the document grants, and nothing it does not mention."""
    rule = document.delegation.accompanied_by
    if rule is not None:
        return rule.max
    parties = [limit.party_max for limit in document.limits if isinstance(limit, BookingRule) and limit.party_max]
    return min(parties) - 1 if parties else 0


def _counts_by_grant(limit: Limit) -> bool:
    if isinstance(limit, Quota):
        return limit.period.name == "grant"
    return isinstance(limit, Balance) and limit.cap is not None and limit.cap.period.name == "grant"


def compile_service(document: ServiceDocument, world: World) -> CompiledService:
    """Resolve a document against the world.

    Raises:
        DocumentError: it names a tenant, time zone, site set, calendar or item list that the world does not have.
    """
    return CompiledService(document, world)
