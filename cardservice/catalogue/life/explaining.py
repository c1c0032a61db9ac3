"""A draft read back in plain English, and as a difference to the version in force."""

from __future__ import annotations

from cardservice.api.call import Call
from cardservice.catalogue.documents import read_document
from cardservice.catalogue.life.drafts import Row, read
from cardservice.catalogue.life.models import ExplainReply, LineReply, SectionReply
from cardservice.catalogue.life.review import refuse_errors
from cardservice.db import queries
from entitlements.explain import explain, explain_change


async def explain_draft(call: Call, row: Row) -> ExplainReply:
    """The draft in words. What the linter objects to is read back all the same: seeing it helps to mend it.

    Raises:
        ApiProblem: 422 ``draft_has_errors`` where the text is no document.
    """
    reading, words = await read(call, row)
    if reading.document is None:
        refuse_errors((reading, words))
        raise RuntimeError("a text without errors has a document")
    told = explain(reading.document, words.world, titles=words.titles)
    newest = await queries().catalogue.newest(call.conn, tenant=call.tenant, service_id=row["service_id"])
    compared = newest if newest is not None and newest["state"] == "published" else None
    changes = (
        None
        if compared is None
        else explain_change(read_document(compared["document"]), reading.document, words.world, titles=words.titles)
    )
    return ExplainReply(
        title=told.title,
        lead=told.lead,
        sections=[
            SectionReply(
                heading=section.heading,
                lines=[LineReply(text=line.text, depth=line.depth) for line in section.lines],
            )
            for section in told.sections
        ],
        text=told.text(),
        compared_with=None if compared is None else compared["version"],
        changes=changes,
    )
