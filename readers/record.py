"""What a lane makes of a decision: what is shown, the tap for the service, a line for the status page and the log."""

from __future__ import annotations

import base64
import time
from collections import deque
from typing import Any, Final
from uuid import UUID

from entitlements.model import Instant
from entitlements.wire.taps import Tap
from hardware.interfaces import Presented, Verdict
from readers import display
from readers.clock import TrustedClock
from readers.judgement import Judgement, Place
from readers.shared import Shared

RECENT: Final = 20
"""Decisions of a lane that its status tells, for somebody who stands beside it with a laptop."""


class Recorder:
    """The record of one lane's decisions.

    A tap is kept before the lane shows or releases anything, so that no kill of this process leaves somebody let in of
    whom nothing is known; that costs the gate some 20 us and no wait. It is told in words afterwards.
    """

    def __init__(self, shared: Shared, log: Any) -> None:
        self.recent: deque[dict[str, object]] = deque(maxlen=RECENT)
        """The last decisions, newest first, as the status page tells them."""
        self._clock = shared.clock
        self._outbox = shared.outbox
        self._log = log

    def keep(self, tap_id: UUID, at_ms: int, presented: Presented, place: Place, judgement: Judgement) -> Tap:
        """Hand the tap to the outbox."""
        tap = tap_of(tap_id, presented, place, judgement, self._clock, at_ms)
        self._outbox.add(tap)
        return tap

    def tell(self, tap: Tap, presented: Presented, shown: Verdict) -> None:
        """Tell status page and log of a tap, and what the person was shown."""
        self.recent.appendleft(line_of(tap, shown))
        self._log.info(
            "tap",
            outcome=tap.outcome.value,
            reason=tap.reason,
            service=tap.service,
            media=tap.media,
            card=tap.card,
            tap_id=str(tap.tap_id),
            detail=tap.detail,
            took_ms=round((time.monotonic() - presented.at_monotonic) * 1000, 1),
        )


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
