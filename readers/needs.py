"""What a compiled service asks of the state behind limits, worked out once: a decision gathers that and no more."""

from __future__ import annotations

from typing import Final

import msgspec

from entitlements.compiled import CompiledService
from entitlements.service import BookingRule, LoanRule, Quota, Upstream

_DAY_SECONDS: Final = 86_400


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Units of an account that a site may give to each key while it is cut off, and by what the account is kept."""

    account: str
    units: int
    scopes: tuple[str, ...]


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What one service asks for. ``holder`` tells whether anything of it is kept by the holder's account keys."""

    holder: bool = False
    ledger: bool = False
    leases: tuple[Lease, ...] = ()
    booking: BookingRule | None = None
    pool: str | None = None
    loan_days: int = 0
    """Days until a borrowed item is due."""
    upstreams: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    """By what presence is kept."""
    acts_for: bool = False
    on_release: bool = False
    """What a tap takes is taken when the gate was released, not when somebody passed: the service is no entrance."""


NO_NEEDS: Final = Needs()


def needs_of(service: CompiledService) -> Needs:
    """The needs of a service."""
    document = service.document
    quotas: dict[str, list[str]] = {}
    booking: BookingRule | None = None
    loan: LoanRule | None = None
    for limit in document.limits:
        if isinstance(limit, Quota) and limit.counts == "used":
            quotas.setdefault(limit.account, []).append(limit.scope)
        elif isinstance(limit, BookingRule):
            booking = booking or limit
        elif isinstance(limit, LoanRule):
            loan = loan or limit
    upstreams = tuple(rule.name for rule in document.requires if isinstance(rule, Upstream))
    by_holder = [scope for scope in service.presence_scopes if scope != "card"]
    return Needs(
        holder=bool(quotas or booking or loan or upstreams or by_holder),
        ledger=bool(quotas),
        leases=tuple(
            Lease(account=account, units=units, scopes=tuple(quotas[account]))
            for account, units in document.offline.lease
            if account in quotas
        ),
        booking=booking,
        pool=None if loan is None else loan.pool,
        loan_days=0 if loan is None or loan.period is None else loan.period // _DAY_SECONDS,
        upstreams=upstreams,
        scopes=service.presence_scopes,
        acts_for=service.acts_for_scopes is not None,
        on_release=document.kind != "access",
    )
