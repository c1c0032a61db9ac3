"""What a card opens, in plain words: its compiled rights, and the documents in force read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cardservice.catalogue.documents import read_document
from cardservice.catalogue.life.vocabulary import load_vocabulary
from cardservice.catalogue.loading import load_catalogue
from cardservice.db import Connection, queries
from cardservice.phone.models import Opening
from entitlements.explain import explain
from entitlements.explain.words import Names, money, sentence
from entitlements.profile import Profile, Segment, Verdict
from entitlements.service import Pin, Prerequisite, Presentation, ServiceDocument

TOLD: Final = ("Where", "When")
"""Parts of a document's explanation that help somebody on the way there."""
OPEN: Final = {Verdict.ELIGIBLE: None, Verdict.NEEDS_ADULT: "You need to come with an adult."}
"""Verdicts that let somebody in, and what has to be said with them. The others are no promise."""
NEEDS: Final = (Pin, Prerequisite)
"""What is asked for beside the card. Kinds of presentation are told apart, by the page that shows one of them."""


async def openings(conn: Connection, tenant: str, card_id: bytes, now: datetime) -> list[Opening]:
    """Services that the card opens now or within the compiled weeks, by title."""
    second = int(now.timestamp())
    documents = {
        str(entry.document["id"]): entry.document
        for area in (await load_catalogue(conn, tenant)).areas.values()
        for entry in area.entries
    }
    words = await load_vocabulary(conn, tenant, now)
    found: list[Opening] = []
    async for row in queries().phone.profiles(conn, tenant=tenant, card_id=card_id):
        profile = Profile.from_wire(json.loads(bytes(row["body"])))
        for service, segments in profile.grants:
            found_now = _current(segments, second)
            if found_now is None or service not in documents or {"*", service} & set(profile.blocks):
                continue
            document = read_document(documents[service])
            told = explain(document, words.world, titles=words.titles)
            lines = [line.text for section in told.sections if section.heading in TOLD for line in section.lines]
            lines += [_needed(rule, Names(words.titles)) for rule in document.requires if isinstance(rule, NEEDS)]
            found.append(_opening(document, lines, *found_now, second))
    return sorted(found, key=lambda opening: (opening.title, opening.service))


def _current(segments: Sequence[Segment], second: int) -> tuple[Segment, int | None] | None:
    """The open segment that holds now, else the next one; and the end of what goes on from it without a gap."""
    still = [each for each in segments if each.verdict in OPEN and (each.until is None or each.until > second)]
    if not still:
        return None
    end = still[0].until
    for each in still[1:]:
        if each.start != end:
            break
        end = each.until  # only the price changes
    return still[0], end


def _needed(rule: Pin | Prerequisite, names: Names) -> str:
    if isinstance(rule, Pin):
        return "You need your PIN."
    return f"You need to have done the {names.thing(rule.name)}."


def _opening(document: ServiceDocument, lines: list[str], segment: Segment, end: int | None, second: int) -> Opening:
    more = OPEN[segment.verdict]
    if more is not None:
        lines.append(more)
    if segment.pence is not None:
        lines.append(sentence(f"your price is {money(segment.pence)}" if segment.pence else "it is free for you"))
    kinds = accepted(document)
    begun = segment.start is None or segment.start <= second
    return Opening(
        service=str(document.id),
        title=document.title,
        lines=lines,
        live="live" in kinds,
        static="static" in kinds,
        starts_at=None if begun else segment.start,
        ends_at=end,
    )


def accepted(document: ServiceDocument) -> frozenset[str]:
    """Kinds of presentation that open the service; static and live where the document asks for none."""
    asked = [rule.kinds for rule in document.requires if isinstance(rule, Presentation)]
    return frozenset({"static", "live"}) if not asked else frozenset.intersection(*asked)
