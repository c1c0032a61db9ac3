"""What gates hear of loans: in every area with a service that lends from the pool, under that area's keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cardservice.catalogue.loading import Catalogue
from cardservice.db import Connection, queries
from cardservice.feed.telling import Wanted
from cardservice.ledger.keys import AccountKeyring
from entitlements.compile import CompiledService
from entitlements.service import LoanRule
from entitlements.wire.state import Loan, LoanChange


def loan_rules(service: CompiledService) -> list[LoanRule]:
    """The pools that a service lends from."""
    return [limit for limit in service.document.limits if isinstance(limit, LoanRule)]


def pools(services: Iterable[CompiledService]) -> set[str]:
    """Names of the pools that these services lend from."""
    return {rule.pool for service in services for rule in loan_rules(service)}


def tellings(row: Mapping[str, Any], catalogue: Catalogue, ring: AccountKeyring) -> list[Wanted]:
    """The changes that tell of a loan as it is now."""
    areas = sorted(area for area in catalogue.areas if row["pool"] in pools(catalogue.area(area).services))
    return [_change(area, wire_loan(row, area, ring)) for area in areas]


def wire_loan(row: Mapping[str, Any], area: str, ring: AccountKeyring) -> Loan:
    """A loan's row as gates of an area get it."""
    return Loan(
        loan=str(row["loan_id"]),
        pool=row["pool"],
        key=ring.key(area, "person", str(row["person_id"])),
        due=row["due"].isoformat(),
        gone=row["returned_at"] is not None,
    )


async def open_loans(
    conn: Connection, tenant: str, area: str, services: Sequence[CompiledService], ring: AccountKeyring
) -> list[Loan]:
    """What is out, for a snapshot."""
    named = sorted(pools(services))
    if not named:
        return []
    return [wire_loan(row, area, ring) async for row in queries().loans.out(conn, tenant=tenant, pools=named)]


def _change(area: str, loan: Loan) -> Wanted:
    return area, lambda n, tn, at: LoanChange(n=n, tn=tn, at=at, loan=loan)
