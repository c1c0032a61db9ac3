"""When a publication or withdrawal becomes a job: where it concerns more people than a request should wait for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg

from cardservice.api.call import Work
from cardservice.catalogue.documents import refused
from cardservice.catalogue.services import Intent, Withdrawal, carry_out
from cardservice.db import queries
from cardservice.errors import conflict
from cardservice.feed.recompile import unchanged_rules
from cardservice.feed.writer import as_tenant
from cardservice.settings import Settings
from entitlements.errors import DocumentError


async def begin(
    work: Work, wish: Intent | Withdrawal, *, settings: Settings, draft_id: UUID | None, request: Mapping[str, Any]
) -> UUID | None:
    """Make a job of a publication or withdrawal that concerns many people; ``None`` where a request can do it.

    Other opening hours are no work, however many people there are: gates look at the clock, nobody is compiled anew.

    Args:
        work: a transaction of the service's tenant.
        wish: what is to come, checked.
        settings: how many are many.
        draft_id: the draft that is published; none for a rollback and for what is done without a draft.
        request: what the ending has to know: ``why``, and who approved or which version comes back;
            nothing for what is done without a draft.

    Raises:
        ApiProblem: 409 ``publication_running``; 422 where the document names what does not exist.
    """
    tenants = sorted(wish.tenants | wish.tenants_before)
    cards = 0
    for tenant in tenants:
        async with as_tenant(work.conn, tenant):
            cards += await queries().jobs.cards_numbered(work.conn, tenant=tenant) or 0
    if wish.same or cards <= settings.background_cards or await _compiles_nobody(work, wish):
        return None
    document, shared = (None, ()) if isinstance(wish, Withdrawal) else (wish.document, wish.shared)
    asked = dict(request) | {
        "document": document,
        "shared_with": list(shared),
        "newest": wish.before["version"],
    }
    try:
        row = await queries().jobs.add(
            work.conn,
            tenant=work.tenant,
            kind="withdraw" if document is None else "publish",
            service_id=wish.service_id,
            draft_id=draft_id,
            asked_by=work.actor.name,
            request=asked,
            tenants=tenants,
            now=work.now,
        )
    except asyncpg.UniqueViolationError:
        raise conflict("publication_running", f"Another change of {wish.service_id} is being prepared.") from None
    return UUID(str(row["job_id"]))


async def _compiles_nobody(work: Work, wish: Intent | Withdrawal) -> bool:
    """Whether everybody's rows would stay as they are. Tried out, and undone."""
    trial = work.conn.transaction()
    await trial.start()
    try:
        await carry_out(work, wish)
        for tenant in sorted(wish.tenants | wish.tenants_before):
            async with as_tenant(work.conn, tenant):
                areas = sorted(area for owner, area in wish.feeds if owner == tenant)
                if not await unchanged_rules(work.conn, tenant, areas):
                    return False
        return True
    except DocumentError as error:
        raise refused(error) from None
    finally:
        await trial.rollback()
