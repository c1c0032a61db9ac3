"""What a lane makes of a decision: what is shown, the tap for the service, a line for the status page."""

from __future__ import annotations

import base64
from uuid import UUID

from entitlements.model import Instant
from entitlements.wire.taps import Tap
from hardware.interfaces import Presented, Verdict
from readers import display
from readers.clock import TrustedClock
from readers.judgement import Judgement, Place


def verdict_of(judgement: Judgement, clock: TrustedClock) -> Verdict:
    """What the person is shown."""
    if judgement.verdict is not None:
        return judgement.verdict
    timezone = "UTC" if judgement.feed is None else judgement.feed.catalogue.timezone()
    return display.verdict_of(judgement.decision, at=Instant(clock.now_ms() // 1000), timezone=timezone)


def tap_of(
    tap_id: UUID, presented: Presented, place: Place, judgement: Judgement, clock: TrustedClock, at_ms: int
) -> Tap:
    """The tap of a judgement at a lane; ``at_ms`` is the instant of the decision by the corrected clock.

    By it units are counted: a gate that takes its time at midnight must not move a visit into the next day.
    """
    party = judgement.party if judgement.acting else None
    decision, claims, feed = judgement.decision, judgement.claims, judgement.feed
    return Tap(
        tap_id=tap_id,
        site=place.site,
        lane=place.lane.lane,
        direction="exit" if place.lane.direction == "exit" else "entry",
        at=at_ms,
        outcome=decision.outcome,
        reason=str(decision.reason),
        media=presented.media,
        online=feed is not None and feed.online,
        clock_trusted=clock.trusted,
        clock_offset_ms=clock.offset_ms,
        card_tenant=None if claims is None else claims.issuer,
        card=None if claims is None else base64.urlsafe_b64encode(claims.card_id).rstrip(b"=").decode(),
        service=decision.service,
        service_version=judgement.version,
        band=decision.band,
        pence=decision.pence,
        effects=[{"account": effect.account, "units": effect.units, "key": effect.key} for effect in decision.effects],
        feed=None if feed is None else feed.name,
        feed_number=judgement.number,
        detail=judgement.detail,
        acts_for=None if party is None else party.index,
        presentation=judgement.presentation,
    )


def line_of(tap: Tap, verdict: Verdict) -> dict[str, object]:
    """The tap as the status page tells it, with the words that the person was shown."""
    return {
        "tap_id": str(tap.tap_id),
        "at": tap.at,
        "lane": tap.lane,
        "outcome": tap.outcome.value,
        "reason": tap.reason,
        "service": tap.service,
        "text": f"{verdict.headline}. {verdict.detail}".strip(),
    }
