"""When a publication becomes a job: where it concerns more people than a request should wait for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg

from cardservice.api.call import Work
from cardservice.catalogue.services import Intent
from cardservice.db import queries
from cardservice.errors import conflict
from cardservice.feed.writer import as_tenant
from cardservice.settings import Settings


async def begin(
    work: Work, wish: Intent, *, settings: Settings, draft_id: UUID | None, request: Mapping[str, Any]
) -> UUID | None:
    """Make a job of a publication that concerns many people; ``None`` where a request can do it.

    Args:
        work: a transaction of the service's tenant.
        wish: the publication, checked.
        settings: how many are many.
        draft_id: the draft that is published, or none for a rollback.
        request: what the ending has to know: ``why``, and who approved or which version comes back.

    Raises:
        ApiProblem: 409 ``publication_running``.
    """
    tenants = sorted(wish.tenants | wish.tenants_before)
    cards = 0
    for tenant in tenants:
        async with as_tenant(work.conn, tenant):
            cards += await queries().jobs.cards_numbered(work.conn, tenant=tenant) or 0
    if wish.same or cards <= settings.background_cards:
        return None
    asked = dict(request) | {
        "document": wish.document,
        "shared_with": list(wish.shared),
        "newest": wish.before["version"],
    }
    try:
        row = await queries().jobs.add(
            work.conn,
            tenant=work.tenant,
            service_id=wish.service.id,
            draft_id=draft_id,
            asked_by=work.actor.name,
            request=asked,
            tenants=tenants,
            now=work.now,
        )
    except asyncpg.UniqueViolationError:
        raise conflict("publication_running", f"Another publication of {wish.service.id} is being prepared.") from None
    return UUID(str(row["job_id"]))
