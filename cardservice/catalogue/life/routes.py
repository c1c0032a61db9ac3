"""Routes of drafts, templates and vocabulary, and of what becomes of a service. Managers write; all staff read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.models import Page, encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.catalogue.life import drafts, publication, review, simulation, vocabulary
from cardservice.catalogue.life.explaining import explain_draft
from cardservice.catalogue.life.models import (
    ApprovalReply,
    DraftChange,
    DraftDetail,
    DraftReply,
    DraftsPage,
    DraftsQuery,
    DraftStart,
    EventReply,
    ExplainReply,
    FindingReply,
    LintReply,
    Reason,
    ReplayWish,
    Rollback,
    RolledBack,
    Schedule,
    SimulationReply,
    SimulationsPage,
    SimulationsReply,
    Submission,
    TemplateQuestion,
    TemplateReply,
    TemplatesReply,
    VersionLine,
    VersionsPage,
    WordDraft,
    WordReply,
    WordsPage,
)
from cardservice.catalogue.life.templates import templates
from cardservice.catalogue.life.watch import WatchQuery, WatchReply, watch
from cardservice.db import queries
from cardservice.errors import not_found

routes = Routes(tag="life of a service")

MANAGERS = ("manager",)
READERS = ("manager", "auditor")


@routes.add("GET", "/v1/templates", "List templates to begin a service with")
async def list_templates(_: Call) -> TemplatesReply:
    """Not paged: as many as this release brings."""
    items = [
        TemplateReply(
            name=each.name,
            title=each.file.title,
            summary=each.file.summary,
            questions=[
                TemplateQuestion(id=asked.id, ask=asked.ask, kind=asked.kind, default=asked.default)
                for asked in each.file.questions
            ],
        )
        for each in templates().values()
    ]
    return TemplatesReply(items=items)


@routes.add("POST", "/v1/drafts", "Begin a draft", roles=MANAGERS, status=201)
async def begin(call: Call, body: DraftStart) -> DraftDetail:
    return await _detail(call, await drafts.begin(call, body))


@routes.add("GET", "/v1/drafts", "List drafts", roles=READERS)
async def list_drafts(call: Call, query: DraftsQuery) -> DraftsPage:
    before_time, before_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    found = queries().life.drafts_page(
        call.conn,
        tenant=call.tenant,
        service_id=query.service_id,
        state=query.state,
        before_time=before_time,
        before_id=before_id,
        limit=query.limit + 1,
    )
    items = [DraftReply.of(row) async for row in found]
    shown = items[: query.limit]
    last = shown[-1] if len(items) > len(shown) else None
    return DraftsPage(
        items=shown, next=None if last is None else encode_cursor(last.created_at.isoformat(), str(last.draft_id))
    )


@routes.add("GET", "/v1/drafts/{draft_id}", "Look up a draft with its text, approvals and events", roles=READERS)
async def get_draft(call: Call) -> DraftDetail:
    return await _detail(call, await drafts.find(call, _id(call)))


@routes.add("PUT", "/v1/drafts/{draft_id}", "Write another text", roles=MANAGERS)
async def change(call: Call, body: DraftChange) -> DraftDetail:
    return await _detail(call, await drafts.change(call, _id(call), body))


@routes.add("POST", "/v1/drafts/{draft_id}/lint", "What should be known before it goes live", roles=READERS)
async def lint(call: Call) -> LintReply:
    reading, _ = await drafts.read(call, await drafts.find(call, _id(call)))
    return LintReply(
        ok=not reading.errors,
        errors=len(reading.errors),
        warnings=len(reading.findings) - len(reading.errors),
        findings=[FindingReply.from_finding(one) for one in reading.findings],
    )


@routes.add("GET", "/v1/drafts/{draft_id}/explain", "The draft in plain English, and what differs", roles=READERS)
async def explain(call: Call) -> ExplainReply:
    return await explain_draft(call, await drafts.find(call, _id(call)))


async def replay(call: Call, body: ReplayWish) -> simulation.Replayed:
    return await simulation.replay(call, _id(call), body)


@routes.add(
    "POST",
    "/v1/drafts/{draft_id}/simulate",
    "Replay stored taps under the draft; takes up to a minute",
    roles=MANAGERS,
    before=replay,
)
async def simulate(call: Call, body: ReplayWish) -> SimulationReply:
    return await simulation.keep(call, _id(call), body)


@routes.add("GET", "/v1/drafts/{draft_id}/simulations", "Replays of a draft, newest first", roles=READERS)
async def list_simulations(call: Call, query: SimulationsPage) -> SimulationsReply:
    before_at, before_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    row = await drafts.find(call, _id(call))
    found = queries().life.simulations(
        call.conn,
        tenant=call.tenant,
        draft_id=row["draft_id"],
        before_at=before_at,
        before_id=before_id,
        limit=query.limit + 1,
    )
    items = [SimulationReply.of(each) async for each in found]
    shown = items[: query.limit]
    last = shown[-1] if len(items) > len(shown) else None
    more = None if last is None else encode_cursor(last.made_at.isoformat(), str(last.simulation_id))
    return SimulationsReply(items=shown, next=more)


@routes.add("POST", "/v1/drafts/{draft_id}/submit", "Hand it to a second person", roles=MANAGERS)
async def submit(call: Call, body: Submission) -> DraftDetail:
    return await _detail(call, await review.submit(call, _id(call), body.why))


@routes.add("POST", "/v1/drafts/{draft_id}/approve", "Let it pass; never by an author", roles=MANAGERS)
async def approve(call: Call, body: Reason) -> DraftDetail:
    return await _detail(call, await review.approve(call, _id(call), body.why))


@routes.add("POST", "/v1/drafts/{draft_id}/reject", "Send it back to its author", roles=MANAGERS)
async def reject(call: Call, body: Reason) -> DraftDetail:
    return await _detail(call, await review.reject(call, _id(call), body.why))


@routes.add("POST", "/v1/drafts/{draft_id}/recall", "Make it a draft again; its approval is spent", roles=MANAGERS)
async def recall(call: Call, body: Submission) -> DraftDetail:
    return await _detail(call, await review.recall(call, _id(call), body.why))


@routes.add("POST", "/v1/drafts/{draft_id}/withdraw", "Give the draft up", roles=MANAGERS)
async def withdraw(call: Call, body: Submission) -> DraftDetail:
    return await _detail(call, await review.withdraw(call, _id(call), body.why))


@routes.add("POST", "/v1/drafts/{draft_id}/schedule", "Publish it by itself at a time", roles=MANAGERS)
async def schedule(call: Call, body: Schedule) -> DraftDetail:
    row = await review.schedule(call, _id(call), body.publish_at, body.why)
    call.after_commit.append(call.platform.scheduler.wake)
    return await _detail(call, row)


@routes.add("POST", "/v1/drafts/{draft_id}/publish", "Publish an approved draft now", roles=MANAGERS)
async def publish(call: Call, body: Submission) -> DraftDetail:
    row = await publication.publish_draft(call, call.platform.settings, _id(call), body.why)
    call.after_commit += [call.platform.hub.wake, call.platform.publications.wake]
    return await _detail(call, row)


@routes.add("POST", "/v1/services/{service_id}/rollback", "Go back to an earlier version at once", roles=MANAGERS)
async def roll_back(call: Call, body: Rollback) -> RolledBack:
    earlier = await publication.earlier_version(call, call.path("service_id"), body.to_version)
    done = await publication.roll_back(call, call.platform.settings, earlier, body.why)
    call.after_commit += [call.platform.hub.wake, call.platform.publications.wake]
    if isinstance(done, UUID):
        return RolledBack(
            service_id=earlier.service_id, version=None, same_as=earlier.version, changed=False, feeds={}, job_id=done
        )
    return RolledBack(
        service_id=done.service_id,
        version=done.version,
        same_as=earlier.version,
        changed=done.changed,
        feeds=done.feeds,
    )


@routes.add("GET", "/v1/services/{service_id}/versions", "Versions of an own service, newest first")
async def list_versions(call: Call, query: Page) -> VersionsPage:
    service_id = call.path("service_id")
    (before,) = read_cursor(query.cursor, int)
    found = queries().life.versions_page(
        call.conn, tenant=call.tenant, service_id=service_id, before=before, limit=query.limit + 1
    )
    items = [VersionLine.from_row(row) async for row in found]
    if not items and before is None:
        raise not_found("service", service_id[:80])
    shown = items[: query.limit]
    more = len(items) > len(shown)
    return VersionsPage(items=shown, next=encode_cursor(str(shown[-1].version)) if more else None)


@routes.add("GET", "/v1/services/{service_id}/watch", "Outcomes before and after the last publication", roles=READERS)
async def watch_service(call: Call, query: WatchQuery) -> WatchReply:
    return await watch(call, call.path("service_id"), query.hours)


@routes.add("GET", "/v1/vocabulary", "What the council calls things, and which facts somebody supplies")
async def list_words(call: Call, query: Page) -> WordsPage:
    kind, name = read_cursor(query.cursor, str, str)
    found = queries().life.words(call.conn, tenant=call.tenant, after_kind=kind, after_name=name, limit=query.limit + 1)
    items = [WordReply.of(row) async for row in found]
    shown = items[: query.limit]
    last = shown[-1] if len(items) > len(shown) else None
    return WordsPage(items=shown, next=None if last is None else encode_cursor(last.kind, last.name))


@routes.add("PUT", "/v1/vocabulary/{kind}/{name}", "Say what something is called and who supplies it", roles=MANAGERS)
async def put_word(call: Call, body: WordDraft) -> WordReply:
    row = await vocabulary.put_word(
        call, call.path("kind"), call.path("name"), title=body.title, supplied_by=body.supplied_by
    )
    return WordReply.of(row)


@routes.add("DELETE", "/v1/vocabulary/{kind}/{name}", "Take a name out of the vocabulary", roles=MANAGERS)
async def remove_word(call: Call) -> None:
    await vocabulary.remove_word(call, call.path("kind"), call.path("name"))


def _id(call: Call) -> UUID:
    return call.path_uuid("draft_id", "draft")


async def _detail(call: Call, row: Mapping[str, Any]) -> DraftDetail:
    named = {"tenant": call.tenant, "draft_id": row["draft_id"]}
    return DraftDetail.of(
        row,
        approvals=[ApprovalReply.of(each) async for each in queries().life.approvals(call.conn, **named)],
        events=[EventReply.of(each) async for each in queries().life.events(call.conn, **named)],
        job_id=await queries().jobs.of_draft(call.conn, **named),
    )
