"""What the gates page says of the card that a council stopped last: at how many gates it is refused by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from cardservice.cards.signing import card_text
from cardservice.db import Connection, queries
from cardservice.fleet.propagation import Propagation, propagation

CARD_CHARACTERS: Final = 4
"""Of a card the page shows no more than its last four characters."""
WORDS: Final = {"suspended": "held", "lost": "reported lost", "replaced": "replaced", "revoked": "revoked"}
"""What became of a card, as desks say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A council's last stopped card and how far its change has come."""

    tenant: str
    card: str
    state: str
    at: datetime
    progress: Propagation


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line of the page. ``well`` is False as long as some gate does not know."""

    key: str
    tenant: str
    council: str
    card: str
    summary: str
    well: bool


async def read_stopped(conn: Connection, councils: Sequence[Mapping[str, Any]], now: datetime) -> list[Stopped]:
    """The last stopped card of each council, in a transaction that sees them; none where no feed tells of it."""
    found = []
    for council in councils:
        tenant = council["tenant"]
        card = await queries().gates.last_stopped(conn, tenant=tenant)
        if card is None:
            continue
        text = card_text(card["card_id"])
        progress = await propagation(conn, tenant=tenant, card_id=card["card_id"], card=text, now=now)
        if progress is not None and progress.areas:
            found.append(
                Stopped(tenant=tenant, card=text, state=card["state"], at=card["updated_at"], progress=progress)
            )
    return found


def tell(stopped: Stopped, council: str, zone: ZoneInfo, now: datetime) -> Told:
    """The line for a card, e.g. ``Card …DAgE, revoked at 14:01``: ``Effective at 41 of 42 gates, ...``."""
    local = stopped.at.astimezone(zone)
    clock = f"at {local:%H:%M}" if local.date() == now.astimezone(zone).date() else f"on {local.day} {local:%B}"
    return Told(
        key=f"told-{stopped.tenant}",
        tenant=stopped.tenant,
        council=council,
        card=f"Card …{stopped.card[-CARD_CHARACTERS:]}, {WORDS[stopped.state]} {clock}",
        summary=stopped.progress.summary,
        well=stopped.progress.effective == stopped.progress.gates,
    )
