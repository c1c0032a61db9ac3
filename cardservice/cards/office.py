"""The card office: issues cards and moves them through their life, each in one transaction.

A transaction writes the card, its audit row and the next change of every feed of the council. The tenant's row is
locked first (by the issue number), then the card, then the feeds: so writers queue up and never deadlock.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.cards.numbering import card_index
from cardservice.cards.signing import CodeForm, card_text, sign_code
from cardservice.cards.states import CardEvent, allowed_events, may_be_signed, next_state
from cardservice.db import queries
from cardservice.errors import ApiProblem, conflict, not_found
from cardservice.feed.writer import next_issue_number, publish_person
from entitlements.credential.claims import CARD_ID_BYTES
from entitlements.credential.encoding import b64url_decode
from entitlements.credential.errors import InvalidEncodingError
from entitlements.model import CardState

DEFAULT_VALID_DAYS: Final = 730
"""Two years, as councils' plastic cards last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a new card shall be: until when, by local days or to the second; for a live card the phone's own key."""

    person_id: UUID
    channel: str
    valid_days: int | None = None
    expires_at: datetime | None = None
    replaces: bytes | None = None
    device_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new card: its row, its number in each feed and its signed code."""

    row: Mapping[str, Any]
    feeds: Mapping[str, int]
    token: str | None
    """``None`` for a chip's card, which is nothing without its chip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A card after an event."""

    row: Mapping[str, Any]
    feeds: Mapping[str, int]


async def issue_card(call: Call, wish: Wish) -> Issued:
    """A new, active card.

    Raises:
        ApiProblem: 404 for an unknown person, 409 where no key is active, 422 where the card would be over at once.
    """
    number = await next_issue_number(call.conn, call.tenant)
    if not await queries().people.exists(call.conn, tenant=call.tenant, person_id=wish.person_id):
        raise not_found("person", wish.person_id)
    return await _issue(call, wish, number)


async def change_card(call: Call, card_id: bytes, event: CardEvent, reason: str | None) -> Changed:
    """Let an event that brings no new card happen.

    Raises:
        ApiProblem: 404, or 409 ``card_state`` where the event may not meet the card's state.
    """
    number = await next_issue_number(call.conn, call.tenant)
    row = await _move(call, card_id, event, reason)
    feeds = await publish_person(call.conn, call.tenant, row["person_id"], issue_number=number, now=call.now)
    call.after_commit.append(call.platform.hub.wake)
    return Changed(row=row, feeds=dict(feeds))


async def succeed_card(
    call: Call,
    card_id: bytes,
    event: CardEvent,
    reason: str | None,
    valid_days: int | None,
    *,
    channel: str | None = None,
    device_key: bytes | None = None,
) -> Issued:
    """End a card and issue the one that follows it, for the same person, and the same channel unless told another.

    Raises:
        ApiProblem: as :func:`change_card`; 409 ``card_has_successor`` where the card was replaced before.
    """
    number = await next_issue_number(call.conn, call.tenant)
    old = await _move(call, card_id, event, reason)
    if await queries().cards.successor(call.conn, tenant=call.tenant, card_id=card_id) is not None:
        raise ApiProblem(409, "card_has_successor", "Another card was issued in place of this one before.")
    if device_key is None and event is CardEvent.RENEW and channel is None:
        device_key = old["device_key"]  # a renewed card stays on its phone; a lost or replaced one leaves it
    wish = Wish(
        person_id=old["person_id"],
        channel=channel or old["channel"],
        valid_days=valid_days,
        replaces=card_id,
        device_key=device_key,
    )
    return await _issue(call, wish, number)


async def find_card(call: Call, card_id: bytes) -> Any:
    """A card's row.

    Raises:
        ApiProblem: 404.
    """
    row = await queries().cards.get(call.conn, tenant=call.tenant, card_id=card_id)
    if row is None:
        raise not_found("card", card_text(card_id))
    return row


async def card_code(call: Call, card_id: bytes, form: CodeForm = CodeForm.JWT) -> str:
    """The card's code in the form asked for, signed anew with the same claims.

    Raises:
        ApiProblem: 404; 409 ``card_state``: only an active card is ever signed; 409 ``card_channel``: a chip shows its
            card to anybody in passing, so nothing takes it without the chip.
    """
    row = await find_card(call, card_id)
    if row["channel"] == "chip":
        raise conflict("card_channel", "A card for a chip has no code of its own: it is taken from its chip only.")
    state = state_now(row, call.now)
    if not may_be_signed(state):
        raise ApiProblem(
            409, "card_state", f"The card is {state}: only an active card has a code.", extra={"state": state}
        )
    signer = await call.platform.keys.signer(call.conn, call.tenant, "card")
    return sign_code(row, signer, call.platform.settings.public_url, form)


def read_card_id(call: Call) -> bytes:
    """The card id of the path.

    Raises:
        ApiProblem: 404 for what cannot be one.
    """
    text = call.path("card_id")
    try:
        card_id = b64url_decode(text.encode("ascii"))
    except (UnicodeEncodeError, InvalidEncodingError):
        card_id = b""
    if len(card_id) != CARD_ID_BYTES:
        raise not_found("card", text[:40])
    return card_id


async def _issue(call: Call, wish: Wish, issue_number: int) -> Issued:
    signer = await call.platform.keys.signer(call.conn, call.tenant, "card")
    place = await queries().cards.take_number(call.conn, tenant=call.tenant)
    issued_at = call.now.replace(microsecond=0)  # the code counts whole seconds
    expires_at = _expiry(wish, issued_at, ZoneInfo(place["timezone"]))
    card_id = secrets.token_bytes(CARD_ID_BYTES)
    row = await queries().cards.add(
        call.conn,
        tenant=call.tenant,
        card_id=card_id,
        card_index=card_index(place["number"], place["index_secret"]),
        person_id=wish.person_id,
        channel=wish.channel,
        kid=signer.kid,
        issue_number=issue_number,
        issued_at=issued_at,
        expires_at=expires_at,
        replaces=wish.replaces,
        device_key=wish.device_key,
    )
    await audit(
        call,
        "card.issued",
        f"card:{card_text(card_id)}",
        person=str(wish.person_id),
        replaces=card_text(wish.replaces) if wish.replaces is not None else None,
    )
    feeds = await publish_person(call.conn, call.tenant, wish.person_id, issue_number=issue_number, now=call.now)
    call.after_commit.append(call.platform.hub.wake)
    token = None if wish.channel == "chip" else sign_code(row, signer, call.platform.settings.public_url)
    return Issued(row=row, feeds=dict(feeds), token=token)


async def _move(call: Call, card_id: bytes, event: CardEvent, reason: str | None) -> asyncpg.Record:
    card = await queries().cards.get_for_change(call.conn, tenant=call.tenant, card_id=card_id)
    if card is None:
        raise not_found("card", card_text(card_id))
    before = state_now(card, call.now)
    after = next_state(before, event)
    if after is None:
        allowed = [str(each) for each in allowed_events(before)]
        raise ApiProblem(
            409,
            "card_state",
            f"The card is {before}, so it cannot {event.refused}.",
            extra={"state": before, "allowed": allowed},
        )
    row = await queries().cards.set_state(
        call.conn, tenant=call.tenant, card_id=card_id, state=after, reason=reason, now=call.now
    )
    await audit(call, f"card.{event}", f"card:{card_text(card_id)}", before=before, after=after, reason=reason)
    return row


def state_now(card: Mapping[str, Any], now: datetime) -> CardState:
    """The state; a card whose last second is over is expired even before the hourly job has said so."""
    state = CardState(card["state"])
    over = now >= card["expires_at"]
    return (next_state(state, CardEvent.EXPIRE) or state) if over else state


def _expiry(wish: Wish, issued_at: datetime, zone: ZoneInfo) -> datetime:
    if wish.expires_at is None:
        # A card works all of its last day where the resident lives.
        last = issued_at.astimezone(zone).date() + timedelta(days=wish.valid_days or DEFAULT_VALID_DAYS)
        return datetime.combine(last + timedelta(days=1), time.min, zone)
    expires_at = wish.expires_at.replace(microsecond=0)
    if expires_at <= issued_at:
        problem = {"at": "/expires_at", "problem": "it is not in the future"}
        raise ApiProblem(422, "wrong_values", "The card would be over at once.", fields=[problem])
    return expires_at
