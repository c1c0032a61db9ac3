"""Routes of work in the background: how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import Field

from cardservice.api.call import Call
from cardservice.api.models import ApiModel, Page, encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.db import queries
from cardservice.errors import not_found

routes = Routes(tag="life of a service")

READERS = ("manager", "operator", "auditor")


class JobReply(ApiModel):
    """Work in the background. `done` of `total` people are compiled."""

    job_id: UUID
    kind: str
    service_id: str
    draft_id: UUID | None
    asked_by: str
    state: str = Field(description="`waiting`, `running`, `done` or `failed`.")
    step: str
    done: int
    total: int
    attempts: int
    problem: str | None
    result: dict[str, Any] | None
    created_at: datetime
    beat_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Of a row of ``job``."""
        return cls.of(row)


class JobsPage(ApiModel):
    """Jobs, newest first."""

    items: list[JobReply]
    next: str | None


@routes.add("GET", "/v1/jobs", "List work in the background", roles=READERS)
async def list_jobs(call: Call, query: Page) -> JobsPage:
    before_time, before_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    found = queries().jobs.page(
        call.conn, tenant=call.tenant, before_time=before_time, before_id=before_id, limit=query.limit + 1
    )
    items = [JobReply.from_row(row) async for row in found]
    shown = items[: query.limit]
    last = shown[-1] if len(items) > len(shown) else None
    return JobsPage(
        items=shown, next=None if last is None else encode_cursor(last.created_at.isoformat(), str(last.job_id))
    )


@routes.add("GET", "/v1/jobs/{job_id}", "How far work in the background is", roles=READERS)
async def get_job(call: Call) -> JobReply:
    job_id = call.path_uuid("job_id", "job")
    row = await queries().jobs.get(call.conn, tenant=call.tenant, job_id=job_id)
    if row is None:
        raise not_found("job", job_id)
    return JobReply.from_row(row)
