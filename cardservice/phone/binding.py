"""A phone gets its card, and asks for it again: each change in one transaction of the card's council."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from cardservice.api.call import Actor, Call
from cardservice.api.server import audit
from cardservice.cards import office
from cardservice.cards.signing import card_text, claims_of
from cardservice.cards.states import CardEvent, may_be_signed
from cardservice.catalogue.tenants import is_tenant_id
from cardservice.db import ALL_TENANTS, queries
from cardservice.errors import conflict
from cardservice.phone.links import find_link, link_digest, link_refused
from cardservice.phone.models import Binding, Contact, PhoneCard
from cardservice.phone.opens import openings
from cardservice.phone.proof import (
    POINT_BYTES,
    SIGNATURE_BYTES,
    bind_message,
    check_proof,
    contact_message,
    proof_refused,
    read_bytes,
)
from cardservice.web.pages import council_colours
from entitlements.credential import sign_card_cwt
from entitlements.credential.claims import CARD_ID_BYTES
from entitlements.credential.encoding import b64url_encode

RENEW_DAYS: Final = 30
"""A card that ends within so many days is renewed when its phone is next heard of: most phones are within a month."""
MAX_RENEWALS: Final = 50
"""Cards that one phone may have had, one after the other; only bounds a loop."""
PAGE_SECRET_BYTES: Final = 32


async def bind(call: Call, wanted: Binding) -> PhoneCard:
    """Issue a live card to a phone's key, by a one-time link; the same key with the same link gets the same card again.

    Raises:
        ApiProblem: 401 where the key is not proved to be held, 403 ``link_refused``, 409 where the card that the link
            replaces can no longer be replaced, 429 after too many wrong links.
    """
    point = read_bytes(wanted.public_key, POINT_BYTES, "public_key")
    signature = read_bytes(wanted.signature, SIGNATURE_BYTES, "signature")
    check_proof(point, bind_message(wanted.link, point, wanted.at), signature, wanted.at, call.now)
    async with _opened(call, wanted.link) as (inner, link):
        if link["used_at"] is not None:
            # The reply was lost on the way, and nobody else holds this key.
            card = await queries().cards.get(inner.conn, tenant=inner.tenant, card_id=link["card_id"])
            if card["device_key"] is None or bytes(card["device_key"]) != point:
                raise link_refused()
            return await phone_card(inner, card)
        row = await _issue(inner, link, "live", point)
        await _keep(inner, wanted.link, row, at=wanted.at)
        return await phone_card(inner, row)


async def bind_page(call: Call, link_text: str) -> str:
    """Issue a static card to a browser without JavaScript, by a one-time link; gives the secret for its cookie.

    Raises:
        ApiProblem: as :func:`bind`.
    """
    async with _opened(call, link_text) as (inner, link):
        if link["used_at"] is not None:
            raise link_refused()
        secret = secrets.token_urlsafe(PAGE_SECRET_BYTES)
        row = await _issue(inner, link, "static", None)
        await _keep(inner, link_text, row, secret=secret)
        return secret


async def contact(call: Call, asked: Contact) -> PhoneCard:
    """The phone's card as it stands, signed anew; renewed first where its end is near.

    Raises:
        ApiProblem: 401 ``proof_refused`` or ``proof_out_of_time``, 409 ``proof_used`` for an answer that came before.
    """
    card_id = read_bytes(asked.card_id, CARD_ID_BYTES, "card_id")
    signature = read_bytes(asked.signature, SIGNATURE_BYTES, "signature")
    if not is_tenant_id(asked.tenant):  # the name goes into row-level security: nothing but a council's id may
        raise proof_refused()
    async with _as(call, asked.tenant, f"phone:{card_text(card_id)}") as inner:
        card = await queries().cards.get(inner.conn, tenant=inner.tenant, card_id=card_id)
        if card is None or card["device_key"] is None:
            raise proof_refused()
        point = bytes(card["device_key"])
        check_proof(point, contact_message(asked.tenant, card_id, asked.at), signature, asked.at, call.now)
        # This takes the row's lock, so that two tabs of one phone renew one after the other.
        answered = await queries().phone.answer(
            inner.conn, tenant=inner.tenant, card_id=card_id, at_ms=asked.at, now=inner.now
        )
        if answered is None:
            raise conflict("proof_used", "This request was answered before; sign a new one.")
        return await phone_card(inner, await _newest(inner, card_id, point))


async def phone_card(call: Call, card: Any) -> PhoneCard:
    """A card as its phone keeps it."""
    state = office.state_now(card, call.now)
    signed = None
    if may_be_signed(state):
        signer = await call.platform.keys.signer(call.conn, call.tenant, "card")
        signed = b64url_encode(sign_card_cwt(claims_of(card, call.platform.settings.public_url), signer)).decode()
    card_id = bytes(card["card_id"])
    holder = await queries().phone.holder(call.conn, tenant=call.tenant, card_id=card_id)
    colour, on_colour = council_colours(holder["brand"])
    return PhoneCard(
        tenant=call.tenant,
        council=holder["council"],
        holder=holder["given_name"],
        card_id=card_text(card_id),
        state=state.value,
        expires_at=int(card["expires_at"].timestamp()),
        timezone=holder["timezone"],
        colour=colour,
        on_colour=on_colour,
        cwt=signed,
        opens=await openings(call.conn, call.tenant, card_id, call.now) if signed is not None else [],
    )


@asynccontextmanager
async def page_card(call: Call, secret: str) -> AsyncIterator[tuple[Call, Any]]:
    """The card of a browser's cookie, in a transaction of its council; ``(call, None)`` for an unknown cookie."""
    digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
    async with call.platform.db.transaction(ALL_TENANTS, read_only=True) as conn:
        found = await queries().phone.by_page(conn, page_sha256=digest)
    if found is None:
        yield call, None
        return
    async with _as(call, found["tenant"], "phone") as inner:
        yield inner, await queries().cards.get(inner.conn, tenant=inner.tenant, card_id=found["card_id"])


@asynccontextmanager
async def _opened(call: Call, link_text: str) -> AsyncIterator[tuple[Call, Any]]:
    """A link that is not over, locked, in a transaction of its council."""
    found = await find_link(call, link_text)
    if found is None:
        raise link_refused()
    async with _as(call, found["tenant"], "phone") as inner:
        link = await queries().phone.lock_link(inner.conn, tenant=inner.tenant, link_sha256=link_digest(link_text))
        if link is None or link["expires_at"] <= inner.now:
            raise link_refused()
        yield inner, link


@asynccontextmanager
async def _as(call: Call, tenant: str, name: str) -> AsyncIterator[Call]:
    """The same call in a transaction of a council; what it leaves for after the commit runs with the call's own."""
    async with call.platform.db.transaction(tenant) as conn:
        yield replace(call, actor=Actor(name=name, tenant=tenant), _conn=conn)


async def _issue(call: Call, link: Any, channel: str, point: bytes | None) -> Any:
    if link["replaces"] is None:
        wish = office.Wish(person_id=link["person_id"], channel=channel, device_key=point)
        return (await office.issue_card(call, wish)).row
    issued = await office.succeed_card(
        call, bytes(link["replaces"]), CardEvent.REPLACE, "another phone", None, channel=channel, device_key=point
    )
    return issued.row


async def _keep(call: Call, link_text: str, card: Any, *, at: int = 0, secret: str | None = None) -> None:
    ask, card_id = queries().phone, bytes(card["card_id"])
    digest = hashlib.sha256(secret.encode()).digest() if secret is not None else None
    await ask.add_phone(
        call.conn, tenant=call.tenant, card_id=card_id, page_sha256=digest, now=call.now, answered_ms=at
    )
    await ask.use_link(call.conn, tenant=call.tenant, link_sha256=link_digest(link_text), card_id=card_id, now=call.now)
    await audit(call, "phone.bound", f"card:{card_text(card_id)}", channel=card["channel"])


async def _newest(call: Call, card_id: bytes, point: bytes) -> Any:
    """The card of this key at the end of its renewals, made anew where the end is near."""
    card = await queries().cards.get(call.conn, tenant=call.tenant, card_id=card_id)
    for _ in range(MAX_RENEWALS):
        follower = await queries().phone.successor(call.conn, tenant=call.tenant, card_id=card["card_id"])
        if follower is None or follower["device_key"] is None or bytes(follower["device_key"]) != point:
            break
        card = follower
        await _known(call, card)
    near = card["expires_at"] - call.now <= timedelta(days=RENEW_DAYS)
    if near and may_be_signed(office.state_now(card, call.now)):
        issued = await office.succeed_card(call, bytes(card["card_id"]), CardEvent.RENEW, "its end was near", None)
        card = issued.row
        await _known(call, card)
    return card


async def _known(call: Call, card: Any) -> None:
    """A renewed card is on the same phone: it has a row there from its first contact on."""
    await queries().phone.add_phone_once(call.conn, tenant=call.tenant, card_id=bytes(card["card_id"]), now=call.now)
