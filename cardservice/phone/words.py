"""What the page without JavaScript says of a card, in words; ``words.js`` says the same where there is JavaScript."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cardservice.phone.models import PhoneCard
from entitlements.explain.words import day

STATES: Final[Mapping[str, tuple[str, str]]] = {
    "suspended": (
        "Your card is on hold",
        "It opens nothing until the hold is ended. Contact the council to find out why.",
    ),
    "lost": (
        "This card was reported lost",
        "It opens nothing any more, also if it was found again. Ask the council for a new link.",
    ),
    "replaced": (
        "You have a newer card",
        "This one was replaced and opens nothing any more. Use the newer card, or ask the council for a new link.",
    ),
    "expired": ("Your card has ended", "Ask the council for a new one. Your visits and bookings stay as they are."),
    "revoked": ("This card was withdrawn", "It opens nothing any more. Contact the council to find out why."),
}
"""State: heading, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWords:
    """The parts of the page that depend on the card's state and the time."""

    heading: str
    advice: str
    ends: str
    """Last day, e.g. ``1 April 2026``."""
    checked: str
    """Time of this look, e.g. ``2:05pm on 1 April 2026``."""


def page_words(card: PhoneCard, now: datetime) -> PageWords:
    """The words for a card at an instant."""
    zone = ZoneInfo(card.timezone)
    heading, advice = STATES.get(card.state, (f"{card.holder}’s card", ""))
    local = now.astimezone(zone)
    ends = datetime.fromtimestamp(card.expires_at - 1, UTC).astimezone(zone)
    clock = f"{local.hour % 12 or 12}:{local:%M}{'am' if local.hour < 12 else 'pm'}"
    return PageWords(heading=heading, advice=advice, ends=day(ends.date()), checked=f"{clock} on {day(local.date())}")
