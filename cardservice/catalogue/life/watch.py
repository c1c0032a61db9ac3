"""The first hours of a new version: outcomes by the hour before and after, so that a manager sees a break."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import Field

from cardservice.api.call import Call
from cardservice.api.models import ApiModel
from cardservice.db import queries
from cardservice.errors import conflict
from entitlements.model import Decision, Instant, Outcome
from entitlements.sentences import describe

FEWEST_TAPS: Final = 20
"""Entries after the publication below which nothing is concluded."""
POINTS: Final = 0.10
"""A share of refusals that grew by so much is worth a look: one more person in ten turned away."""


class WatchQuery(ApiModel):
    """How long before and after the publication."""

    hours: int = Field(default=24, ge=1, le=24 * 14)


class HourReply(ApiModel):
    """Entries of one hour (UTC)."""

    hour: datetime
    allowed: int
    refused: int
    other: int


class ReasonReply(ApiModel):
    """How often a reason was given before and after."""

    outcome: str
    reason: str
    told: str
    before: int
    after: int


class WatchReply(ApiModel):
    """A service since its version in force was published, and as long before."""

    service_id: str
    version: int
    published_at: datetime
    hours: list[HourReply]
    taps_before: int
    taps_after: int
    refused_before: int
    refused_after: int
    reasons: list[ReasonReply]
    look: bool = Field(description="True where the share of refusals grew so much that somebody should look.")
    sentences: list[str]


async def watch(call: Call, service_id: str, hours: int) -> WatchReply:
    """What happened at the gates since the version in force was published.

    Raises:
        ApiProblem: 409 where none is in force.
    """
    row = await queries().catalogue.newest(call.conn, tenant=call.tenant, service_id=service_id)
    if row is None or row["state"] != "published":
        raise conflict("service_not_published", f"No version of {service_id[:80]} of yours is in force.")
    version = await queries().life.version(call.conn, tenant=call.tenant, service_id=service_id, version=row["version"])
    published_at: datetime = version["published_at"]
    span = timedelta(hours=hours)
    bounds: dict[str, Any] = {"tenant": call.tenant, "service_id": service_id}
    bounds |= {"since": published_at - span, "until": min(published_at + span, call.now)}
    by_hour: dict[datetime, dict[str, int]] = {}
    async for taps in queries().life.hours_of_taps(call.conn, **bounds):
        by_hour.setdefault(taps["hour"], {})[taps["outcome"]] = taps["taps"]
    counts = [taps async for taps in queries().life.reasons_of_taps(call.conn, **bounds, published_at=published_at)]
    return _reply(service_id, row["version"], published_at, by_hour, counts)


def _reply(
    service_id: str,
    version: int,
    published_at: datetime,
    by_hour: Mapping[datetime, Mapping[str, int]],
    counts: list[Mapping[str, Any]],
) -> WatchReply:
    reasons: dict[tuple[str, str], list[int]] = {}
    taps, refused = [0, 0], [0, 0]
    for row in counts:
        reasons.setdefault((row["outcome"], row["reason"]), [0, 0])[row["after"]] += row["taps"]
        taps[row["after"]] += row["taps"]
        refused[row["after"]] += row["taps"] if row["outcome"] != Outcome.ALLOW else 0
    shares = [part / whole if whole else 0.0 for part, whole in zip(refused, taps, strict=True)]
    look = taps[1] >= FEWEST_TAPS and shares[1] - shares[0] >= POINTS
    told = [
        ReasonReply(outcome=outcome, reason=reason, told=_told(outcome, reason), before=before, after=after)
        for (outcome, reason), (before, after) in reasons.items()
    ]
    told.sort(key=lambda one: (one.before - one.after, one.reason))
    return WatchReply(
        service_id=service_id,
        version=version,
        published_at=published_at,
        hours=[
            HourReply(
                hour=hour,
                allowed=found.get("allow", 0),
                refused=found.get("deny", 0),
                other=found.get("refer", 0) + found.get("confirm", 0),
            )
            for hour, found in sorted(by_hour.items())
        ],
        taps_before=taps[0],
        taps_after=taps[1],
        refused_before=refused[0],
        refused_after=refused[1],
        reasons=told,
        look=look,
        sentences=_sentences(version, taps, refused, told, look=look),
    )


def _sentences(version: int, taps: list[int], refused: list[int], told: list[ReasonReply], *, look: bool) -> list[str]:
    if not taps[1]:
        return [f"Nobody has tapped since version {version} came into force."]
    sentences = [f"Since version {version} came into force {_share(refused[1], taps[1])} not let in."]
    if taps[0]:
        sentences.append(f"In the same time before, {_share(refused[0], taps[0])} not let in.")
    grown = next((one for one in told if one.outcome != Outcome.ALLOW and one.after > one.before), None)
    if grown is not None:
        sentences.append(f"Most of what grew: {grown.told} ({grown.after:,}, before {grown.before:,})")
    if look:
        sentences.append(
            "That is a lot more than before. Look at the reasons; the former version is one rollback away."
        )
    return sentences


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} {'entry was' if whole == 1 else 'entries were'} ({round(100 * part / whole)} %)"


def _told(outcome: str, reason: str) -> str:
    return describe(Decision(outcome=Outcome(outcome), reason=reason), at=Instant(0), timezone="UTC").staff
