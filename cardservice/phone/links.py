"""One-time links: made by the desk, opened on the phone. Only the hash of a link is kept."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.cards.office import find_card, state_now
from cardservice.cards.pictures import qr_svg
from cardservice.cards.signing import card_text
from cardservice.db import ALL_TENANTS, queries
from cardservice.errors import ApiProblem, conflict, not_found
from cardservice.phone.models import LinkReply
from entitlements.model import CardState

LINK_BYTES: Final = 16
"""128 random bits: nobody finds a link by trying."""
LINKS_AN_HOUR: Final = 10
"""For one person: two phones and some mishaps, not a flood of messages."""
KEPT_DAYS: Final = 30
"""How long a link that is over can still be told from one that never was."""
QR_SCALE: Final = 8
REPLACEABLE: Final = frozenset({CardState.ACTIVE, CardState.LOST})
"""States of a card in whose place another may be put (``cardservice.cards.states``)."""
MAX_FAILURES: Final = 20
"""Wrong links of one address within :data:`FAILURE_SECONDS`."""
FAILURE_SECONDS: Final = 60


def link_digest(link: str) -> bytes:
    """What is stored of a link."""
    return hashlib.sha256(link.encode("utf-8", "surrogateescape")).digest()


async def make_link(call: Call, person_id: UUID, minutes: int, replaces: bytes | None = None) -> LinkReply:
    """A new link for a person's phone; using it ends the card ``replaces``, if given.

    Raises:
        ApiProblem: 404 for an unknown person, 429 after too many links within an hour.
    """
    ask = queries().phone
    if not await queries().people.exists(call.conn, tenant=call.tenant, person_id=person_id):
        raise not_found("person", person_id)
    since = call.now - timedelta(hours=1)
    if await ask.links_since(call.conn, tenant=call.tenant, person_id=person_id, since=since) >= LINKS_AN_HOUR:
        raise ApiProblem(
            429,
            "too_many_links",
            f"{LINKS_AN_HOUR} links were made for this person within the last hour; wait, or see who asks for them.",
            headers={"Retry-After": "3600"},
        )
    await ask.forget_links(call.conn, tenant=call.tenant, before=call.now - timedelta(days=KEPT_DAYS))
    link, expires_at = secrets.token_urlsafe(LINK_BYTES), call.now + timedelta(minutes=minutes)
    await ask.add_link(
        call.conn,
        tenant=call.tenant,
        link_sha256=link_digest(link),
        person_id=person_id,
        replaces=replaces,
        created_by=call.actor.name,
        now=call.now,
        expires_at=expires_at,
    )
    old = card_text(replaces) if replaces is not None else None
    await audit(call, "phone.link", f"person:{person_id}", expires_at=expires_at.isoformat(), replaces=old)
    url = f"{call.platform.settings.public_url}/card/l/{link}"
    picture = await asyncio.to_thread(qr_svg, url, QR_SCALE)
    return LinkReply(url=url, qr_svg=picture.decode(), expires_at=expires_at, replaces=old)


async def make_link_for_card(call: Call, card_id: bytes, minutes: int) -> LinkReply:
    """A link whose use puts a new card on a phone in the place of this one.

    Raises:
        ApiProblem: as :func:`make_link`; 409 ``card_state`` where the card cannot be replaced (any more).
    """
    card = await find_card(call, card_id)
    state = state_now(card, call.now)
    if state not in REPLACEABLE:
        raise ApiProblem(409, "card_state", f"The card is {state}, so it cannot be replaced.", extra={"state": state})
    if await queries().cards.successor(call.conn, tenant=call.tenant, card_id=card_id) is not None:
        raise conflict("card_has_successor", "Another card was issued in place of this one before.")
    return await make_link(call, card["person_id"], minutes, card_id)


async def find_link(call: Call, link: str) -> Any:
    """The link's row, whatever has become of it; ``None`` for one that never was.

    A link that was made is found however many wrong ones came from the same address: behind one address there may be a
    library, or everybody, and 128 random bits need no lock.

    Raises:
        ApiProblem: 429 for a wrong link after too many of one address.
    """
    async with call.platform.db.transaction(ALL_TENANTS, read_only=True) as conn:
        row = await queries().phone.find_link(conn, link_sha256=link_digest(link))
    counter = f"phone-link:{call.request.remote}"
    if row is None and await call.platform.shared.count(counter, FAILURE_SECONDS) > MAX_FAILURES:
        raise ApiProblem(
            429,
            "too_many_attempts",
            "Too many wrong links were opened from this address. Wait a minute and try again.",
            headers={"Retry-After": str(FAILURE_SECONDS)},
        )
    return row


def link_refused() -> ApiProblem:
    """One answer to every link that is not good."""
    return ApiProblem(403, "link_refused", "This link is wrong, used or too old. Ask the council for a new one.")
