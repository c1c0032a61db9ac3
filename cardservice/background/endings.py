"""What a finished or failed job means for the draft or the rollback that it was for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cardservice.api.call import Errand
from cardservice.catalogue.life.drafts import lock, move, note
from cardservice.catalogue.life.publication import Earlier, finish_draft, note_rollback
from cardservice.catalogue.life.states import DraftStep
from cardservice.catalogue.models import ServicePublished
from cardservice.db import queries


async def finish(work: Errand, job: Mapping[str, Any], done: ServicePublished, told: Mapping[str, Any]) -> None:
    """The change is done: say so of the job, and of the draft or rollback, in the transaction of the swap."""
    asked = job["request"]
    if job["draft_id"] is not None:
        row = await lock(work, job["draft_id"])
        await finish_draft(work, row, done, why=asked["why"], approved_by=asked["approved_by"])
    elif "same_as" in asked:
        earlier = Earlier(
            service_id=job["service_id"],
            version=asked["same_as"],
            document=asked["document"],
            shared_with=asked["shared_with"],
        )
        await note_rollback(work, earlier, done, asked["why"])
    result = {"version": done.version, "feeds": done.feeds, **told}
    await queries().jobs.finish(
        work.conn, tenant=work.tenant, job_id=job["job_id"], state="done", result=result, problem=None
    )


async def give_up(work: Errand, job: Mapping[str, Any], problem: str) -> None:
    """It does not come into force; a draft stays approved and says why."""
    if job["draft_id"] is not None:
        row = await move(work, await lock(work, job["draft_id"]), DraftStep.FAIL)
        await note(work, row, "publication failed", problem)
    await queries().jobs.finish(
        work.conn, tenant=work.tenant, job_id=job["job_id"], state="failed", result=None, problem=problem
    )
